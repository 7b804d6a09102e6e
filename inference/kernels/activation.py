"""D: the activation after a linear layer, or a gated one (GEGLU, SwiGLU), in one pass."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from inference.kernels.contract import Exactness, template


def activate(x: Tensor, kind: str) -> Tensor:
    """Apply `gelu_tanh`, `gelu_erf` or `silu`; `none` gives x itself."""
    if kind == "silu":
        return functional.silu(x)
    if kind == "none":
        return x
    return functional.gelu(x, approximate="tanh" if kind == "gelu_tanh" else "none")


@template("D", Exactness.E1)
def activation(
    x: Tensor,  # (..., D); its rows may lie apart, as halves of one linear output do
    up: Tensor | None,  # the same shape, strides of its own
    kind: str,  # gelu_tanh | gelu_erf | silu
) -> Tensor:
    """act(x), or act(x) rounded and then times `up`."""
    active = activate(x, kind)
    return active if up is None else torch.mul(active, up)
