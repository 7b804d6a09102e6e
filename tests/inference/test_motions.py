"""What glyph-motion is taught: exact fields that begin at rest, and words that are all known."""

from __future__ import annotations

import random

import pytest
import torch
from torch import Tensor

from inference.models.motion_field import EDGE, ink, moved, smooth
from inference.train.motion_score import recognised, wishes
from inference.train.motions import VERBS, Box, Motion, build_tokenizer, caption, choose, field


def corner() -> Tensor:
    """A drawing without symmetry, off the middle.  (3, 64, 64) in -1..1."""
    picture = torch.ones(3, 64, 64)
    picture[1:, 20:50, 14:22] = -1
    picture[0, 42:50, 14:40] = -0.5
    return picture


@pytest.mark.parametrize("kind", VERBS)
@pytest.mark.parametrize("pace", [0, 1, 2])
def test_every_motion_begins_at_rest_and_moves(kind: str, pace: int) -> None:
    found = field(Motion(kind, pace, 1, 0.5), Box.of(ink(corner())), 16)
    assert found.shape == (16, 3, EDGE, EDGE)
    assert torch.equal(found[0], torch.zeros(3, EDGE, EDGE))
    assert found.abs().amax() > 0.1


def test_a_motion_is_the_same_each_time() -> None:
    motions = [choose(random.Random(7)) for _ in range(2)]
    assert motions[0] == motions[1]


def test_a_box_is_where_the_ink_is() -> None:
    box = Box.of(ink(corner()))
    assert (box.x, box.y) == pytest.approx((27 / 32 - 1, 35 / 32 - 1))
    assert (box.across, box.down) == pytest.approx((13 / 32, 15 / 32))
    assert Box.of(torch.zeros(1, 8, 8)) == Box(0, 0, 1, 1)


def test_every_caption_is_made_of_known_words() -> None:
    known, source = build_tokenizer(8).get_vocab(), random.Random(3)
    said = [caption(choose(source), source) for _ in range(500)]
    assert {word for text in said for word in text.split()} <= set(known)
    assert max(len(text.split()) for text in said) == 3


@pytest.mark.parametrize("kind", VERBS)
def test_a_true_motion_is_recognised_with_its_pace(kind: str) -> None:
    picture = corner()
    for pace in (0, 1, 2):
        fields = field(Motion(kind, pace, -1, 0.3), Box.of(ink(picture)), 8)
        frames = ((moved(picture, smooth(fields)) + 1) * 127.5).round().to(torch.uint8)
        seen = recognised(frames.permute(0, 2, 3, 1))
        assert seen is not None
        assert (seen.kind, seen.pace) == (kind, pace)


def test_rest_is_recognised_as_rest() -> None:
    frames = ((corner() + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0)
    assert recognised(frames.expand(24, -1, -1, -1)) is None


def test_the_fixed_prompts_ask_for_every_motion_at_every_pace() -> None:
    class Named:
        words = ("red heart",)

    asked = wishes([Named()], 54)  # type: ignore[list-item]
    assert len({(wish.kind, wish.pace) for wish in asked}) == 27
    assert asked[0].prompt == "red heart slowly bounces"
