"""What can be counted. One file per unit and one line here."""

from functools import cache

from marketplace.metering.units.audio_second import AudioSecond
from marketplace.metering.units.character import Character
from marketplace.metering.units.contract import Facts, Unit
from marketplace.metering.units.gpu_second import GpuSecond
from marketplace.metering.units.image import Image
from marketplace.metering.units.megapixel import Megapixel
from marketplace.metering.units.rejection import Rejection
from marketplace.metering.units.request import Request
from marketplace.metering.units.session_second import SessionSecond
from marketplace.metering.units.token import Token
from marketplace.metering.units.training_step import TrainingStep
from marketplace.metering.units.video_second import VideoSecond

UNITS: dict[str, Unit] = {
    "image": Image(),
    "megapixel": Megapixel(),
    "video_second": VideoSecond(),
    "audio_second": AudioSecond(),
    "character": Character(),
    "token": Token(),
    "gpu_second": GpuSecond(),
    "request": Request(),
    "training_step": TrainingStep(),
    "rejection": Rejection(),
    "session_second": SessionSecond(),
}
FEES = frozenset({"rejection"})  # a run uses these or what it delivers, never both
CLASSED = {"token": Token}


@cache
def unit_of(name: str) -> Unit:
    """The unit called `name`, or of the class after a colon: `token:image_out`, `gpu_second:h200`.

    Raises KeyError for an unknown unit.
    """
    slug, _, kind = name.partition(":")
    return CLASSED[slug](kind) if kind and slug in CLASSED else UNITS[slug]


__all__ = ["FEES", "UNITS", "Facts", "Unit", "unit_of"]
