"""A: norm of queries or keys, then rotary positions, for one stream or text and image together.

With several parts (text and image) each has its own norm weight, and all are written into one
buffer, so that the concatenation before attention costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from inference.kernels.contract import Exactness, template
from inference.kernels.norm import normalize


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
