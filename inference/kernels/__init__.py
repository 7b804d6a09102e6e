"""Templates: fused operators that the compiler puts in place of chains of eager ones.

A new template is one file beside this one and one line below.
"""

from __future__ import annotations

from inference.kernels.activation import activation
from inference.kernels.channel_norm_silu import channel_norm_silu
from inference.kernels.concat import concat
from inference.kernels.contract import Exactness, Template
from inference.kernels.gated_residual import gated_residual
from inference.kernels.group_norm_silu import group_norm_silu
from inference.kernels.linears import linears
from inference.kernels.modulate import gated_modulate, modulate
from inference.kernels.norm import norm
from inference.kernels.qk_norm_rope import qk_norm_rope

TEMPLATES: dict[str, Template] = {
    one.name: one
    for one in (
        qk_norm_rope,
        modulate,
        gated_modulate,
        gated_residual,
        activation,
        concat,
        linears,
        norm,
        group_norm_silu,
        channel_norm_silu,
    )
}

__all__ = ["TEMPLATES", "Exactness", "Template"]
