"""G: an RMS norm over each pixel's channels with SiLU behind it, for VAEs of video."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from inference.kernels.activation import active
from inference.kernels.contract import Exactness, template
from inference.kernels.fused import fused
from inference.kernels.group_norm_silu import across, after, pixel_step, place
from inference.kernels.language import jit, kept, launch, power_of_two, tl, word
from inference.kernels.norm import normalize
from inference.kernels.rows import DTYPES, spelled
from inference.kernels.strides import empty_results

TILE = 8192  # numbers that a program holds at once, or as many as 16 pixels have
WIDEST = 1024


@template("G", Exactness.E1)
def channel_norm_silu(
    x: Tensor,  # (B, C, ...), contiguous or channels last
    weight: Tensor | None,  # C numbers; (C, 1, ...) for `unit`, (C,) for `rms32`
    eps: float,
    kind: str,  # unit | rms32
    scale: float,  # of `unit` alone: √C
    silu: bool,
) -> Tensor:
    """(B, C, ...), of x's dtype and layout.

    kind: `unit` brings each pixel to length 1 in float32, as Wan's VAE does, then multiplies by
    scale and weight, rounding each time; `rms32` is what norm.py calls so, over channels.
    """
    if kind == "unit":
        wide = x if x.dtype == torch.float32 else x.float()
        normed = functional.normalize(wide, dim=1, eps=eps).to(x.dtype) * scale
        normed = (normed if weight is None else normed * weight) + 0.0
    else:
        normed = normalize(x.movedim(1, -1), weight, None, eps, kind).movedim(-1, 1)
    return functional.silu(normed) if silu else normed


@jit
def length(squares: tl.tensor, last: tl.constexpr) -> tl.tensor:
    """Sum over channels."""
    return tl.sum(squares, axis=1)[:, None] if last else tl.sum(squares, axis=0)[None, :]


@jit
def kernel(
    out: tl.tuple,
    x: tl.tuple,
    weight: tl.tensor,
    eps: tl.tensor,
    scale: tl.tensor,
    total: tl.tensor,
    count: tl.constexpr,
    pixels: tl.constexpr,
    channels: tl.constexpr,
    last: tl.constexpr,
    norm: tl.constexpr,
    middle: tl.constexpr,
    norm_dtype: tl.constexpr,
    how: tl.constexpr,
    native: tl.constexpr,
    dtype: tl.constexpr,
    replicate: tl.constexpr,
) -> None:
    """All channels of some pixels: normed, weighted, activated."""
    p = tl.program_id(0).to(tl.int64) * pixels + across(pixels, last)
    c = across(channels, not last)
    inside = (p < total) & (c < count)
    v = tl.load(place(x, p, c), mask=inside, other=0.0).to(tl.float32)
    squares = length(v * v, last)
    if norm == "unit":
        least = tl.maximum(tl.sqrt_rn(squares), eps, propagate_nan=tl.PropagateNan.ALL)
        v = kept(kept(tl.div_rn(v, least), dtype, replicate) * scale, dtype, replicate)
    else:
        v = kept(v * tl.rsqrt(squares / count + eps), middle, replicate)
    if weight is not None:
        w = tl.load(weight + c, mask=c < count, other=0.0).to(tl.float32)
        v = kept(v * w, norm_dtype, replicate)
    if norm == "unit":
        v += 0.0  # so does eager, where there is no bias: no zero is negative
    v = active(v, how, native)
    tl.store(place(out, p, c), v.to(out[0].dtype.element_ty), mask=inside)


def accepts(
    x: Tensor, weight: Tensor | None, eps: float, kind: str, scale: float, silu: bool
) -> bool:
    """Contiguous or channels last, of a width that a program can hold."""
    step = pixel_step(x)
    known = x.dtype in DTYPES and (weight is None or weight.dtype in DTYPES)
    return known and step is not None and 1 in (step, x.stride(1)) and x.shape[1] <= WIDEST


@fused(channel_norm_silu, accepts)
def run(
    x: Tensor, weight: Tensor | None, eps: float, kind: str, scale: float, silu: bool
) -> Tensor:
    """The template's CUDA side: x is read once and the result written once."""
    result: Tensor = empty_results(channel_norm_silu.reference, x, weight, eps, kind, scale, silu)
    batch, count, total = x.shape[0], x.shape[1], x[0, 0].numel()
    channels = power_of_two(count)
    pixels = max(16, TILE // channels)
    out, given = ((t, t.stride(0), t.stride(1), pixel_step(t)) for t in (result, x))
    launch(
        kernel, (-(-total // pixels), 1, batch), max(4, pixels * channels // 1024),
        out=out, x=given, weight=weight, eps=eps, scale=scale, total=total,
        count=count, pixels=pixels, channels=channels, last=x.stride(1) == 1 and count > 1,
        **rounded(x, weight, kind), **after(result, silu),
    )  # fmt: skip
    return result


def rounded(x: Tensor, weight: Tensor | None, kind: str) -> dict[str, Any]:
    """What the norm is, and what it rounds to before and behind the weight."""
    if kind != "unit":
        return spelled(kind, x.dtype, weight)
    return {"norm": "unit", "middle": word(x.dtype), "norm_dtype": word(x.dtype)}
