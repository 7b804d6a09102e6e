"""Products that write into slices of one buffer: the values of products that are joined."""

from __future__ import annotations

import pytest
import torch

from inference.kernels.linears import linears, run


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("heads", [0, 3])
@pytest.mark.parametrize("biased", [True, False])
def test_every_part_lands_in_its_slice(batch: int, heads: int, biased: bool) -> None:
    draw = torch.Generator().manual_seed(0)
    xs = [torch.randn(batch, tokens, 10, generator=draw) for tokens in (5, 1, 7)]
    weights = [torch.randn(24, 10, generator=draw) for _ in xs]
    biases = [torch.randn(24, generator=draw) if biased else None for _ in xs]
    wanted = linears.op(xs, weights, biases, heads)
    got = run(xs, weights, biases, heads)
    assert (got.shape, got.stride()) == (wanted.shape, wanted.stride())
    torch.testing.assert_close(got, wanted)


def test_rows_that_lie_apart_are_multiplied_as_they_are() -> None:
    x = torch.randn(2, 5, 40)[..., :10]
    weights = [torch.randn(6, 10)] * 2
    wanted = linears.reference([x, x], weights, [None, None], 0)
    torch.testing.assert_close(run([x, x], weights, [None, None], 0), wanted)
