"""What was asked for beside what was measured: each property, each tolerance, both directions."""

from decimal import Decimal
from typing import Any

import pytest

from marketplace.media.probe import Measures
from marketplace.runs.witnesses import checks


def clip(
    width: int = 854, height: int = 480, frames: int = 120, seconds: str = "5", **more: Any
) -> Measures:
    told = {"sound": True, "codec": "h264"} | more
    return Measures(
        "video", "video/mp4", width, height, frames=frames, seconds=Decimal(seconds), **told
    )


def picture(width: int, height: int) -> Measures:
    return Measures("image", "image/png", width, height, "png")


@pytest.mark.parametrize(
    ("inputs", "found", "agrees"),
    [
        ({"resolution": "480p"}, clip(), True),
        ({"resolution": "480P"}, clip(480, 854), True),
        ({"resolution": "480p"}, clip(320, 180), False),
        ({"resolution": "480p"}, clip(1920, 1080), False),
        ({"resolution": "1080p"}, clip(1920, 1088), True),
        ({"resolution": "1080p"}, clip(1920, 804), True),  # wider than 16:9
        ({"resolution": "1080p"}, clip(1280, 720), False),
        ({"resolution": "4k"}, clip(3840, 2160), True),
        ({"resolution": "1280x720"}, clip(1280, 720), True),
        ({"resolution": "1280x720"}, clip(720, 1280), False),
        ({"size": "512x512"}, picture(512, 512), True),
        ({"size": "512x512"}, picture(512, 530), False),
        ({"size": 256}, picture(256, 256), True),
        ({"size": 256}, picture(64, 64), False),
        ({"width": 1024, "height": 576}, picture(1024, 576), True),
        ({"width": 1024, "height": 576}, picture(512, 288), False),
        ({"fps": 24}, clip(), True),
        ({"fps": 30}, clip(frames=150), True),
        ({"fps": 30}, clip(frames=1499, seconds="50.016667"), True),  # 29.97
        ({"fps": 30}, clip(), False),
        ({"fps": 24}, clip(frames=300), False),
        ({"sound": True}, clip(), True),
        ({"sound": True}, clip(sound=False), False),
        ({"generate_audio": True}, clip(sound=False), False),
        ({"sound": False}, clip(), True),  # nobody is harmed
        ({"output_format": "jpg"}, picture(8, 8), False),
        ({"output_format": "image/png"}, picture(8, 8), True),
        ({"codec": "h265"}, clip(codec="hevc"), True),
        ({"codec": "h265"}, clip(), False),
    ],
)
def test_each_property_has_its_tolerance(
    inputs: dict[str, Any], found: Measures, agrees: bool
) -> None:
    [check] = checks(inputs, [found])
    assert check["agrees"] is agrees, check


def test_what_the_inputs_do_not_name_is_not_checked() -> None:
    for inputs in (
        {"prompt": "480p with sound"},
        {"resolution": "2k"},
        {"resolution": "auto"},
        {"size": 1024, "aspect_ratio": "16:9"},
        {"size": True, "fps": "fast", "sound": "loud", "format": ""},
    ):
        assert checks(inputs, [clip()]) == []


def test_every_output_is_checked_and_told_in_words() -> None:
    told = checks({"size": "64x64"}, [picture(64, 64), picture(32, 32)])
    assert [check["agrees"] for check in told] == [True, False]
    assert told[1] == {
        "output": 1,
        "what": "size",
        "asked": "64 × 64",
        "measured": "32 × 32",
        "agrees": False,
    }
