"""Scenes: the same by step, worded as drawn, never what is held out."""

from __future__ import annotations

import random

import pytest
import torch

from inference.models.glyph import plain
from inference.train import scenes
from inference.train.captions import SIZES, build_tokenizer
from inference.train.glyphs import Glyph
from inference.train.scenes import Scenes, framed, held_out, over_white


@pytest.fixture(scope="module")
def made(drawings: list[Glyph]) -> Scenes:
    return Scenes(drawings, (64,), seed=1)


def test_a_step_makes_the_same_batch_whoever_asks(made: Scenes, drawings: list[Glyph]) -> None:
    pictures, said = made.batch(7, 12, 64)
    again, repeated = Scenes(drawings, (64,), seed=1).batch(7, 12, 64)
    assert torch.equal(pictures, again)
    assert said == repeated
    assert said != made.batch(8, 12, 64)[1]
    assert pictures.shape == (12, 3, 64, 64)
    assert float(pictures.amin()) >= -1
    assert float(pictures.amax()) <= 1


def test_no_drawing_is_painted_in_its_own_colour(made: Scenes) -> None:
    said = {paint.said for paint in made.paints}
    assert {"blue apple", "green star", "black cloud"} <= said
    assert not said & {"red apple", "yellow star"}


def test_held_out_colours_are_never_shown(made: Scenes) -> None:
    hidden = [paint.said for paint in made.paints if held_out(paint.said)]
    assert hidden
    assert not {paint.said for paint in made.shown} & set(hidden)
    captions = " | ".join(made.batch(step, 32, 64)[1][0] for step in range(60))
    assert not [said for said in hidden if f" {said} |" in captions]


def test_a_painted_drawing_has_its_colour(made: Scenes) -> None:
    paint = next(one for one in made.paints if one.said == "blue apple")
    red, _, blue = over_white(made.pictures[64][paint.row][None])[0, :, 32, 32].tolist()
    assert blue > red + 0.5


def test_two_things_stand_left_and_right_as_they_are_said(
    made: Scenes, monkeypatch: pytest.MonkeyPatch
) -> None:
    things = iter([(0, "red apple"), (1, "star")])
    monkeypatch.setattr(made, "one", lambda *_: next(things))
    monkeypatch.setattr(scenes, "BESIDE", ("{} and {}",))
    picture, said = made.pair(64, random.Random(4))
    assert said == "red apple and star"
    shown = over_white(picture[None])[0]
    assert shown[1, 32, 16] < -0.5  # red
    assert shown[1, 32, 48] > 0.3  # yellow
    assert bool((shown[:, :8] == 1).all())


@pytest.mark.parametrize("part", sorted(set(SIZES.values())))
def test_a_size_is_a_part_of_the_picture(made: Scenes, part: float) -> None:
    inner = scenes.inner(64, part)
    picture = framed(made.pictures[inner][0], 64)
    assert picture.shape == (4, 64, 64)
    assert int((picture[3].amax(0) > 0).sum()) == pytest.approx(48 * part, abs=4)


def test_every_word_of_a_caption_is_known(made: Scenes, drawings: list[Glyph]) -> None:
    tokenizer = build_tokenizer(drawings)
    said = [caption for step in range(8) for caption in made.batch(step, 32, 64)[1]]
    words = {word for caption in said for word in plain(caption).split()}
    unknown = {
        word for word in words if tokenizer.convert_tokens_to_ids(word) == tokenizer.unk_token_id
    }
    assert unknown <= {"zzzunknownzzz"}
