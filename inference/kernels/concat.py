"""E, with D inside it: write parts into the slices of one buffer, activating some on the way."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from inference.kernels.activation import activate
from inference.kernels.contract import Exactness, template


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
