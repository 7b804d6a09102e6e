"""What kernels over whole rows share: where a row lies, what is read per row, how it is normed.

An operand is a tuple of a tensor, its step from one batch entry to the next and from one token to
the next; a row's numbers are neighbours. Arithmetic is in fp32 throughout; `kept` rounds.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from inference.kernels.language import jit, kept, tl, word

Operand = tuple[Tensor, int, int]
WIDEST = 16_384
DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def operand(x: Tensor | None) -> Operand | None:
    """(B, N, D) for a kernel; nothing stays nothing."""
    return None if x is None else (x, x.stride(0), x.stride(1))


def varies(x: Tensor | None) -> bool:
    """Whether a broadcast (B, N, D) differs from token to token."""
    return x is not None and x.stride(1) != 0 and x.shape[1] > 1


def readable(*tensors: Tensor | None) -> bool:
    """Whether kernels know their types and can hold their rows: at most (B, N, D)."""
    return all(
        x.ndim <= 3 and x.shape[-1] <= WIDEST and x.dtype in DTYPES
        for x in tensors
        if x is not None
    )


def fits(*tensors: Tensor | None) -> bool:
    """The same, and whether a row's numbers are neighbours."""
    return readable(*tensors) and all(x.stride(-1) == 1 for x in tensors if x is not None)


def in_rows(x: Tensor) -> Tensor:
    """x with neighbours in its rows: a copy of what a patch embedding left transposed."""
    return x if x.stride(-1) == 1 else x.contiguous()


def spelled(kind: str, dtype: torch.dtype, weight: Tensor | None) -> dict[str, Any]:
    """A kernel's arguments for a norm that norm.py calls `kind`, on an input of `dtype`.

    `middle` is what it rounds to before the weight, `norm_dtype` what its result has.
    """
    if kind != "rms32":
        return {"norm": kind, "middle": tl.float32, "norm_dtype": word(dtype)}
    after = word(dtype if weight is None else weight.dtype)
    return {"norm": "rms", "middle": after, "norm_dtype": after}


@jit
def place(x: tl.tuple, tokens: tl.tensor, columns: tl.tensor) -> tl.tensor:
    """Addresses of some tokens' numbers in this program's batch entry."""
    return x[0] + tl.program_id(1).to(tl.int64) * x[1] + tokens * x[2] + columns


@jit
def factor(
    x: tl.tuple,
    tokens: tl.tensor,
    columns: tl.tensor,
    inside: tl.tensor,
    width: tl.constexpr,
    per_token: tl.constexpr,
) -> tl.tensor:
    """A scale, shift or gate: a row for each token, or one that a batch entry's tokens share."""
    if per_token:
        return tl.load(place(x, tokens, columns), mask=inside, other=0.0).to(tl.float32)
    return tl.load(place(x, 0, columns), mask=columns < width, other=0.0).to(tl.float32)


@jit
def normed(
    x: tl.tensor,
    weight: tl.tensor,
    bias: tl.tensor,
    columns: tl.tensor,
    eps: tl.tensor,
    width: tl.constexpr,
    norm: tl.constexpr,
    middle: tl.constexpr,
    norm_dtype: tl.constexpr,
    replicate: tl.constexpr,
) -> tl.tensor:
    """Layer norm or RMS norm of each row; numbers beyond `width` are 0 and stay out of it."""
    if norm == "layer":
        x = tl.where(columns < width, x - tl.sum(x, axis=1)[:, None] / width, 0.0)
    x = x * tl.rsqrt(tl.sum(x * x, axis=1)[:, None] / width + eps)
    x = kept(x, middle, replicate)
    if weight is not None:
        x = x * tl.load(weight + columns, mask=columns < width, other=0.0).to(tl.float32)
    if bias is not None:
        x += tl.load(bias + columns, mask=columns < width, other=0.0).to(tl.float32)
    return kept(x, norm_dtype, replicate)
