"""D: the activation after a linear layer, or a gated one (GEGLU, SwiGLU), in one pass."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from inference.kernels.contract import Exactness, template
from inference.kernels.fused import fused
from inference.kernels.language import (
    interpreted,
    jit,
    kept,
    launch,
    libdevice,
    power_of_two,
    replicates,
    tl,
    word,
)
from inference.kernels.rows import DTYPES
from inference.kernels.strides import empty_results, merge_all
from inference.kernels.tiles import tile


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


@jit
def gelu_tanh(x: tl.tensor, native: tl.constexpr) -> tl.tensor:
    """torch's formula; the multiply-add is one instruction in eager's kernel too."""
    inner = 0.7978845608028654 * tl.fma(x * x * x, 0.044715, x)
    if native:
        return 0.5 * x * (1.0 + libdevice.tanh(inner))
    return x * tl.sigmoid(2.0 * inner)


@jit
def silu(x: tl.tensor, native: tl.constexpr) -> tl.tensor:
    """x / (1 + e^-x); natively with the exponential and the division of eager's kernel."""
    if native:
        return tl.div_rn(x, 1.0 + libdevice.exp(-x))
    return x * tl.sigmoid(x)


@jit
def active(x: tl.tensor, how: tl.constexpr, native: tl.constexpr) -> tl.tensor:
    """The activation that `activate` names, in fp32."""
    if how == "gelu_tanh":
        return gelu_tanh(x, native)
    if how == "gelu_erf":
        return x * 0.5 * (1.0 + tl.erf(x * 0.7071067811865476))
    if how == "silu":
        return silu(x, native)
    return x


@jit
def place(x: tl.tuple, rows: tl.tensor, columns: tl.tensor) -> tl.tensor:
    """Addresses in a tensor of three outer dimensions; rows are of the last of them."""
    outer = tl.program_id(2).to(tl.int64) * x[1] + tl.program_id(1).to(tl.int64) * x[2]
    return x[0] + outer + rows * x[3] + columns


@jit(do_not_specialize=["total", "pieces"])
def kernel(
    out: tl.tuple,
    x: tl.tuple,
    up: tl.tuple,
    total: tl.tensor,
    width: tl.tensor,
    pieces: tl.tensor,
    block: tl.constexpr,
    rows: tl.constexpr,
    how: tl.constexpr,
    native: tl.constexpr,
    dtype: tl.constexpr,
    replicate: tl.constexpr,
) -> None:
    """Some columns of some rows: act(x), times `up`."""
    piece = tl.program_id(0)
    row = (piece // pieces).to(tl.int64) * rows + tl.arange(0, rows)[:, None]
    columns = (piece % pieces) * block + tl.arange(0, block)[None, :]
    inside = (row < total) & (columns < width)
    v = tl.load(place(x, row, columns), mask=inside, other=0.0).to(tl.float32)
    v = active(v, how, native)
    if up is not None:
        v = kept(v, dtype, replicate)
        v *= tl.load(place(up, row, columns), mask=inside, other=0.0).to(tl.float32)
    tl.store(place(out, row, columns), v.to(out[0].dtype.element_ty), mask=inside)


def fits(*tensors: Tensor) -> bool:
    """Whether `write` can read them: neighbours in the last dimension, at most three others."""
    return all(x.dtype in DTYPES and x.ndim <= 4 and x.stride(-1) == 1 for x in tensors)


def write(out: Tensor, x: Tensor, up: Tensor | None, how: str) -> None:
    """out = act(x), or act(x)·up; any strides that `fits` says yes to."""
    merged = merge_all(*[one for one in (out, x, up) if one is not None], outer=3)
    operands = [(one, *one.stride()[:3]) for one in merged]
    *outer, total, width = merged[0].shape
    block = min(power_of_two(width), 4096 if total == 1 else 1024)
    rows, warps = tile("activation", block)
    pieces = -(-width // block)
    launch(
        kernel,
        (-(-total // rows) * pieces, outer[1], outer[0]),
        warps,
        out=operands[0],
        x=operands[1],
        up=operands[2] if up is not None else None,
        total=total,
        width=width,
        pieces=pieces,
        block=block,
        rows=rows,
        how=how,
        native=replicates() and not interpreted(),
        dtype=word(x.dtype),
        replicate=replicates(),
    )


def accepts(x: Tensor, up: Tensor | None, kind: str) -> bool:
    """Rows of neighbours."""
    return fits(x) if up is None else x.shape == up.shape and fits(x, up)


@fused(activation, accepts)
def run(x: Tensor, up: Tensor | None, kind: str) -> Tensor:
    """The template's CUDA side."""
    result: Tensor = empty_results(activation.reference, x, up, kind)
    write(result, x, up, kind)
    return result
