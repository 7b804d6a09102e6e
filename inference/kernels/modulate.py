"""B, and C before B: norm(x)·(1 + scale) + shift in one pass, alone or after a gated residual."""

from __future__ import annotations

import torch
from torch import Tensor

from inference.kernels.contract import Exactness, template
from inference.kernels.norm import normalize


def modulated(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    scale: Tensor,
    shift: Tensor,
    eps: float,
    kind: str,
    compute: torch.dtype,
    middle: torch.dtype,
    out: torch.dtype,
) -> Tensor:
    """Cast to `compute`, norm, cast to `middle`, scale and shift, cast to `out`."""
    normed = normalize(x.to(compute), weight, bias, eps, kind).to(middle)
    return (normed * (1 + scale) + shift).to(out)


@template("B", Exactness.E1)
def modulate(
    x: Tensor,  # (B, N, D)
    weight: Tensor | None,  # (D,)
    bias: Tensor | None,  # (D,)
    scale: Tensor,  # broadcasts to x: (B, 1, D), (1, 1, D), (D,) or (B, N, D)
    shift: Tensor,  # like scale
    eps: float,
    kind: str,  # layer | rms | rms32, as in norm.py
    compute: torch.dtype,
    middle: torch.dtype,
    out: torch.dtype,
) -> Tensor:
    """norm(x)·(1 + scale) + shift, (B, N, D) of dtype `out`."""
    return modulated(x, weight, bias, scale, shift, eps, kind, compute, middle, out)


@template("CB", Exactness.E1)
def gated_modulate(
    residual: Tensor,  # (B, N, D)
    y: Tensor,  # (B, N, D)
    gate: Tensor | None,  # broadcasts to y; None: a plain residual
    sum_dtype: torch.dtype,  # residual and y are cast to it; gate·y is rounded before the sum
    sum_out: torch.dtype,  # dtype of the new residual
    weight: Tensor | None,
    bias: Tensor | None,
    scale: Tensor,
    shift: Tensor,
    eps: float,
    kind: str,
    compute: torch.dtype,
    middle: torch.dtype,
    out: torch.dtype,
) -> tuple[Tensor, Tensor]:
    """x = residual + gate·y; → (x, norm(x)·(1 + scale) + shift)."""
    gated = y.to(sum_dtype) if gate is None else y.to(sum_dtype) * gate
    x = (residual.to(sum_dtype) + gated).to(sum_out)
    return x, modulated(x, weight, bias, scale, shift, eps, kind, compute, middle, out)
