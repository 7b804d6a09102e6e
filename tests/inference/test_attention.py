"""Attention by name: the same on every machine, whatever it has."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from inference.attention import NAMES, choose, times, using

SHAPES = ((1, 2, 16, 8), (1, 2, 16, 8), torch.float32)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_prefers_and_never_forbids(name: str) -> None:
    q, k, v = (torch.randn(1, 2, 16, 8) for _ in range(3))
    plain = scaled_dot_product_attention(q, k, v)
    with using(name):
        torch.testing.assert_close(scaled_dot_product_attention(q, k, v), plain)
    assert torch.equal(scaled_dot_product_attention(q, k, v), plain)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ValueError, match="no attention is called fast; there are native, cudnn"):
        using("fast").__enter__()


def test_a_cpu_has_one_attention() -> None:
    assert times(SHAPES, "cpu") == {}
    assert choose(SHAPES, "cpu") == "native"
