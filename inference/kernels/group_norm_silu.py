"""G: group norm with SiLU behind it, for the UNet and VAEs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from inference.kernels.activation import active
from inference.kernels.contract import Exactness, template
from inference.kernels.fused import fused
from inference.kernels.language import (
    interpreted,
    jit,
    kept,
    launch,
    power_of_two,
    replicates,
    tl,
    word,
)
from inference.kernels.rows import DTYPES

TILE = 4096  # numbers that a program holds at once
PROGRAMS = 2048  # enough to fill any GPU with the first reading
MOST_CHUNKS = 512


@template("G", Exactness.E1)
def group_norm_silu(
    x: Tensor,  # (B, C, ...), contiguous or channels last
    weight: Tensor | None,  # (C,)
    bias: Tensor | None,  # (C,)
    groups: int,
    eps: float,
    silu: bool,
) -> Tensor:
    """(B, C, ...), of x's dtype and layout."""
    normed = functional.group_norm(x, groups, weight, bias, eps)
    return functional.silu(normed) if silu else normed


@jit
def place(x: tl.tuple, pixels: tl.tensor, channels: tl.tensor) -> tl.tensor:
    """Addresses in this program's batch entry; channels may lie 2³¹ numbers apart."""
    start = x[0] + tl.program_id(2).to(tl.int64) * x[1]
    return start + channels.to(tl.int64) * x[2] + pixels * x[3]


@jit
def across(n: tl.constexpr, last: tl.constexpr) -> tl.tensor:
    """0 … n-1 along the slow dimension of a tile if `last`, else along the fast one."""
    return tl.arange(0, n)[:, None] if last else tl.arange(0, n)[None, :]


@jit
def summed(x: tl.tensor, last: tl.constexpr) -> tl.tensor:
    """Sum over pixels."""
    return tl.sum(x, axis=0)[None, :] if last else tl.sum(x, axis=1)[:, None]


@jit
def moments(
    partial: tl.tensor,
    x: tl.tuple,
    total: tl.tensor,
    span: tl.tensor,
    count: tl.constexpr,
    pixels: tl.constexpr,
    channels: tl.constexpr,
    last: tl.constexpr,
) -> None:
    """Mean and squared deviations of each channel over one chunk of `span` pixels.

    Sums run over differences to the chunk's first pixel, so that a large mean costs no digits.
    """
    chunk, batch = tl.program_id(0), tl.program_id(2).to(tl.int64)
    c = tl.program_id(1) * channels + across(channels, not last)
    start = chunk.to(tl.int64) * span
    first = tl.load(place(x, start, c), mask=c < count, other=0.0).to(tl.float32)
    sums = tl.zeros((pixels, channels) if last else (channels, pixels), tl.float32)
    squares = sums
    step = 0
    while step < span:
        p = start + step + across(pixels, last)
        inside = (p < total) & (c < count)
        v = tl.load(place(x, p, c), mask=inside, other=0.0).to(tl.float32)
        v = tl.where(inside, v - first, 0.0)
        sums += v
        squares += v * v
        step += pixels
    n = tl.minimum(total - start, span).to(tl.float32)
    mean = summed(sums, last) / n
    at = partial + (batch * tl.num_programs(0) + chunk) * 2 * count + c
    tl.store(at, first + mean, mask=c < count)
    deviations = summed(squares, last) - n * mean * mean
    tl.store(at + count, tl.maximum(deviations, 0.0), mask=c < count)


@jit(do_not_specialize=["total", "chunks"])
def lines(
    line: tl.tensor,
    partial: tl.tensor,
    weight: tl.tensor,
    bias: tl.tensor,
    eps: tl.tensor,
    total: tl.tensor,
    span: tl.tensor,
    chunks: tl.tensor,
    count: tl.constexpr,
    group: tl.constexpr,
    padded_chunks: tl.constexpr,
    padded_group: tl.constexpr,
) -> None:
    """Each channel's slope and offset, from the moments of its group's chunks."""
    batch = tl.program_id(1).to(tl.int64)
    k, own = tl.arange(0, padded_chunks)[:, None], tl.arange(0, padded_group)[None, :]
    c = tl.program_id(0) * group + own
    inside = (k < chunks) & (own < group)
    at = partial + (batch * chunks + k) * 2 * count + c
    means = tl.load(at, mask=inside, other=0.0)
    n = tl.where(inside, tl.minimum(total - k.to(tl.int64) * span, span), 0).to(tl.float32)
    numbers = total.to(tl.float32) * group
    mean = tl.sum(tl.sum(n * means, axis=1), axis=0) / numbers
    apart = tl.load(at + count, mask=inside, other=0.0) + n * (means - mean) * (means - mean)
    slope = tl.rsqrt(tl.sum(tl.sum(apart, axis=1), axis=0) / numbers + eps)
    slopes = tl.zeros((1, padded_group), tl.float32) + slope
    if weight is not None:
        slopes *= tl.load(weight + c, mask=own < group, other=0.0).to(tl.float32)
    offsets = -mean * slopes
    if bias is not None:
        offsets += tl.load(bias + c, mask=own < group, other=0.0).to(tl.float32)
    tl.store(line + batch * 2 * count + c, slopes, mask=own < group)
    tl.store(line + batch * 2 * count + count + c, offsets, mask=own < group)


@jit
def kernel(
    out: tl.tuple,
    x: tl.tuple,
    line: tl.tensor,
    total: tl.tensor,
    count: tl.constexpr,
    pixels: tl.constexpr,
    channels: tl.constexpr,
    last: tl.constexpr,
    how: tl.constexpr,
    native: tl.constexpr,
    dtype: tl.constexpr,
    replicate: tl.constexpr,
) -> None:
    """Some pixels of some channels: slope·x + offset, activated."""
    p = tl.program_id(0).to(tl.int64) * pixels + across(pixels, last)
    c = tl.program_id(1) * channels + across(channels, not last)
    inside = (p < total) & (c < count)
    at = line + tl.program_id(2).to(tl.int64) * 2 * count + c
    slope = tl.load(at, mask=c < count, other=0.0)
    offset = tl.load(at + count, mask=c < count, other=0.0)
    v = tl.load(place(x, p, c), mask=inside, other=0.0).to(tl.float32)
    v = active(kept(tl.fma(v, slope, offset), dtype, replicate), how, native)
    tl.store(place(out, p, c), v.to(out[0].dtype.element_ty), mask=inside)


def pixel_step(x: Tensor) -> int | None:
    """The step between neighbours if all dimensions behind (B, C) merge into one."""
    step, reach = 0, 0
    for size, stride in zip(reversed(x.shape[2:]), reversed(x.stride()[2:]), strict=True):
        if size == 1:
            continue
        if step and stride != reach:
            return None
        step, reach = step or stride, stride * size
    return step or 1


def accepts(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, groups: int, eps: float, silu: bool
) -> bool:
    """Contiguous or channels last."""
    step = pixel_step(x)
    return x.dtype in DTYPES and step is not None and 1 in (step, x.stride(1))


def chunking(x: Tensor, tile: tuple[int, int]) -> tuple[int, int]:
    """How many chunks the pixels are cut into for their moments, and pixels in each."""
    batch, channels, total = x.shape[0], x.shape[1], x[0, 0].numel()
    others = batch * -(-channels // tile[1])
    wanted = min(MOST_CHUNKS, -(-PROGRAMS // others), -(-total // tile[0]))
    span = -(-total // wanted // tile[0]) * tile[0]
    return -(-total // span), span


@group_norm_silu.op.register_fake
def alike(x: Tensor, *_: Any) -> Tensor:
    """x's layout, also where eager on a GPU would lose channels last."""
    return torch.empty_like(x)


@fused(group_norm_silu, accepts)
def run(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, groups: int, eps: float, silu: bool
) -> Tensor:
    """The template's CUDA side: moments of chunks, a line per channel, then one pass."""
    result = torch.empty_like(x)
    batch, count, total = x.shape[0], x.shape[1], x[0, 0].numel()
    last = x.stride(1) == 1 and count > 1
    channels = min(power_of_two(count), TILE // 4) if last else 1
    pixels = TILE // channels
    chunks, span = chunking(x, (pixels, channels))
    shape = {"count": count, "pixels": pixels, "channels": channels, "last": last}
    operands = [(t, t.stride(0), t.stride(1), pixel_step(t)) for t in (result, x)]
    partial = torch.empty((batch, chunks, 2, count), dtype=torch.float32, device=x.device)
    line = torch.empty((batch, 2, count), dtype=torch.float32, device=x.device)
    blocks = -(-count // channels)
    launch(
        moments, (chunks, blocks, batch), 4,
        partial=partial, x=operands[1], total=total, span=span, **shape,
    )  # fmt: skip
    finish(line, partial, weight, bias, eps, total, span, groups)
    launch(
        kernel, (-(-total // pixels), blocks, batch), 4,
        out=operands[0], x=operands[1], line=line, total=total, **shape, **after(x, silu),
    )  # fmt: skip
    return result


def finish(
    line: Tensor,
    partial: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
    total: int,
    span: int,
    groups: int,
) -> None:
    """Launch `lines`."""
    batch, chunks, _, count = partial.shape
    group = count // groups
    launch(
        lines,
        (groups, batch, 1),
        4,
        line=line,
        partial=partial,
        weight=weight,
        bias=bias,
        eps=eps,
        total=total,
        span=span,
        chunks=chunks,
        count=count,
        group=group,
        padded_chunks=power_of_two(chunks),
        padded_group=power_of_two(group),
    )


def after(x: Tensor, silu: bool) -> dict[str, Any]:
    """What the last pass does behind the norm."""
    return {
        "how": "silu" if silu else "none",
        "native": replicates() and not interpreted(),
        "dtype": word(x.dtype),
        "replicate": replicates(),
    }
