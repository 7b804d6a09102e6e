"""Buckets of a captured forward, and that nothing on a CPU pretends to be captured."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from inference.bench.cases import moved
from inference.compiler.families import FAMILIES, Size
from inference.compiler.graphs import Graphed, bucket_of


def test_without_a_gpu_the_call_runs_and_says_so() -> None:
    graphed = Graphed(lambda x, by: x * by, "cpu")
    assert torch.equal(graphed(x=torch.arange(3), by=2), torch.tensor([0, 2, 4]))
    assert graphed.reason == "no CUDA device"
    assert not graphed.captured


def test_a_bucket_is_shapes_dtypes_and_plain_values() -> None:
    def inputs(x: Tensor, **more: Any) -> dict[str, Any]:
        return {"x": x, "nested": {"y": torch.zeros(2)}, "frames": 3, **more}

    base = bucket_of(inputs(torch.zeros(2, 3)))
    assert bucket_of(inputs(torch.ones(2, 3))) == base
    others = [
        inputs(torch.zeros(3, 2)),
        inputs(torch.zeros(2, 3).bfloat16()),
        inputs(torch.zeros(2, 3), frames=4),
        inputs(torch.zeros(2, 3), more=None),
    ]
    assert len({base, *map(bucket_of, others)}) == 5


class Watch(TorchDispatchMode):
    """Notes operators that would make a graph's capture fail: with operands here and there."""

    def __init__(self) -> None:
        super().__init__()
        self.between: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        every = tree_leaves((args, kwargs, made))
        if len({one.device.type for one in every if isinstance(one, Tensor)}) > 1:
            self.between.append(str(func))
        return made


@pytest.mark.parametrize("name", FAMILIES)
def test_no_forward_waits_for_the_host(name: str) -> None:
    """Stands in for capturing: on meta, reading a value fails, and copies from the host show."""
    family = FAMILIES[name]
    module = family.build(**dict.fromkeys(family.depths, 1)).to("meta")
    inputs = moved(family.example(Size(1, 1, 4, 4, 5)), "meta")
    with torch.no_grad():
        module(**inputs)  # makes the tables that it keeps
        with Watch() as watch:
            output = module(**inputs)[0]
    assert output.is_meta
    assert watch.between == []
