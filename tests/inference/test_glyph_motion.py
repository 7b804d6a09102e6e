"""The shipped clips: same seed, same clip; the first frame stays; what is asked is recognised."""

from __future__ import annotations

import base64
from typing import Any

import pytest
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from inference import media
from inference.models.contract import Forward, Step, Unusable, walk
from inference.models.glyph_motion import GlyphMotion, subject, told
from inference.models.motion_field import FPS, RATE, moved, points, smooth
from inference.train.motion_score import recognised
from inference.train.motions import VERBS
from inference.wire import WEIGHTS, describe

FOLDER = WEIGHTS / "glyph-motion"
BASE = {
    "prompt": "pulses", "size": "64x64", "seconds": 1, "steps": 4, "guidance": 2, "seed": 5,
    "count": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def motion() -> GlyphMotion:
    return GlyphMotion.load(FOLDER, "cpu")


def house() -> Image.Image:
    """A drawing that looks different from every side."""
    image = Image.new("RGB", (64, 64), "white")
    pen = ImageDraw.Draw(image)
    pen.rectangle((18, 30, 46, 50), "royalblue")
    pen.polygon([(14, 30), (50, 30), (32, 12)], "firebrick")
    pen.rectangle((36, 38, 43, 50), "black")
    return image


def address(image: Image.Image) -> str:
    return "data:image/png;base64," + base64.b64encode(media.png(image)).decode()


def filmed(motion: GlyphMotion, **inputs: Any) -> list[Tensor]:
    work = motion.prepare(BASE | inputs)
    for _ in walk(motion.denoise(work)):
        pass
    return [clip.frames for clip in motion.decode(work)]


def test_the_same_seed_makes_the_same_bytes_whatever_the_count(motion: GlyphMotion) -> None:
    first = address(house())
    alone = [filmed(motion, image=first, seed=seed)[0] for seed in (5, 6)]
    both = filmed(motion, image=first, count=2)
    assert all(torch.equal(*pair) for pair in zip(alone, both, strict=True))
    assert not torch.equal(*alone)


def test_two_loads_make_the_same_bytes_from_words_alone(motion: GlyphMotion) -> None:
    asked = {"prompt": "a red heart bounces"}
    one, two = filmed(motion, **asked)[0], filmed(GlyphMotion.load(FOLDER, "cpu"), **asked)[0]
    assert torch.equal(one, two)


@pytest.mark.parametrize("seconds", [1, 2, 3])
@pytest.mark.parametrize(("size", "side"), [("64x64", 64), ("128x128", 128)])
def test_a_clip_is_as_long_and_as_large_as_asked(
    motion: GlyphMotion, seconds: int, size: str, side: int
) -> None:
    work = motion.prepare(BASE | {"image": address(house()), "size": size, "seconds": seconds})
    for _ in walk(motion.denoise(work)):
        pass
    (clip,) = motion.decode(work)
    assert clip.fps == FPS
    assert clip.frames.shape == (24 * seconds, side, side, 3)


def test_the_given_picture_is_the_first_frame(motion: GlyphMotion) -> None:
    image = house()
    frames = filmed(motion, image=address(image))[0]
    given = torch.tensor(list(image.tobytes()), dtype=torch.uint8).view(64, 64, 3)
    assert (frames[0].int() - given.int()).abs().max() <= 1
    assert not torch.equal(frames[0], frames[12])


def test_every_motion_is_recognised_in_most_clips_of_a_drawing_it_never_saw(
    motion: GlyphMotion,
) -> None:
    first = address(house())
    found = {
        kind: recognised(filmed(motion, prompt=words.split()[1], image=first, steps=16)[0])
        for kind, words in VERBS.items()
    }
    right = [kind for kind, seen in found.items() if seen is not None and seen.kind == kind]
    assert len(right) >= 7, found


def test_steps_of_both_stages_are_counted_as_one_walk(motion: GlyphMotion) -> None:
    first = {"image": address(house())}
    drawn, given = (list(walk(motion.denoise(motion.prepare(BASE | one)))) for one in ({}, first))
    assert [step.index for step in drawn] == list(range(1, 9))
    assert {step.steps for step in drawn} == {8}
    assert {step.steps for step in given} == {4}


def test_previews_are_small_pictures(motion: GlyphMotion) -> None:
    work = motion.prepare(BASE | {"image": address(house()), "steps": 8, "size": "128x128"})
    shown = [step.preview for step in walk(motion.denoise(work)) if step.preview]
    assert [image.size for image in shown] == [(64, 64)]


def test_a_motion_asks_for_forwards_of_one_form(motion: GlyphMotion) -> None:
    loop = motion.denoise(motion.prepare(BASE | {"image": address(house()), "count": 2}))
    asked = next(loop)
    assert not isinstance(asked, Step)
    assert [type(one) for one in asked] == [Forward, Forward]
    assert asked[0].rows["noisy"].shape == (2, 3, RATE, 16, 16)


@pytest.mark.parametrize("prompt", ["", "?!", "心", "a thing that does nothing " * 9])
def test_any_prompt_makes_a_clip(motion: GlyphMotion, prompt: str) -> None:
    assert filmed(motion, prompt=prompt)[0].shape == (24, 64, 64, 3)


def test_words_of_motion_are_read_and_taken_from_the_drawing(motion: GlyphMotion) -> None:
    ids = told(motion.tokenizer, ["A red Heart slowly SPINS, clockwise!", "slowly spins clockwise"])
    assert torch.equal(ids[0], ids[1])
    assert subject(motion.tokenizer, "A red Heart slowly SPINS, clockwise!") == "a red heart"
    assert subject(motion.tokenizer, "bounce") == "bounce"


def test_a_picture_from_a_file_address_is_refused(motion: GlyphMotion) -> None:
    with pytest.raises(Unusable, match="http or data"):
        motion.prepare(BASE | {"image": "file:///etc/passwd"})


def test_facts_match_the_weights(motion: GlyphMotion) -> None:
    room = describe("glyph-motion")["facts"]["bytes"]  # for kinora/glyph too, whatever it weighs
    assert motion.bytes <= room <= 1.2 * motion.bytes
    models = ("glyph", "glyph-motion", "glyph-upscale")
    files = [path for name in models for path in (WEIGHTS / name).rglob("*.*")]
    assert sum(path.stat().st_size for path in files) <= 40_000_000
    assert not [path for path in files if path.suffix in (".bin", ".pt")]


# ── fields ────────────────────────────────────────────────────────────────────────────────────


def test_a_field_of_zeros_is_the_picture_itself() -> None:
    picture = torch.rand(3, 32, 32) * 2 - 1
    frames = moved(picture, torch.zeros(2, 3, 16, 16))
    assert torch.allclose(frames, picture.expand(2, -1, -1, -1), atol=1e-5)


def test_a_field_looks_where_it_says_and_fades_to_the_backdrop() -> None:
    picture = torch.ones(3, 33, 33)
    picture[:, 16, 16] = -1
    fields = torch.zeros(2, 3, 16, 16)
    fields[0, 0] = 0.25  # looks an eighth of the width to the right: what is seen goes left
    fields[1, 2] = 1
    left, gone = moved(picture, fields)
    assert left[0, 16].argmin() == 12
    assert torch.allclose(gone, torch.ones(3, 33, 33), atol=1e-5)


def test_in_betweens_pass_through_every_field_and_begin_at_rest() -> None:
    fields = torch.randn(5, 3, 16, 16)
    frames = smooth(fields)
    assert len(frames) == 15
    assert torch.equal(frames[0], torch.zeros(3, 16, 16))
    assert torch.allclose(frames[3::3], fields[1:], atol=1e-6)


def test_in_betweens_of_an_even_motion_are_even() -> None:
    fields = torch.arange(6.0)[:, None, None, None].expand(-1, 3, 16, 16)
    assert torch.allclose(smooth(fields)[3:, 0, 0, 0], torch.arange(3, 18) / 3, atol=1e-5)


def test_points_run_from_edge_to_edge() -> None:
    x, y = points(5, 3)
    assert x[0].tolist() == [-1, -0.5, 0, 0.5, 1]
    assert y[:, 0].tolist() == [-1, 0, 1]
