"""A: norm of queries or keys, then rotary positions, for one stream or text and image together.

With several parts (text and image) each has its own norm weight, and all are written into one
buffer, so that the concatenation before attention costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from inference.kernels.contract import Exactness, template
from inference.kernels.fused import fused
from inference.kernels.heads import normed, pair
from inference.kernels.language import jit, kept, launch, power_of_two, replicates, tl
from inference.kernels.norm import normalize
from inference.kernels.rows import DTYPES, WIDEST, spelled
from inference.kernels.strides import empty_results
from inference.kernels.tiles import tile


def rotate(x: Tensor, cos: Tensor | None, sin: Tensor | None, rope: str) -> Tensor:
    """Rotate neighbouring pairs of the last dimension, as eager spells it.

    rope: `full` has tables of width D and computes in float32 (FLUX, LTX, Hunyuan); `pairs` has
    tables of width D/2 and computes in the promoted dtype (Wan); `complex` has one complex table
    of width D/2 in `cos` and computes in float32 (Qwen).
    """
    if cos is None:
        return x
    if rope == "complex" or sin is None:
        pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))
        return torch.view_as_real(pairs * cos).flatten(-2).to(x.dtype)
    even, odd = x.unflatten(-1, (-1, 2)).unbind(-1)
    if rope == "pairs":
        turned = torch.empty_like(x)
        turned[..., 0::2] = even * cos - odd * sin
        turned[..., 1::2] = even * sin + odd * cos
        return turned
    turned = torch.stack((-odd, even), -1).flatten(-2)
    return (x.float() * cos + turned.float() * sin).to(x.dtype)


@template("AE", Exactness.E1)
def qk_norm_rope(
    parts: Sequence[Tensor],  # each (B, N, H, D), (B, H, N, D) or (B, N, H·D); any strides
    weights: Sequence[Tensor | None],  # one per part: norm weight of the last dimension
    cos: Sequence[Tensor | None],  # one per part, or one for the concatenation, or none at all
    sin: Sequence[Tensor | None],  # like cos; None for complex tables
    eps: float,
    kind: str,  # rms | rms32 | layer, as in norm.py
    rope: str,  # none | full | pairs | complex, as in `rotate`
    heads: int,  # not 0: split the last dimension into (heads, D) between norm and rotation
    dim: int,  # along which parts are concatenated; 0 where there is one part
) -> Tensor:
    """Norm each part, rotate, concatenate.  Tables broadcast to the rotated tensor."""
    normed = [
        normalize(part, weight, None, eps, kind)
        for part, weight in zip(parts, weights, strict=True)
    ]
    if heads:
        normed = [one.unflatten(-1, (heads, -1)) for one in normed]
    if len(cos) == len(normed):
        normed = [rotate(*each, rope) for each in zip(normed, cos, sin, strict=True)]
    whole = torch.cat(normed, dim) if len(normed) > 1 else normed[0]
    return rotate(whole, cos[0], sin[0], rope) if len(cos) < len(normed) and cos else whole


@jit
def looked_up(
    at: tl.tuple,
    row: tl.tensor,
    heads: tl.tensor,
    inside: tl.tensor,
    dim: tl.constexpr,
    wide: tl.constexpr,
    rope: tl.constexpr,
    by_head: tl.constexpr,
) -> tl.tensor:
    """Cosines or sines for both partners; a table of pairs has one number for the two."""
    if not by_head:
        heads = tl.zeros((1, 1), tl.int32)
        inside = heads == 0
    if rope == "full":
        return pair(at[0] + row, heads, at[3], inside, dim, wide)
    dims = tl.arange(0, wide // 2)[None, :]
    places = at[0] + row + heads * at[3] + dims * at[4]
    one = tl.load(places, mask=inside & (dims < dim // 2), other=0.0).to(tl.float32)
    return one, one


@jit
def turned(
    a: tl.tensor,
    b: tl.tensor,
    ca: tl.tensor,
    cb: tl.tensor,
    sa: tl.tensor,
    sb: tl.tensor,
    rope: tl.constexpr,
    dtype: tl.constexpr,
    replicate: tl.constexpr,
) -> tl.tensor:
    """(a·cos − b·sin, b·cos + a·sin); eager's complex product contracts, its others round."""
    if rope == "complex":
        return tl.fma(a, ca, -(b * sa)), tl.fma(a, sb, b * cb)
    x = kept(a * ca, dtype, replicate) - kept(b * sa, dtype, replicate)
    y = kept(b * cb, dtype, replicate) + kept(a * sb, dtype, replicate)
    return x, y


@jit
def stream(
    out: tl.tuple,
    x: tl.tuple,
    weight: tl.tensor,
    cos: tl.tuple,
    sin: tl.tuple,
    token: tl.tensor,
    eps: tl.tensor,
    count: tl.constexpr,
    padded: tl.constexpr,
    dim: tl.constexpr,
    wide: tl.constexpr,
    across: tl.constexpr,
    by_head: tl.constexpr,
    norm: tl.constexpr,
    middle: tl.constexpr,
    norm_dtype: tl.constexpr,
    rope: tl.constexpr,
    turn_dtype: tl.constexpr,
    replicate: tl.constexpr,
) -> None:
    """One token of one part: read some of its heads, norm, rotate, write."""
    batch = tl.program_id(1).to(tl.int64)
    heads = tl.program_id(2) * padded + tl.arange(0, padded)[:, None]
    inside = heads < count
    at = x[0] + batch * x[1] + token * x[2]
    a, b = pair(at, heads, x[3], inside, dim, wide)
    a, b = normed(
        a, b, weight, heads, inside, eps, count, dim, wide, across, norm, middle, norm_dtype,
        replicate,
    )  # fmt: skip
    if cos is not None:
        row = batch * cos[1] + token * cos[2]
        ca, cb = looked_up(cos, row, heads, inside, dim, wide, rope, by_head)
        row = batch * sin[1] + token * sin[2]
        sa, sb = looked_up(sin, row, heads, inside, dim, wide, rope, by_head)
        a, b = turned(a, b, ca, cb, sa, sb, rope, turn_dtype, replicate)
    dims = tl.arange(0, wide)[None, :]
    both = tl.reshape(tl.join(a, b), (padded, wide)).to(out[0].dtype.element_ty)
    at = out[0] + batch * out[1] + token * out[2] + heads * out[3] + dims
    tl.store(at, both, mask=inside & (dims < dim))


@jit(do_not_specialize=["first"])
def kernel(
    out: tl.tuple,
    x: tl.tuple,
    weight: tl.tensor,
    cos: tl.tuple,
    sin: tl.tuple,
    out_2: tl.tuple,
    x_2: tl.tuple,
    weight_2: tl.tensor,
    cos_2: tl.tuple,
    sin_2: tl.tuple,
    first: tl.tensor,
    eps: tl.tensor,
    count: tl.constexpr,
    padded: tl.constexpr,
    dim: tl.constexpr,
    wide: tl.constexpr,
    across: tl.constexpr,
    by_head: tl.constexpr,
    norm: tl.constexpr,
    middle: tl.constexpr,
    norm_dtype: tl.constexpr,
    rope: tl.constexpr,
    turn_dtype: tl.constexpr,
    replicate: tl.constexpr,
) -> None:
    """Tokens of one stream, then those of a second: text and image in one launch."""
    token = tl.program_id(0).to(tl.int64)
    if x_2 is None:  # noqa: SIM114 - decided when compiling, unlike the next
        stream(
            out, x, weight, cos, sin, token, eps, count, padded, dim, wide, across, by_head, norm,
            middle, norm_dtype, rope, turn_dtype, replicate,
        )  # fmt: skip
    elif token < first:
        stream(
            out, x, weight, cos, sin, token, eps, count, padded, dim, wide, across, by_head, norm,
            middle, norm_dtype, rope, turn_dtype, replicate,
        )  # fmt: skip
    else:
        stream(
            out_2, x_2, weight_2, cos_2, sin_2, token - first, eps, count, padded, dim, wide,
            across, by_head, norm, middle, norm_dtype, rope, turn_dtype, replicate,
        )  # fmt: skip


TILE = 4096  # numbers that one program holds, unless a norm runs across all heads
Table = tuple[Tensor, int, int, int, int]


def by_heads(x: Tensor, heads: int = 0, *, swap: bool = False) -> Tensor:
    """View a part, its slice of the result or its table as (B, N, H, D)."""
    if x.ndim == 3:
        return x.unflatten(-1, (heads, -1)) if heads else x.unsqueeze(2)
    return x.transpose(1, 2) if swap else x


def tables(
    parts: Sequence[Tensor], each: Sequence[Tensor | None], whole: Tensor, dim: int
) -> list[Tensor | None]:
    """One table per part, of the part's leading dimensions."""
    sizes = [part.shape[dim] for part in parts]
    if len(each) == len(parts):
        shapes = [part.shape[:-1] for part in parts]
        return [
            None if one is None else one.expand(*shape, one.shape[-1])
            for one, shape in zip(each, shapes, strict=True)
        ]
    if not each or each[0] is None:
        return [None] * len(parts)
    return list(each[0].expand(*whole.shape[:-1], each[0].shape[-1]).split(sizes, dim))


def operand(x: Tensor | None, *, swap: bool) -> tuple[Any, ...] | None:
    """A table for the kernel."""
    if x is None:
        return None
    x = by_heads(x, swap=swap)
    return (x, *x.stride())


def halves(cos: Tensor | None, sin: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
    """Cosines and sines; a complex table holds both."""
    if cos is not None and sin is None:
        return torch.view_as_real(cos).unbind(-1)  # type: ignore[return-value]
    return cos, sin


def accepts(
    parts: Sequence[Tensor],
    weights: Sequence[Tensor | None],
    cos: Sequence[Tensor | None],
    sin: Sequence[Tensor | None],
    eps: float,
    kind: str,
    rope: str,
    heads: int,
    dim: int,
) -> bool:
    """Heads of an even width of neighbours, alike in every part; full tables of neighbours."""
    alike = {(x.ndim, x.dtype, x.shape[-1], x.stride(1) < x.stride(2)) for x in parts}
    first = parts[0]
    flat = first.ndim == 3 or (first.ndim == 4 and not heads)
    full = [one for one in (*cos, *sin) if one is not None] if rope == "full" else []
    return (
        len(alike) == 1
        and flat
        and first.dtype in DTYPES
        and first.shape[-1] % 2 == 0
        and first.shape[-1] <= WIDEST
        and all(x.stride(-1) == 1 for x in (*parts, *full))
    )


@fused(qk_norm_rope, accepts)
def run(
    parts: Sequence[Tensor],
    weights: Sequence[Tensor | None],
    cos: Sequence[Tensor | None],
    sin: Sequence[Tensor | None],
    eps: float,
    kind: str,
    rope: str,
    heads: int,
    dim: int,
) -> Tensor:
    """The template's CUDA side: two parts a launch, each into its slice of the result."""
    result: Tensor = empty_results(
        qk_norm_rope.reference, parts, weights, cos, sin, eps, kind, rope, heads, dim
    )
    swap = parts[0].ndim == 4 and parts[0].stride(1) < parts[0].stride(2)
    if heads:
        parts = [by_heads(part, heads) for part in parts]
    slices = result.split([part.shape[dim] for part in parts], dim)
    both = [halves(*one) for one in zip(cos, sin, strict=True)]
    cosines = tables(parts, [one[0] for one in both], result, dim)
    sines = tables(parts, [one[1] for one in both], result, dim)
    streams = [
        (*[placed(by_heads(x, swap=swap)) for x in (out, part)], weight,
         operand(c, swap=swap), operand(s, swap=swap))
        for out, part, weight, c, s in zip(slices, parts, weights, cosines, sines, strict=True)
    ]  # fmt: skip
    for at in range(0, len(streams), 2):
        start(streams[at : at + 2], weights[0], eps, kind, rope, across=heads > 0)
    return result


def placed(x: Tensor) -> tuple[Tensor, int, int, int]:
    """(B, N, H, D) for the kernel."""
    return (x, *x.stride()[:3])  # type: ignore[return-value]


def start(
    streams: Sequence[tuple[Any, ...]],
    weight: Tensor | None,
    eps: float,
    kind: str,
    rope: str,
    *,
    across: bool,
) -> None:
    """Launch the kernel over the tokens of one stream or two."""
    batch, _, count, dim = streams[0][1][0].shape
    second = streams[1] if len(streams) > 1 else (None,) * 5
    tokens = [each[1][0].shape[1] for each in streams]
    used = [table for each in streams for table in each[3:] if table is not None]
    wide, padded = power_of_two(dim), power_of_two(count)
    padded = padded if across else min(padded, max(TILE // wide, 1))
    norm = spelled(kind, streams[0][1][0].dtype, weight)
    launch(
        kernel,
        (sum(tokens), batch, -(-count // padded)),
        tile("qk_norm_rope", padded * wide).warps,
        **dict(zip(("out", "x", "weight", "cos", "sin"), streams[0], strict=True)),
        **dict(zip(("out_2", "x_2", "weight_2", "cos_2", "sin_2"), second, strict=True)),
        first=tokens[0],
        eps=eps,
        count=count,
        padded=padded,
        dim=dim,
        wide=wide,
        across=across,
        by_head=any(table[3] != 0 for table in used) and count > 1,
        rope=rope,
        turn_dtype=turning(rope, norm["norm_dtype"], used),
        replicate=replicates(),
        **norm,
    )


def turning(rope: str, dtype: Any, used: Sequence[Any]) -> Any:
    """What products of a rotation round to."""
    wide = rope != "pairs" or not used or used[0][0].dtype == torch.float32
    return tl.float32 if wide else dtype
