"""A caller's words, mapped to a release's own inputs or refused in the caller's words."""

from typing import Any

import orjson
import pytest

from marketplace.dialects.vocabulary import fitted
from marketplace.errors import InvalidInput
from marketplace.metering.offer import Offer, compiled
from marketplace.metering.units import Facts
from partners import registry

SIDES = {
    "type": "object",
    "additionalProperties": False,
    "required": ["prompt"],
    "properties": {
        "prompt": {"type": "string"},
        "width": {"type": "integer", "minimum": 64, "maximum": 2048, "default": 1024},
        "height": {"type": "integer", "minimum": 64, "maximum": 2048, "default": 1024},
        "num_images": {"type": "integer", "minimum": 1, "maximum": 8, "default": 1},
        "duration": {"type": "string", "enum": ["4s", "8s"], "default": "4s"},
        "image_url": {"type": "string"},
    },
}
RATIOS = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "aspect_ratio": {"type": "string", "enum": ["16:9", "9:16", "1:1"], "default": "16:9"},
        "resolution": {"type": "string", "enum": ["480p", "720p", "1080p"], "default": "720p"},
    },
}


def offer(schema: dict[str, Any]) -> Offer:
    properties = schema["properties"]
    return Offer(
        **dict.fromkeys(Offer.__slots__, None)  # type: ignore[arg-type]
        | {
            "schema": schema,
            "defaults": {name: p["default"] for name, p in properties.items() if "default" in p},
            "validator": compiled(orjson.dumps(schema)),
            "facts": Facts(60, {}),
        }
    )


GLYPH = offer(dict(registry.describe("house", "glyph").inputs))
STILL = offer(dict(registry.describe("rehearsal", "still").inputs))
CLIP = offer(dict(registry.describe("rehearsal", "clip").inputs))
BLEND = offer(dict(registry.describe("rehearsal", "blend").inputs))
PNG = "https://example.com/a.png"

# What a client says → what the release is asked for.
SAID: list[tuple[Offer, dict[str, Any], dict[str, Any]]] = [
    (GLYPH, {"num_images": 2, "guidance_scale": 4.5}, {"count": 2, "guidance": 4.5}),
    (GLYPH, {"n": "3", "num_inference_steps": "12"}, {"count": 3, "steps": 12}),
    (GLYPH, {"size": "256x256"}, {"size": 256}),
    (GLYPH, {"size": 64}, {"size": 64}),
    (GLYPH, {"width": 512, "height": 512}, {"size": 512}),
    (GLYPH, {"image_size": {"width": 128, "height": 128}}, {"size": 128}),
    (GLYPH, {"image_size": "square"}, {"size": 512}),
    (GLYPH, {"aspect_ratio": "1:1"}, {"size": 256}),
    (GLYPH, {"size": "auto", "seed": None}, {"size": 256}),
    (STILL, {"image_size": "landscape_16_9"}, {"size": "1024x576"}),
    (STILL, {"size": "1024X576"}, {"size": "1024x576"}),
    (STILL, {"aspect_ratio": "9:16"}, {"size": "576x1024"}),
    (STILL, {}, {"size": "512x512"}),
    (CLIP, {"n": 1, "num_videos": "1"}, {"seconds": 5}),
    (BLEND, {"image": PNG, "images": [PNG], "input_images": [PNG]}, {"images": [PNG]}),
    (BLEND, {"image_urls": [PNG, PNG], "mask_url": PNG}, {"images": [PNG] * 2, "mask_image": PNG}),
    (CLIP, {"seconds": "4", "size": "640x360"}, {"seconds": 4, "resolution": "360p"}),
    (CLIP, {"duration": "8s", "generate_audio": "false"}, {"seconds": 8, "sound": False}),
    (CLIP, {"resolution": 480, "aspect_ratio": "16:9"}, {"resolution": "480p"}),
    (CLIP, {"size": "854x480", "frame_rate": 12}, {"resolution": "480p", "fps": 12}),
    (offer(SIDES), {"size": "1280x720", "n": 2}, {"width": 1280, "height": 720, "num_images": 2}),
    (offer(SIDES), {"seconds": 8}, {"duration": "8s"}),
    (offer(SIDES), {"image": ["https://a.test/x.png"]}, {"image_url": "https://a.test/x.png"}),
    (offer(RATIOS), {"size": "1080x1920"}, {"resolution": "1080p", "aspect_ratio": "9:16"}),
    (offer(RATIOS), {"size": "720x720"}, {"resolution": "720p", "aspect_ratio": "1:1"}),
    (offer(RATIOS), {"ratio": "9:16"}, {"resolution": "720p", "aspect_ratio": "9:16"}),
]


@pytest.mark.parametrize(("sold", "said", "asked"), SAID)
def test_a_callers_words_become_the_releases(
    sold: Offer, said: dict[str, Any], asked: dict[str, Any]
) -> None:
    prompt = {"prompt": "red heart"} if "prompt" in sold.schema["properties"] else {}
    found = fitted(sold, prompt | said).inputs
    assert {name: found[name] for name in asked} == asked
    assert found == {**sold.defaults, **prompt, **asked}


# What a client says → the word at fault, and what the refusal says beside it.
REFUSED: list[tuple[Offer, dict[str, Any], str, str]] = [
    (GLYPH, {"size": "300x300"}, "size", "size 32, 64, 128, 256, 512"),
    (GLYPH, {"size": "256x128"}, "size", "32, 64, 128, 256, 512"),
    (GLYPH, {"aspect_ratio": "16:9"}, "aspect_ratio", "size 32"),
    (GLYPH, {"width": 256}, "height", "height is missing"),
    (GLYPH, {"width": "wide", "height": 256}, "width", "whole number of pixels"),
    (GLYPH, {"size": "large"}, "size", 'such as "1024x1024"'),
    (GLYPH, {"aspect_ratio": "0:1"}, "aspect_ratio", "above 0"),
    (GLYPH, {"aspect_ratio": "wide"}, "aspect_ratio", '"16:9"'),
    (GLYPH, {"num_images": 9}, "num_images", "num_images must be at most 4."),
    (GLYPH, {"n": 3, "count": 2}, "count", "say the same"),
    (GLYPH, {"num_inference_steps": "many"}, "num_inference_steps", "must be a whole number"),
    (GLYPH, {"colour": "red"}, "colour", "Known inputs: prompt"),
    (STILL, {"image_url": "https://a.test/x.png"}, "image_url", "not an input here"),
    (CLIP, {"seconds": "12"}, "seconds", "seconds must be at most 10."),
    (CLIP, {"size": "720x1280"}, "size", "resolution 180p, 288p, 360p, 480p"),
    (CLIP, {"resolution": "4k"}, "resolution", "180p, 288p, 360p, 480p"),
    (STILL, {"size": "1000x1000"}, "size", "64x64"),
    (offer(SIDES), {"size": "4096x4096"}, "size", "at most 2048"),
    (offer(SIDES), {"seconds": 5}, "seconds", '"4s", "8s"'),
]


@pytest.mark.parametrize(("sold", "said", "word", "words"), REFUSED)
def test_what_a_release_cannot_do_is_refused_in_the_callers_words(
    sold: Offer, said: dict[str, Any], word: str, words: str
) -> None:
    with pytest.raises(InvalidInput) as refusal:
        fitted(sold, {"prompt": "red heart"} | said)
    assert refusal.value.param == word
    assert words in refusal.value.message
    assert "inputs." not in refusal.value.message
