"""G: group norm with SiLU behind it, for the UNet and all VAEs."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from inference.kernels.contract import Exactness, template


@template("G", Exactness.E1)
def group_norm_silu(
    x: Tensor,  # (B, C, ...), contiguous or channels last
    weight: Tensor | None,  # (C,)
    bias: Tensor | None,  # (C,)
    groups: int,
    eps: float,
    silu: bool,
) -> Tensor:
    """(B, C, ...), of x's dtype and layout."""
    normed = functional.group_norm(x, groups, weight, bias, eps)
    return functional.silu(normed) if silu else normed
