"""A token's heads inside a kernel: a tile of them as pairs of neighbours, and their norm."""

from __future__ import annotations

from inference.kernels.language import jit, kept, tl


@jit
def pair(
    at: tl.tensor,
    heads: tl.tensor,
    step: tl.tensor,
    inside: tl.tensor,
    dim: tl.constexpr,
    wide: tl.constexpr,
) -> tl.tensor:
    """Both partners of every rotation, (heads, wide / 2) each, in fp32; neighbours in memory."""
    dims = tl.arange(0, wide)[None, :]
    both = tl.load(at + heads * step + dims, mask=inside & (dims < dim), other=0.0)
    return tl.split(tl.reshape(both.to(tl.float32), (both.shape[0], wide // 2, 2)))


@jit
def normed(
    a: tl.tensor,
    b: tl.tensor,
    weight: tl.tensor,
    heads: tl.tensor,
    inside: tl.tensor,
    eps: tl.tensor,
    count: tl.constexpr,
    dim: tl.constexpr,
    wide: tl.constexpr,
    across: tl.constexpr,
    norm: tl.constexpr,
    middle: tl.constexpr,
    norm_dtype: tl.constexpr,
    replicate: tl.constexpr,
) -> tl.tensor:
    """Norm of each head, or across all of them; numbers beyond `dim` are 0."""
    numbers: tl.constexpr = dim * count if across else dim
    if norm == "layer":
        own = inside & (tl.arange(0, wide // 2)[None, :] < dim // 2)
        mean = total(a + b, across) / numbers
        a, b = tl.where(own, a - mean, 0.0), tl.where(own, b - mean, 0.0)
    scale = tl.rsqrt(total(a * a + b * b, across) / numbers + eps)
    a, b = kept(a * scale, middle, replicate), kept(b * scale, middle, replicate)
    if weight is not None:
        if across:
            wa, wb = pair(weight, heads, dim, inside, dim, wide)
        else:
            one = tl.zeros((1, 1), tl.int32)
            wa, wb = pair(weight, one, 0, one == 0, dim, wide)
        a, b = a * wa, b * wb
    return kept(a, norm_dtype, replicate), kept(b, norm_dtype, replicate)


@jit
def total(x: tl.tensor, across: tl.constexpr) -> tl.tensor:
    """Sum over the last dimension, or over both."""
    sums = tl.sum(x, axis=1)[:, None]
    return tl.sum(sums, axis=0)[:, None] if across else sums
