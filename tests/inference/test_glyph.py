"""The shipped model: same seed, same picture; previews; sizes; weights that fit the repository."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from PIL import Image

from inference import media
from inference.models.contract import walk
from inference.models.glyph import Glyph, patches, pixels, positions
from inference.wire import WEIGHTS, describe

BASE = {"prompt": "red heart", "size": 32, "steps": 4, "guidance": 3, "seed": 5, "count": 1}


def pictures(glyph: Glyph, **inputs: Any) -> list[Image.Image]:
    work = glyph.prepare(BASE | inputs)
    for _ in walk(glyph.denoise(work)):
        pass
    return glyph.decode(work)


def drawn(glyph: Glyph, **inputs: Any) -> Image.Image:
    return pictures(glyph, **inputs)[0]


def draw(glyph: Glyph, **inputs: Any) -> list[bytes]:
    return [media.png(image) for image in pictures(glyph, **inputs)]


def test_same_seed_draws_the_same_bytes_whatever_the_count(glyph: Glyph) -> None:
    alone = [draw(glyph, seed=seed)[0] for seed in (5, 6, 7)]
    assert draw(glyph, count=3) == alone
    assert draw(glyph, count=2) == alone[:2]
    assert len(set(alone)) == 3


def test_two_loads_draw_the_same_bytes(glyph: Glyph) -> None:
    assert draw(Glyph.load(WEIGHTS / "glyph", "cpu")) == draw(glyph)


def test_prompt_and_negative_prompt_matter(glyph: Glyph) -> None:
    assert draw(glyph) != draw(glyph, prompt="tomato")
    assert draw(glyph) != draw(glyph, negative_prompt="tomato")


def test_red_heart_is_red_in_the_middle_and_white_at_the_corner(glyph: Glyph) -> None:
    image = drawn(glyph, steps=16)
    red, green, blue = image.resize((1, 1), box=(10, 10, 22, 22)).getpixel((0, 0))
    assert red > green + 60
    assert red > blue + 60
    assert min(image.getpixel((0, 31))) > 200


@pytest.mark.parametrize("prompt", ["", "zzz", "?!", "ein rotes Herz " * 26, "心"])
def test_any_prompt_draws_something(glyph: Glyph, prompt: str) -> None:
    assert draw(glyph, prompt=prompt)[0].startswith(b"\x89PNG")


def test_previews_come_every_few_steps_but_not_at_the_end(glyph: Glyph) -> None:
    work = glyph.prepare(BASE | {"steps": 12})
    shown = [step.index for step in walk(glyph.denoise(work)) if step.preview]
    assert shown == [4, 8]


@pytest.mark.parametrize("size", describe("glyph")["inputs"]["properties"]["size"]["enum"])
def test_pictures_have_the_asked_size(glyph: Glyph, size: int) -> None:
    work = glyph.prepare(BASE | {"size": size})
    assert glyph.decode(work)[0].size == (size, size)


@pytest.mark.parametrize("patch", [4, 8])
def test_patches_undo(patch: int) -> None:
    images = torch.randn(2, 3, 64, 64)
    assert torch.equal(pixels(patches(images, patch)), images)


def test_positions_span_the_taught_grid_at_any_side() -> None:
    assert positions(8, 8)[:, 1:].max() == 7
    rows = positions(12, 8)[::12, 1]
    assert rows[0] == pytest.approx(-1 / 6)
    assert rows[-1] == pytest.approx(7 + 1 / 6)


def test_an_image_is_kept_at_little_strength_and_gone_at_all_of_it(glyph: Glyph) -> None:
    green = Image.new("RGB", (80, 64), (20, 160, 60))
    given = {"image": media.data_uri(green), "steps": 8}
    little = drawn(glyph, **given, strength=0.125)
    red, leaf, _ = little.resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))
    assert leaf > red + 60
    assert draw(glyph, **given, strength=1) == draw(glyph, steps=8)


@pytest.mark.parametrize(("strength", "steps"), [(0.05, 1), (0.5, 4), (1, 8)])
def test_steps_follow_strength(glyph: Glyph, strength: float, steps: int) -> None:
    image = media.data_uri(Image.new("RGB", (64, 64), "white"))
    work = glyph.prepare(BASE | {"image": image, "strength": strength, "steps": 8})
    told = [(step.index, step.steps) for step in walk(glyph.denoise(work))]
    assert told == [(index + 1, steps) for index in range(steps)]


def test_an_image_that_cannot_be_read_is_refused(glyph: Glyph) -> None:
    with pytest.raises(ValueError, match="image"):
        glyph.prepare(BASE | {"image": "ftp://a.test/x.png", "strength": 0.5})


def test_facts_match_the_weights(glyph: Glyph) -> None:
    folder = WEIGHTS / "glyph"
    assert describe("glyph")["facts"]["bytes"] == glyph.bytes
    assert sum(path.stat().st_size for path in folder.rglob("*.*")) <= 20_000_000
    assert not list(folder.rglob("*.bin")) + list(folder.rglob("*.pt"))
