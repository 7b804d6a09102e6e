"""F: a norm over the last dimension, with the casts around it.  Reads x once, writes once."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from inference.kernels.contract import Exactness, template
from inference.kernels.fused import fused
from inference.kernels.language import jit, kept, launch, power_of_two, replicates, tl, word
from inference.kernels.rows import fits, normed, operand, place, spelled
from inference.kernels.strides import empty_results, merge
from inference.kernels.tiles import tile


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


@jit(do_not_specialize=["total"])
def kernel(
    out: tl.tuple,
    x: tl.tuple,
    weight: tl.tensor,
    bias: tl.tensor,
    eps: tl.tensor,
    total: tl.tensor,
    width: tl.constexpr,
    block: tl.constexpr,
    rows: tl.constexpr,
    compute: tl.constexpr,
    norm: tl.constexpr,
    middle: tl.constexpr,
    norm_dtype: tl.constexpr,
    replicate: tl.constexpr,
) -> None:
    """Some rows: read, norm, write."""
    tokens = tl.program_id(0).to(tl.int64) * rows + tl.arange(0, rows)[:, None]
    columns = tl.arange(0, block)[None, :]
    inside = (tokens < total) & (columns < width)
    v = tl.load(place(x, tokens, columns), mask=inside, other=0.0).to(tl.float32)
    v = kept(v, compute, replicate)
    v = normed(v, weight, bias, columns, eps, width, norm, middle, norm_dtype, replicate)
    tl.store(place(out, tokens, columns), v.to(out[0].dtype.element_ty), mask=inside)


def accepts(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
    kind: str,
    *dtypes: torch.dtype,
) -> bool:
    """(B, N, D) of neighbours; a bias only behind a layer norm."""
    return x.ndim <= 3 and fits(x, weight, bias) and (bias is None or kind == "layer")


@fused(norm, accepts)
def run(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
    kind: str,
    compute: torch.dtype,
    out: torch.dtype,
) -> Tensor:
    """The template's CUDA side."""
    result: Tensor = empty_results(norm.reference, x, weight, bias, eps, kind, compute, out)
    source, target = merge(x, result, outer=2)
    batch, total, width = source.shape
    rows, warps = tile("norm", width)
    launch(
        kernel,
        (-(-total // rows), batch, 1),
        warps,
        out=operand(target),
        x=operand(source),
        weight=weight,
        bias=bias,
        eps=eps,
        total=total,
        width=width,
        block=power_of_two(width),
        rows=rows,
        compute=word(compute),
        replicate=replicates(),
        **spelled(kind, compute, weight),
    )
    return result
