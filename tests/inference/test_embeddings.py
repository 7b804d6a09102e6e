"""What encoders said is said again with the same bits, without them, within its bytes."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from inference.embeddings import Embeddings, tensors
from inference.engine import Engine
from inference.wire import Job
from tests.inference.test_residency import SQUARE, Model, Residency


class Encoder(nn.Module):
    """An encoder that counts what it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(100, 8))
        self.asked = 0

    def forward(self, ids: Tensor, mask: Tensor | None = None, **more: Any) -> dict[str, Tensor]:
        self.asked += 1
        return {"states": self.weight[ids]}


@pytest.fixture
def remembered() -> Callable[[int], tuple[Encoder, Embeddings]]:
    def make(most_bytes: int) -> tuple[Encoder, Embeddings]:
        encoder, embeddings = Encoder(), Embeddings(most_bytes)
        embeddings.remember(encoder, lambda: None)
        return encoder, embeddings

    return make


def test_the_same_words_are_encoded_once_and_nobody_can_change_what_is_kept(
    remembered: Any,
) -> None:
    encoder, _ = remembered(10_000)
    with torch.inference_mode():
        first = encoder(torch.tensor([1, 2]))["states"]
        want = first.clone()
        first.zero_()
        again = encoder(torch.tensor([1, 2]))["states"]
        assert torch.equal(again, want)
        again.zero_()
        assert torch.equal(encoder(torch.tensor([1, 2]))["states"], want)
    assert encoder.asked == 1


def test_other_words_masks_or_options_are_other_content(remembered: Any) -> None:
    encoder, _ = remembered(10_000)
    ids = torch.tensor([1, 2])
    with torch.inference_mode():
        encoder(ids)
        encoder(ids.reshape(1, 2))
        encoder(ids.int())
        encoder(torch.tensor([2, 1]))
        encoder(ids, torch.tensor([1, 1]))
        encoder(ids, mask=torch.tensor([1, 1]))
        encoder(ids, deep=True)
        encoder(ids, deep=1)
        assert encoder.asked == 8
        encoder(ids, deep=object())
        encoder(ids, deep=object())  # no content that could be compared
    assert encoder.asked == 10


def test_two_encoders_are_never_taken_for_one(remembered: Any) -> None:
    first, embeddings = remembered(10_000)
    second = Encoder()
    embeddings.remember(second, lambda: None)
    with torch.inference_mode():
        said = [one(torch.tensor([5]))["states"] for one in (first, second)]
    assert not torch.equal(*said)


def test_bytes_are_bounded_and_the_least_recently_used_goes(remembered: Any) -> None:
    encoder, embeddings = remembered(2 * 32)
    with torch.inference_mode():
        for word in (1, 2, 1, 3, 1):  # each says 32 bytes
            encoder(torch.tensor([word]))
            assert embeddings.bytes <= 64
        assert encoder.asked == 3
        encoder(torch.tensor([2]))
        assert encoder.asked == 4
        encoder(torch.arange(5))  # more than all of it may hold
        assert embeddings.bytes == 64
    embeddings.forget()
    assert (embeddings.bytes, len(embeddings.held)) == (0, 0)


def test_what_an_output_carries_along_counts_too() -> None:
    class Cache:
        def __init__(self) -> None:
            self.layers = [SimpleNamespace(keys=torch.ones(4), itself=self)]

    said = {"states": (both := torch.ones(2)), "again": both, "cache": Cache(), "words": "none"}
    assert sum(one.numel() for one in tensors(said)) == 6


def test_an_encoder_that_is_away_stays_away_when_its_answer_is_known() -> None:
    residency = Residency("cpu", 6 * SQUARE, 10 * SQUARE, 10_000)
    first, second = Model(2), Model(3)
    residency.add("first", first)
    x = torch.randn(1, 16)
    with torch.inference_mode():
        want = first.encode(x)
        residency.make_room(second.bytes)
        residency.add("second", second)
        (part,) = residency.entries["first"].encoders
        assert not part.here
        assert torch.equal(first.encode(x), want)
        assert not part.here
        first.encode(x + 1)
        assert part.here


def test_glyph_draws_the_same_bytes_with_and_without_memory() -> None:
    engine = Engine("cpu")
    inputs = {"prompt": "red heart", "steps": 4, "size": 32, "seed": 3}
    first, again = (engine.run(Job("r", 1, "", "glyph", inputs), lambda _: None) for _ in "ab")
    assert first.files == again.files
    assert len(engine.residency.embeddings.held) == 1
    engine.save_memory()
    assert engine.run(Job("r", 1, "", "glyph", inputs), lambda _: None).files == first.files
