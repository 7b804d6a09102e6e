"""The shipped enlargement: four times as large, the same bytes, better than bicubic on drawings."""

from __future__ import annotations

import base64
from typing import Any

import pytest
import torch
from PIL import Image, ImageDraw

from inference import media
from inference.models.clips import pixels
from inference.models.contract import walk
from inference.models.glyph_upscale import MOST, GlyphUpscale, Network, bicubic
from inference.train.upscale import psnr
from inference.wire import WEIGHTS, describe

FOLDER = WEIGHTS / "glyph-upscale"


@pytest.fixture(scope="module")
def upscale() -> GlyphUpscale:
    return GlyphUpscale.load(FOLDER, "cpu")


def badge() -> Image.Image:
    """A flat drawing of 256 pixels, smooth at its edges."""
    image = Image.new("RGB", (1024, 1024), "white")
    pen = ImageDraw.Draw(image)
    pen.ellipse((100, 100, 900, 900), "gold", "saddlebrown", 40)
    pen.ellipse((300, 340, 400, 480), "black")
    pen.ellipse((600, 340, 700, 480), "black")
    pen.arc((300, 400, 700, 760), 20, 160, "black", 50)
    return image.resize((256, 256), Image.Resampling.BOX)


def address(image: Image.Image) -> str:
    return "data:image/png;base64," + base64.b64encode(media.png(image)).decode()


def enlarged(upscale: GlyphUpscale, image: Image.Image) -> Image.Image:
    work = upscale.prepare({"image": address(image)})
    steps = [step.index for step in walk(upscale.denoise(work))]
    assert steps == [1]
    (made,) = upscale.decode(work)
    return made


@pytest.mark.parametrize("size", [(64, 64), (16, 16), (30, 17), (MOST, 40)])
def test_a_picture_comes_out_four_times_as_large(
    upscale: GlyphUpscale, size: tuple[int, int]
) -> None:
    made = enlarged(upscale, Image.new("RGB", size, "teal"))
    assert made.size == (4 * size[0], 4 * size[1])


def test_it_is_nearer_to_a_drawing_than_a_bicubic_enlargement(upscale: GlyphUpscale) -> None:
    true = badge()
    little = pixels(true.resize((64, 64), Image.Resampling.BOX))
    with torch.inference_mode():
        ours, plain = upscale.network(little), bicubic(little)
    assert psnr(ours, pixels(true)) > psnr(plain, pixels(true)) + 0.5


def test_two_loads_give_the_same_bytes(upscale: GlyphUpscale) -> None:
    small = badge().resize((64, 64), Image.Resampling.BOX)
    again = enlarged(GlyphUpscale.load(FOLDER, "cpu"), small)
    assert media.png(enlarged(upscale, small)) == media.png(again)


def test_white_stays_white(upscale: GlyphUpscale) -> None:
    made: Any = enlarged(upscale, Image.new("RGB", (32, 32), "white"))
    assert min(low for low, _ in made.getextrema()) >= 250


def test_a_larger_picture_is_made_smaller_first(upscale: GlyphUpscale) -> None:
    assert enlarged(upscale, Image.new("RGB", (512, 128), "teal")).size == (1024, 256)


def test_an_untrained_network_is_bicubic() -> None:
    picture = torch.rand(1, 3, 8, 8)
    assert torch.equal(Network()(picture), bicubic(picture))


def test_facts_match_the_weights(upscale: GlyphUpscale) -> None:
    assert describe("glyph-upscale")["facts"]["bytes"] == upscale.bytes
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= 2_000_000
