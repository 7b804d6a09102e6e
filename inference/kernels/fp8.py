"""The opt-in fp8 tier (E2): linear layers whose operands are quantised row by row to e4m3.

Faster and approximate: pictures differ from eager's, so no default plan has any of it. Activations
get a scale per token as they are written, by `modulate_fp8` where a norm precedes the layer, by
`quantize` elsewhere; weights get one per output once, at loading, by `quantize` as well.
`linear_fp8` is cuBLAS's product of the two.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from inference.kernels.contract import Exactness, Template, template
from inference.kernels.fused import fused
from inference.kernels.language import jit, kept, launch, power_of_two, replicates, tl, word
from inference.kernels.modulate import dtypes, modulated
from inference.kernels.rows import factor, fits, normed, operand, place, varies
from inference.kernels.strides import empty_results, merge
from inference.kernels.tiles import tile

FP8 = torch.float8_e4m3fn
LARGEST = 448.0  # of e4m3
SMALLEST = 1e-12  # what a row of zeros is divided by


@template("fp8", Exactness.E2)
def quantize(
    x: Tensor,  # (..., D)
) -> tuple[Tensor, Tensor]:
    """→ e4m3 (..., D), contiguous, and its scale per row, fp32 (..., 1): x ≈ q·scale."""
    wide = x.float()
    scale = wide.abs().amax(-1, keepdim=True).clamp(min=SMALLEST) / LARGEST
    return (wide / scale).to(FP8).contiguous(), scale.contiguous()


@template("B+fp8", Exactness.E2)
def modulate_fp8(
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
) -> tuple[Tensor, Tensor]:
    """`modulate`, rounded to `out` and then quantised, in one pass."""
    result = modulated(x, weight, bias, scale, shift, eps, kind, compute, middle, out)
    quantized: tuple[Tensor, Tensor] = quantize.reference(result)
    return quantized


@template("linear+fp8", Exactness.E2)
def linear_fp8(
    x: Tensor,  # e4m3 (..., K)
    x_scale: Tensor,  # (..., 1)
    weight: Tensor,  # e4m3 (N, K); K and N are multiples of 16
    weight_scale: Tensor,  # (N, 1)
    bias: Tensor | None,  # (N,), of dtype `out`
    out: torch.dtype,  # bfloat16
) -> Tensor:
    """x·weightᵀ + bias with both scales, (..., N); sums are in fp32 on the tensor cores."""
    if x.device.type == "cpu":  # some versions of torch have no product by rows there
        wide = functional.linear(x.float() * x_scale, weight.float() * weight_scale)
        return wide.to(out) if bias is None else wide.add(bias).to(out)
    product = torch._scaled_mm(
        x.flatten(0, -2),
        weight.t(),
        x_scale.flatten(0, -2),
        weight_scale.t(),
        bias=bias,
        out_dtype=out,
        use_fast_accum=True,
    )
    return product.unflatten(0, x.shape[:-1])


APPROXIMATE: dict[str, Template] = {one.name: one for one in (quantize, modulate_fp8, linear_fp8)}


@jit
def stored(
    out: tl.tuple,
    scales: tl.tensor,
    v: tl.tensor,
    tokens: tl.tensor,
    columns: tl.tensor,
    total: tl.tensor,
    width: tl.constexpr,
    largest: tl.constexpr,
    smallest: tl.constexpr,
) -> None:
    """Write rows in e4m3 and their scales; numbers beyond `width` are 0."""
    v = tl.where(columns < width, v, 0.0)
    scale = tl.div_rn(tl.maximum(tl.max(tl.abs(v), axis=1)[:, None], smallest), largest)
    rows = tl.program_id(1).to(tl.int64) * total + tokens
    tl.store(scales + rows, scale, mask=tokens < total)
    quantized = tl.div_rn(v, scale + tl.zeros_like(v)).to(out[0].dtype.element_ty)
    tl.store(place(out, tokens, columns), quantized, mask=(tokens < total) & (columns < width))


@jit(do_not_specialize=["total"])
def quantizing(
    out: tl.tuple,
    scales: tl.tensor,
    x: tl.tuple,
    total: tl.tensor,
    width: tl.constexpr,
    block: tl.constexpr,
    rows: tl.constexpr,
    largest: tl.constexpr,
    smallest: tl.constexpr,
) -> None:
    """Some rows: read, quantise, write."""
    tokens = tl.program_id(0).to(tl.int64) * rows + tl.arange(0, rows)[:, None]
    columns = tl.arange(0, block)[None, :]
    inside = (tokens < total) & (columns < width)
    v = tl.load(place(x, tokens, columns), mask=inside, other=0.0).to(tl.float32)
    stored(out, scales, v, tokens, columns, total, width, largest, smallest)


@jit(do_not_specialize=["total"])
def modulating(
    out: tl.tuple,
    scales: tl.tensor,
    x: tl.tuple,
    weight: tl.tensor,
    bias: tl.tensor,
    scale: tl.tuple,
    shift: tl.tuple,
    eps: tl.tensor,
    total: tl.tensor,
    width: tl.constexpr,
    block: tl.constexpr,
    rows: tl.constexpr,
    scale_varies: tl.constexpr,
    compute: tl.constexpr,
    norm: tl.constexpr,
    middle: tl.constexpr,
    norm_dtype: tl.constexpr,
    between: tl.constexpr,
    one_plus: tl.constexpr,
    scaled: tl.constexpr,
    shifted: tl.constexpr,
    result: tl.constexpr,
    largest: tl.constexpr,
    smallest: tl.constexpr,
    replicate: tl.constexpr,
) -> None:
    """Some rows: read, norm, scale and shift, quantise, write."""
    tokens = tl.program_id(0).to(tl.int64) * rows + tl.arange(0, rows)[:, None]
    columns = tl.arange(0, block)[None, :]
    inside = (tokens < total) & (columns < width)
    v = tl.load(place(x, tokens, columns), mask=inside, other=0.0).to(tl.float32)
    v = kept(v, compute, replicate)
    v = normed(v, weight, bias, columns, eps, width, norm, middle, norm_dtype, replicate)
    s = factor(scale, tokens, columns, inside, width, scale_varies)
    t = factor(shift, tokens, columns, inside, width, scale_varies)
    v = kept(kept(v, between, replicate) * kept(1.0 + s, one_plus, replicate), scaled, replicate)
    v = kept(kept(v + t, shifted, replicate), result, replicate)
    stored(out, scales, v, tokens, columns, total, width, largest, smallest)


@fused(quantize, lambda x: x.ndim <= 3 and fits(x))
def run_quantize(x: Tensor) -> tuple[Tensor, Tensor]:
    """The template's CUDA side."""
    out, scales = empty_results(quantize.reference, x)
    source, target = merge(x, out, outer=2)
    batch, total, width = source.shape
    rows, warps = tile("norm", width)
    launch(
        quantizing,
        (-(-total // rows), batch, 1),
        warps,
        out=operand(target),
        scales=scales,
        x=operand(source),
        total=total,
        width=width,
        block=power_of_two(width),
        rows=rows,
        largest=LARGEST,
        smallest=SMALLEST,
    )
    return out, scales


def accepts(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    scale: Tensor,
    shift: Tensor,
    eps: float,
    kind: str,
    *dtypes: torch.dtype,
) -> bool:
    """What `modulate` takes, as (B, N, D)."""
    readable = x.ndim == 3 and fits(x, weight, bias, scale, shift)
    return readable and (bias is None or kind == "layer")


@fused(modulate_fp8, accepts)
def run_modulate(
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
) -> tuple[Tensor, Tensor]:
    """The template's CUDA side."""
    quantized = torch.empty(x.shape, dtype=FP8, device=x.device)
    scales = torch.empty((*x.shape[:-1], 1), dtype=torch.float32, device=x.device)
    batch, total, width = x.shape
    rows, warps = tile("modulate", width)
    scale, shift = scale.expand_as(x), shift.expand_as(x)
    launch(
        modulating,
        (-(-total // rows), batch, 1),
        warps,
        out=operand(quantized),
        scales=scales,
        x=operand(x),
        weight=weight,
        bias=bias,
        scale=operand(scale),
        shift=operand(shift),
        eps=eps,
        total=total,
        width=width,
        block=power_of_two(width),
        rows=rows,
        scale_varies=varies(scale) or varies(shift),
        result=word(out),
        largest=LARGEST,
        smallest=SMALLEST,
        replicate=replicates(),
        **dtypes(compute, weight, scale, shift, kind, middle),
    )
    return quantized, scales
