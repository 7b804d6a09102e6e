"""What can be counted. One file per unit and one line here."""

from marketplace.metering.units.contract import Facts, Unit
from marketplace.metering.units.gpu_second import GpuSecond
from marketplace.metering.units.image import Image
from marketplace.metering.units.video_second import VideoSecond

UNITS: dict[str, Unit] = {
    "image": Image(),
    "video_second": VideoSecond(),
    "gpu_second": GpuSecond(),
}

__all__ = ["UNITS", "Facts", "Unit"]
