"""C: residual + gate·y in one pass."""

from __future__ import annotations

import torch
from torch import Tensor

from inference.kernels.contract import Exactness, template
from inference.kernels.fused import fused
from inference.kernels.language import jit, kept, launch, power_of_two, replicates, tl, word
from inference.kernels.rows import factor, fits, in_rows, operand, place, readable, varies
from inference.kernels.strides import empty_results
from inference.kernels.tiles import tile

PIECE = 1024  # columns of one program; widths are multiples of it, or nearly


@template("C", Exactness.E0)
def gated_residual(
    residual: Tensor,  # (B, N, D)
    y: Tensor,  # (B, N, D)
    gate: Tensor,  # broadcasts to y, usually (B, 1, D)
    compute: torch.dtype,  # residual and y are cast to it; the product is rounded before the sum
    out: torch.dtype,
) -> Tensor:
    """(B, N, D) of dtype `out`, contiguous."""
    return (residual.to(compute) + y.to(compute) * gate).to(out).contiguous()


@jit(do_not_specialize=["total"])
def kernel(
    out: tl.tuple,
    x: tl.tuple,
    y: tl.tuple,
    gate: tl.tuple,
    total: tl.tensor,
    width: tl.constexpr,
    block: tl.constexpr,
    rows: tl.constexpr,
    gate_varies: tl.constexpr,
    sum_dtype: tl.constexpr,
    product: tl.constexpr,
    replicate: tl.constexpr,
) -> None:
    """Some columns of some rows: x + gate·y."""
    tokens = tl.program_id(0).to(tl.int64) * rows + tl.arange(0, rows)[:, None]
    columns = tl.program_id(2) * block + tl.arange(0, block)[None, :]
    inside = (tokens < total) & (columns < width)
    v = tl.load(place(x, tokens, columns), mask=inside, other=0.0).to(tl.float32)
    b = tl.load(place(y, tokens, columns), mask=inside, other=0.0).to(tl.float32)
    g = factor(gate, tokens, columns, inside, width, gate_varies)
    b = kept(kept(b, sum_dtype, replicate) * g, product, replicate)
    v = kept(kept(v, sum_dtype, replicate) + b, product, replicate)
    tl.store(place(out, tokens, columns), v.to(out[0].dtype.element_ty), mask=inside)


def accepts(
    residual: Tensor, y: Tensor, gate: Tensor, compute: torch.dtype, out: torch.dtype
) -> bool:
    """Two of one shape."""
    alike = readable(residual, y) and residual.ndim == 3 and residual.shape == y.shape
    return alike and fits(gate)


@fused(gated_residual, accepts)
def run(
    residual: Tensor, y: Tensor, gate: Tensor, compute: torch.dtype, out: torch.dtype
) -> Tensor:
    """The template's CUDA side."""
    residual, y = in_rows(residual), in_rows(y)
    result: Tensor = empty_results(gated_residual.reference, residual, y, gate, compute, out)
    batch, total, width = y.shape
    gate = gate.expand_as(y)
    block = min(PIECE, power_of_two(width))
    rows, warps = tile("gated_residual", block)
    launch(
        kernel,
        (-(-total // rows), batch, -(-width // block)),
        warps,
        out=operand(result),
        x=operand(residual),
        y=operand(y),
        gate=operand(gate),
        total=total,
        width=width,
        block=block,
        rows=rows,
        gate_varies=varies(gate),
        sum_dtype=word(compute),
        product=word(torch.promote_types(compute, gate.dtype)),
        replicate=replicates(),
    )
    return result
