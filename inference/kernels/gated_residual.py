"""C: residual + gate·y in one pass."""

from __future__ import annotations

import torch
from torch import Tensor

from inference.kernels.contract import Exactness, template


@template("C", Exactness.E0)
def gated_residual(
    residual: Tensor,  # (B, N, D)
    y: Tensor,  # (B, N, D)
    gate: Tensor,  # broadcasts to y, usually (B, 1, D)
    compute: torch.dtype,  # residual and y are cast to it; the product is rounded before the sum
    out: torch.dtype,
) -> Tensor:
    """(B, N, D) of dtype `out`."""
    return (residual.to(compute) + y.to(compute) * gate).to(out)
