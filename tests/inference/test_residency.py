"""What lies where: by bytes, encoders first, back from host memory with the same bits."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from inference.residency import Occupied, OverBudget, Residency

SQUARE = 16 * 16 * 4  # bytes of one weight


class Model:
    """A network of some weights and a text encoder of one."""

    def __init__(self, weights: int, *, encoder: bool = True) -> None:
        layers = [nn.Linear(16, 16, bias=False) for _ in range(weights)]
        self.parts: dict[str, Any] = {"transformer": nn.Sequential(*layers), "scheduler": object()}
        if encoder:
            self.parts["text_encoder"] = nn.Linear(16, 16, bias=False)
        self.network = self.parts["transformer"]
        self.bytes = SQUARE * (weights + encoder)

    def encode(self, x: Tensor) -> Tensor:
        made: Tensor = self.parts["text_encoder"](x)
        return made

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


def keep(residency: Residency, slug: str, model: Any) -> None:
    residency.make_room(model.bytes)
    residency.add(slug, model)


def test_encoders_leave_before_whole_models_and_come_back_when_called() -> None:
    residency = Residency("cpu", 6 * SQUARE, 10 * SQUARE)
    first, second = Model(2), Model(3)
    x = torch.randn(4, 16)
    want = first.encode(x)
    keep(residency, "first", first)
    keep(residency, "second", second)  # 3 + 4 > 6: the older encoder leaves, that is enough
    assert residency.resident == ["first", "second"]
    assert residency.resident_bytes == 6 * SQUARE
    assert residency.host_bytes == SQUARE
    assert torch.equal(first.encode(x), want)  # and it is back; another encoder made room
    assert [part.here for entry in residency.entries.values() for part in entry.encoders] == [
        True,
        False,
    ]
    assert residency.resident_bytes <= residency.budget_bytes


def test_what_left_comes_back_from_host_memory_with_the_same_bits() -> None:
    residency = Residency("cpu", 3 * SQUARE, 10 * SQUARE)
    first, second = Model(3, encoder=False), Model(3, encoder=False)
    x = torch.randn(4, 16)
    want = first.network(x)
    keep(residency, "first", first)
    on_device = first.network[0].weight.data_ptr()
    keep(residency, "second", second)
    assert residency.resident == ["second"]
    assert first.network[0].weight.data_ptr() != on_device
    assert residency.find("first") is first
    assert residency.resident == ["first"]
    assert torch.equal(first.network(x), want)
    copies = [copy.data_ptr() for copy in residency.entries["first"].body.host or ()]
    residency.find("second")
    assert [w.data_ptr() for w in first.network.parameters()] == copies  # no second copy is made


def test_without_host_memory_models_are_forgotten_and_encoders_stay() -> None:
    residency = Residency("cpu", 6 * SQUARE, 0)
    keep(residency, "first", Model(2))
    keep(residency, "second", Model(3))
    assert list(residency.entries) == ["second"]
    assert residency.find("first") is None
    assert residency.host_bytes == 0


def test_older_host_copies_make_room_for_newer_ones() -> None:
    residency = Residency("cpu", 2 * SQUARE, 4 * SQUARE)
    for name in ("a", "b", "c", "d"):
        keep(residency, name, Model(2, encoder=False))
    assert list(residency.entries) == ["b", "c", "d"]
    assert residency.host_bytes == 4 * SQUARE


def test_what_a_run_is_using_stays() -> None:
    residency = Residency("cpu", 4 * SQUARE, 8 * SQUARE)
    keep(residency, "used", Model(2, encoder=False))
    residency.entries["used"].users = 1
    with pytest.raises(Occupied):
        residency.make_room(3 * SQUARE)
    with pytest.raises(OverBudget):
        residency.make_room(5 * SQUARE)
    assert residency.resident == ["used"]
    keep(residency, "beside", Model(2, encoder=False))
    assert residency.resident == ["used", "beside"]
    residency.entries["used"].users = 0
    residency.make_room(4 * SQUARE)
    assert residency.resident == []


def test_buffers_that_changed_come_back_changed() -> None:
    residency = Residency("cpu", 2 * SQUARE, 8 * SQUARE)
    model = Model(2, encoder=False)
    model.network.register_buffer("adapter", torch.zeros(3), persistent=False)
    keep(residency, "model", model)
    for value in (1.0, 2.0):
        model.network.adapter.fill_(value)
        residency.make_room(2 * SQUARE)
        residency.find("model")
        assert model.network.adapter.tolist() == [value] * 3


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=20),
    st.integers(4, 12),
    st.integers(0, 12),
)
def test_no_budget_is_ever_exceeded_and_no_bit_lost(
    asked: list[tuple[int, bool]], budget: int, host: int
) -> None:
    residency = Residency("cpu", budget * SQUARE, host * SQUARE)
    x = torch.ones(1, 16)
    made: dict[str, tuple[Model, Tensor, Tensor]] = {}
    with torch.no_grad():
        for number, words in asked:
            slug = str(number)
            if residency.find(slug) is None:
                model = Model(1 + number % 3)
                made[slug] = model, model.network(x), model.encode(x)
                keep(residency, slug, model)
            model, want, said = made[slug]
            if words:
                assert torch.equal(model.encode(x), said)
            assert torch.equal(model.network(x), want)
            assert residency.resident[-1] == slug
            assert residency.resident_bytes <= residency.budget_bytes
            assert residency.host_bytes <= residency.host_budget_bytes
    assert all(a != b for a, b in pairwise(residency.resident))
