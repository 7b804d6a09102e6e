"""Buckets of a captured forward, and that nothing on a CPU pretends to be captured."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

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
