"""The shipped model: same seed, same picture; previews; sizes; weights that fit the repository."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from inference import media
from inference.models.contract import walk
from inference.models.glyph import Glyph, patches, pixels
from inference.wire import WEIGHTS, describe

BASE = {"prompt": "red heart", "size": 32, "steps": 4, "guidance": 3, "seed": 5, "count": 1}


def draw(glyph: Glyph, **inputs: Any) -> list[bytes]:
    work = glyph.prepare(BASE | inputs)
    for _ in walk(glyph.denoise(work)):
        pass
    return [media.png(image) for image in glyph.decode(work)]


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
    work = glyph.prepare(BASE | {"steps": 16})
    for _ in walk(glyph.denoise(work)):
        pass
    image = glyph.decode(work)[0]
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


def test_patches_undo(glyph: Glyph) -> None:
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(pixels(patches(images)), images)


def test_facts_match_the_weights(glyph: Glyph) -> None:
    folder = WEIGHTS / "glyph"
    assert describe("glyph")["facts"]["bytes"] == glyph.bytes
    assert sum(path.stat().st_size for path in folder.rglob("*.*")) <= 20_000_000
    assert not list(folder.rglob("*.bin")) + list(folder.rglob("*.pt"))
