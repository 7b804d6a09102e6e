"""E, with D inside it: write parts into the slices of one buffer, activating some on the way."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from inference.kernels.activation import activate, fits, write
from inference.kernels.contract import Exactness, template
from inference.kernels.fused import fused
from inference.kernels.strides import empty_results


@template("ED", Exactness.E1)
def concat(
    parts: Sequence[Tensor],  # alike but for dimension `dim`; any strides
    ups: Sequence[Tensor | None],  # one per part: what its activation is multiplied by
    kinds: str,  # one per part, by commas: none | gelu_tanh | gelu_erf | silu
    dim: int,
) -> Tensor:
    """cat([act(part)·up, ...], dim), contiguous."""
    each = zip(parts, ups, kinds.split(","), strict=True)
    active = [
        activate(part, kind) if up is None else activate(part, kind) * up for part, up, kind in each
    ]
    return torch.cat(active, dim)


def accepts(parts: Sequence[Tensor], ups: Sequence[Tensor | None], kinds: str, dim: int) -> bool:
    """Parts of one dtype whose rows are neighbours."""
    given = [one for one in (*parts, *ups) if one is not None]
    return len({one.dtype for one in given}) == 1 and all(map(fits, given))


@fused(concat, accepts)
def run(parts: Sequence[Tensor], ups: Sequence[Tensor | None], kinds: str, dim: int) -> Tensor:
    """The template's CUDA side: each part goes straight to its slice."""
    result: Tensor = empty_results(concat.reference, parts, ups, kinds, dim)
    slices = result.split([part.shape[dim] for part in parts], dim)
    for out, part, up, kind in zip(slices, parts, ups, kinds.split(","), strict=True):
        write(out, part, up, kind)
    return result
