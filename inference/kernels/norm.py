"""F: a norm over the last dimension, with the casts around it.  Reads x once, writes once."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from inference.kernels.contract import Exactness, template


def normalize(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, kind: str
) -> Tensor:
    """Norm the last dimension as eager spells it.

    kind: `layer` and `rms` are torch's own operators; `rms32` is diffusers' RMSNorm, which squares
    in float32 and rounds to the weight's half type (without weight: to x's) before it multiplies.
    """
    if kind == "layer":
        return functional.layer_norm(x, x.shape[-1:], weight, bias, eps)
    if kind == "rms":
        return functional.rms_norm(x, x.shape[-1:], weight, eps)
    scaled = x * torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + eps)
    if weight is None:
        return scaled.to(x.dtype)
    if weight.dtype in (torch.float16, torch.bfloat16):
        scaled = scaled.to(weight.dtype)
    return scaled * weight if bias is None else scaled * weight + bias


@template("F", Exactness.E1)
def norm(
    x: Tensor,  # (..., D), any strides
    weight: Tensor | None,  # (D,)
    bias: Tensor | None,  # (D,)
    eps: float,
    kind: str,  # layer | rms | rms32
    compute: torch.dtype,  # x is cast to it first
    out: torch.dtype,  # the result is cast to it last
) -> Tensor:
    """(..., D) → (..., D) of dtype `out`."""
    return normalize(x.to(compute), weight, bias, eps, kind).to(out)
