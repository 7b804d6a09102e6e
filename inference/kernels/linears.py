"""E, with the products before it: linear layers write into the slices of one buffer.

No kernel of ours: each product's output is a slice, so that the concatenation itself is gone. The
joint form of attention's values, which nothing but a split into heads parts from their layers.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from inference.kernels.contract import Exactness, template


@template("E", Exactness.E1)
def linears(
    xs: Sequence[Tensor],  # (B, tokens of this part, in)
    weights: Sequence[Tensor],  # (out, in), one per part
    biases: Sequence[Tensor | None],  # (out,)
    heads: int,  # 0: not split
) -> Tensor:
    """cat([linear(x), ...], 1), split into heads: (B, tokens, out) or (B, tokens, heads, width)."""
    each = [functional.linear(*one) for one in zip(xs, weights, biases, strict=True)]
    joint = torch.cat(each, 1)
    return joint.unflatten(-1, (heads, -1)) if heads else joint


@linears.op.register_kernel("cuda")
def run(
    xs: Sequence[Tensor], weights: Sequence[Tensor], biases: Sequence[Tensor | None], heads: int
) -> Tensor:
    """The template's CUDA side: one product per part and row of the batch, each into its place."""
    lengths = [x.shape[1] for x in xs]
    joint = xs[0].new_empty(xs[0].shape[0], sum(lengths), weights[0].shape[0])
    with torch.no_grad():
        parts = zip(joint.split(lengths, 1), xs, weights, biases, strict=True)
        for place, x, weight, bias in parts:
            for slot, row in zip(place, x, strict=True):
                if bias is None:
                    torch.mm(row, weight.mT, out=slot)
                else:
                    torch.addmm(bias, row, weight.mT, out=slot)
    return joint.unflatten(-1, (heads, -1)) if heads else joint
