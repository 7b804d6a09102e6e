"""B, and C before B: norm(x)·(1 + scale) + shift in one pass, alone or after a gated residual."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from inference.kernels.contract import Exactness, template
from inference.kernels.fused import fused
from inference.kernels.language import jit, kept, launch, power_of_two, replicates, tl, word
from inference.kernels.norm import normalize
from inference.kernels.rows import (
    factor,
    fits,
    in_rows,
    normed,
    operand,
    place,
    readable,
    spelled,
    varies,
)
from inference.kernels.strides import empty_results
from inference.kernels.tiles import tile


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
    """Cast to `compute`, norm, cast to `middle`, scale and shift, cast to `out`.

    Contiguous also where eager would carry on a patch embedding's transposed rows.
    """
    normed = normalize(x.to(compute), weight, bias, eps, kind).to(middle)
    return (normed * (1 + scale) + shift).to(out).contiguous()


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
    x = (residual.to(sum_dtype) + gated).to(sum_out).contiguous()
    return x, modulated(x, weight, bias, scale, shift, eps, kind, compute, middle, out)


@jit(do_not_specialize=["total"])
def kernel(
    out: tl.tuple,
    carried: tl.tuple,
    x: tl.tuple,
    y: tl.tuple,
    gate: tl.tuple,
    weight: tl.tensor,
    bias: tl.tensor,
    scale: tl.tuple,
    shift: tl.tuple,
    eps: tl.tensor,
    total: tl.tensor,
    width: tl.constexpr,
    block: tl.constexpr,
    rows: tl.constexpr,
    gate_varies: tl.constexpr,
    scale_varies: tl.constexpr,
    sum_dtype: tl.constexpr,
    product: tl.constexpr,
    compute: tl.constexpr,
    norm: tl.constexpr,
    middle: tl.constexpr,
    norm_dtype: tl.constexpr,
    between: tl.constexpr,
    one_plus: tl.constexpr,
    scaled: tl.constexpr,
    shifted: tl.constexpr,
    replicate: tl.constexpr,
) -> None:
    """Some rows: add the gated branch, write the sum, norm it, scale and shift, write."""
    tokens = tl.program_id(0).to(tl.int64) * rows + tl.arange(0, rows)[:, None]
    columns = tl.arange(0, block)[None, :]
    inside = (tokens < total) & (columns < width)
    v = tl.load(place(x, tokens, columns), mask=inside, other=0.0).to(tl.float32)
    if y is not None:
        b = tl.load(place(y, tokens, columns), mask=inside, other=0.0).to(tl.float32)
        b = kept(b, sum_dtype, replicate)
        if gate is not None:
            g = factor(gate, tokens, columns, inside, width, gate_varies)
            b = kept(b * g, product, replicate)
        v = kept(kept(v, sum_dtype, replicate) + b, product, replicate)
        v = v.to(carried[0].dtype.element_ty)
        tl.store(place(carried, tokens, columns), v, mask=inside)
        v = v.to(tl.float32)
    v = kept(v, compute, replicate)
    v = normed(v, weight, bias, columns, eps, width, norm, middle, norm_dtype, replicate)
    s = factor(scale, tokens, columns, inside, width, scale_varies)
    t = factor(shift, tokens, columns, inside, width, scale_varies)
    v = kept(kept(v, between, replicate) * kept(1.0 + s, one_plus, replicate), scaled, replicate)
    v = kept(v + t, shifted, replicate).to(out[0].dtype.element_ty)
    tl.store(place(out, tokens, columns), v, mask=inside)


def dtypes(
    x: torch.dtype,
    weight: Tensor | None,
    scale: Tensor,
    shift: Tensor,
    kind: str,
    cast: torch.dtype,
) -> dict[str, Any]:
    """Where eager rounds between the norm of an `x` and the result, `cast` after the norm."""
    scaled = torch.promote_types(cast, scale.dtype)
    return spelled(kind, x, weight) | {
        "compute": word(x),
        "between": word(cast),
        "one_plus": word(scale.dtype),
        "scaled": word(scaled),
        "shifted": word(torch.promote_types(scaled, shift.dtype)),
    }


def run(
    out: Tensor,
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    scale: Tensor,
    shift: Tensor,
    eps: float,
    rounded: dict[str, Any],
    branch: dict[str, Any],
) -> None:
    """Launch the kernel over the rows of x."""
    batch, total, width = x.shape
    scale, shift = scale.expand_as(x), shift.expand_as(x)
    rows, warps = tile("modulate", width)
    launch(
        kernel,
        (-(-total // rows), batch, 1),
        warps,
        out=operand(out),
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
        replicate=replicates(),
        **rounded,
        **branch,
    )


NO_BRANCH = {
    "carried": None,
    "y": None,
    "gate": None,
    "gate_varies": False,
    "sum_dtype": None,
    "product": None,
}


def accepts_modulate(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    scale: Tensor,
    shift: Tensor,
    eps: float,
    kind: str,
    *dtypes: torch.dtype,
) -> bool:
    """Whole rows of at most 16,384 numbers; a bias only behind a layer norm."""
    return readable(x) and fits(scale, shift, weight, bias) and (bias is None or kind == "layer")


@fused(modulate, accepts_modulate)
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
) -> Tensor:
    """The template's CUDA side."""
    operands = in_rows(x), weight, bias, scale, shift, eps
    result: Tensor = empty_results(modulate.reference, *operands, kind, compute, middle, out)
    rounded = dtypes(compute, weight, scale, shift, kind, middle)
    run(result, *operands, rounded, NO_BRANCH)
    return result


def accepts_gated(
    residual: Tensor,
    y: Tensor,
    gate: Tensor | None,
    sum_dtype: torch.dtype,
    sum_out: torch.dtype,
    *norm: Any,
) -> bool:
    """What `modulate` takes, and a branch of the same shape."""
    alike = readable(residual, y) and residual.shape == y.shape
    return alike and fits(gate) and accepts_modulate(y, *norm)


@fused(gated_modulate, accepts_gated)
def run_gated(
    residual: Tensor,
    y: Tensor,
    gate: Tensor | None,
    sum_dtype: torch.dtype,
    sum_out: torch.dtype,
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
    operands = weight, bias, scale, shift, eps
    residual, y = in_rows(residual), in_rows(y)
    carried, result = empty_results(
        gated_modulate.reference, residual, y, gate, sum_dtype, sum_out, *operands,
        kind, compute, middle, out,
    )  # fmt: skip
    gate = None if gate is None else gate.expand_as(y)
    product = sum_dtype if gate is None else torch.promote_types(sum_dtype, gate.dtype)
    branch = {
        "carried": operand(carried),
        "y": operand(y),
        "gate": operand(gate),
        "gate_varies": varies(gate),
        "sum_dtype": word(sum_dtype),
        "product": word(product),
    }
    run(result, residual, *operands, dtypes(compute, weight, scale, shift, kind, middle), branch)
    return carried, result
