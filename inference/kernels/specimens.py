"""Calls of every template as the model families make them, at any size.

One list feeds the interpreter's tests, the ahead-of-time compilation, the comparison on a GPU and
the benchmark. Sizes are those of one forward; `Size.shrunk` keeps each family's switches and odd
corners. Values are drawn as checkpoints spread them: gates and scales of order one half, so that
no error hides behind a gate near zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Size:
    """A family's sizes: image and text tokens, heads, their width, the inner width of its MLP."""

    image: int
    text: int
    heads: int
    dim: int
    inner: int
    batch: int = 1

    @property
    def width(self) -> int:
        """Of the residual stream."""
        return self.heads * self.dim

    def shrunk(self) -> Size:
        """The same family in miniature: odd token counts, three heads."""
        wide = 16 if self.dim >= 16 else self.dim
        return replace(self, image=5, text=3, heads=3, dim=wide, inner=80, batch=2)


FLUX = Size(4096, 512, 24, 128, 12288)
FLUX2 = Size(4096, 512, 48, 128, 18432)
QWEN = Size(6889, 512, 24, 128, 12288)
SD3 = Size(4096, 333, 38, 64, 9728, batch=2)
LTX = Size(6144, 128, 32, 64, 8192)
WAN = Size(32760, 512, 40, 128, 13824)
HUNYUAN = Size(32760, 256, 24, 128, 12288)
SDXL = Size(4096, 77, 10, 64, 2560, batch=2)


@dataclass(frozen=True)
class Draw:
    """Where and in which type a specimen's tensors are made."""

    device: str
    dtype: torch.dtype = torch.bfloat16
    seed: int = 0

    def maker(self) -> Callable[..., Tensor]:
        """A seeded normal of the half type, or of `dtype`; nothing is drawn on meta."""
        if self.device == "meta":
            return lambda *shape, dtype=self.dtype, spread=1.0: torch.empty(
                shape, dtype=dtype, device="meta"
            )
        random = torch.Generator(self.device).manual_seed(self.seed)

        def make(*shape: int, dtype: torch.dtype = self.dtype, spread: float = 1.0) -> Tensor:
            drawn = torch.randn(shape, generator=random, device=self.device)
            return drawn.mul_(spread).to(dtype)

        return make


Arguments = tuple[Any, ...]


@dataclass(frozen=True)
class Specimen:
    """One call: whose it is, of which template, and what makes its arguments."""

    name: str
    template: str
    size: Size
    build: Callable[[Size, Callable[..., Tensor], torch.dtype], Arguments]

    def arguments(self, draw: Draw, size: Size | None = None) -> Arguments:
        """The template's arguments at the family's own size or at `size`."""
        return self.build(size or self.size, draw.maker(), draw.dtype)


FP32 = torch.float32


def table(make: Callable[..., Tensor], *shape: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines of some angles."""
    angles = make(*shape, dtype=FP32)
    return angles.cos(), angles.sin()


def flux_joint(s: Size, make: Callable[..., Tensor], dtype: torch.dtype) -> Arguments:
    parts = [make(s.batch, n, s.width).unflatten(-1, (s.heads, -1)) for n in (s.text, s.image)]
    cos, sin = table(make, 1, s.text + s.image, 1, s.dim)
    return parts, [make(s.dim), make(s.dim)], [cos], [sin], 1e-6, "rms", "full", 0, 1


def flux_single(s: Size, make: Callable[..., Tensor], dtype: torch.dtype) -> Arguments:
    fused = make(s.batch, s.text + s.image, 3 * s.width)
    query = fused.chunk(3, -1)[0].unflatten(-1, (s.heads, -1))
    cos, sin = table(make, 1, s.text + s.image, 1, s.dim)
    return [query], [make(s.dim)], [cos], [sin], 1e-6, "rms", "full", 0, 0


def qwen_joint(s: Size, make: Callable[..., Tensor], dtype: torch.dtype) -> Arguments:
    parts = [make(s.batch, n, s.width).unflatten(-1, (s.heads, -1)) for n in (s.text, s.image)]
    turns = [torch.complex(*table(make, n, 1, s.dim // 2)) for n in (s.text, s.image)]
    weights = [make(s.dim), make(s.dim)]
    return parts, weights, turns, [None, None], 1e-6, "rms32", "complex", 0, 1


def sd3_joint(s: Size, make: Callable[..., Tensor], dtype: torch.dtype) -> Arguments:
    parts = [
        make(s.batch, n, s.width).unflatten(-1, (s.heads, -1)).transpose(1, 2)
        for n in (s.image, s.text)
    ]
    return parts, [make(s.dim), make(s.dim)], [], [], 1e-6, "rms32", "none", 0, 2


def ltx_whole(s: Size, make: Callable[..., Tensor], dtype: torch.dtype) -> Arguments:
    cos, sin = table(make, s.batch, s.image, s.width)
    query = make(s.batch, s.image, s.width)
    return [query], [make(s.width)], [cos], [sin], 1e-5, "rms", "full", 0, 0


def wan_across(s: Size, make: Callable[..., Tensor], dtype: torch.dtype) -> Arguments:
    cos, sin = table(make, 1, s.image, 1, s.dim)
    tables = [cos[..., 0::2]], [sin[..., 1::2]]
    query = make(s.batch, s.image, s.width)
    return [query], [make(s.width)], *tables, 1e-6, "rms", "pairs", s.heads, 0


def hunyuan_joint(s: Size, make: Callable[..., Tensor], dtype: torch.dtype) -> Arguments:
    parts = [make(s.batch, n, s.width).unflatten(-1, (s.heads, -1)) for n in (s.image, s.text)]
    cos, sin = table(make, 1, s.image, 1, s.dim)
    weights = [make(s.dim), make(s.dim)]
    return parts, weights, [cos, None], [sin, None], 1e-6, "rms32", "full", 0, 1


def adaptive(
    s: Size, make: Callable[..., Tensor], dtype: torch.dtype, per_token: int = 1
) -> Iterator[Tensor]:
    """Scale, shift and gate as slices of one linear output."""
    tokens = s.image if per_token > 1 else 1
    yield from make(s.batch, tokens, 3 * s.width, dtype=dtype, spread=0.5).chunk(3, -1)


def modulate_layer(s: Size, make: Callable[..., Tensor], dtype: torch.dtype) -> Arguments:
    scale, shift, _ = adaptive(s, make, dtype)
    x = make(s.batch, s.image, s.width)
    return x, None, None, scale, shift, 1e-6, "layer", dtype, dtype, dtype


def modulate_rms(s: Size, make: Callable[..., Tensor], dtype: torch.dtype) -> Arguments:
    scale, shift, _ = adaptive(s, make, dtype)
    x = make(s.batch, s.image, s.width)
    return x, None, None, scale, shift, 1e-6, "rms32", dtype, dtype, dtype


def modulate_fp32(
    s: Size, make: Callable[..., Tensor], dtype: torch.dtype, per_token: int = 1
) -> Arguments:
    scale, shift, _ = adaptive(s, make, FP32, per_token)
    x = make(s.batch, s.image, s.width)
    return x, None, None, scale, shift, 1e-6, "layer", FP32, FP32, dtype


def gated_layer(s: Size, make: Callable[..., Tensor], dtype: torch.dtype) -> Arguments:
    scale, shift, gate = adaptive(s, make, dtype)
    x, y = (make(s.batch, s.image, s.width) for _ in range(2))
    norm = None, None, scale, shift, 1e-6, "layer", dtype, dtype, dtype
    return x, y, gate, dtype, dtype, *norm


def gated_fp32(s: Size, make: Callable[..., Tensor], dtype: torch.dtype) -> Arguments:
    scale, shift, gate = adaptive(s, make, FP32)
    x, y = (make(s.batch, s.image, s.width) for _ in range(2))
    return x, y, gate, FP32, dtype, None, None, scale, shift, 1e-6, "layer", FP32, FP32, dtype


def plain_rms(s: Size, make: Callable[..., Tensor], dtype: torch.dtype) -> Arguments:
    scale, shift, _ = adaptive(s, make, dtype)
    x, y = (make(s.batch, s.image, s.width) for _ in range(2))
    return x, y, None, dtype, dtype, None, None, scale, shift, 1e-6, "rms32", dtype, dtype, dtype


def residual(
    s: Size, make: Callable[..., Tensor], dtype: torch.dtype, compute: torch.dtype | None = None
) -> Arguments:
    *_, gate = adaptive(s, make, compute or dtype)
    x, y = (make(s.batch, s.image, s.width) for _ in range(2))
    return x, y, gate, compute or dtype, dtype


def activated(s: Size, make: Callable[..., Tensor], dtype: torch.dtype, kind: str) -> Arguments:
    return make(s.batch, s.image, s.inner), None, kind


def glu(s: Size, make: Callable[..., Tensor], dtype: torch.dtype, kind: str) -> Arguments:
    up, x = make(s.batch, s.image, 2 * s.inner).chunk(2, -1)
    return x, up, kind


def streams(s: Size, make: Callable[..., Tensor], dtype: torch.dtype) -> Arguments:
    parts = [make(s.batch, n, s.width).unflatten(-1, (s.heads, -1)) for n in (s.text, s.image)]
    return parts, [None, None], "none,none", 1


def single(s: Size, make: Callable[..., Tensor], dtype: torch.dtype) -> Arguments:
    tokens = s.text + s.image
    parts = [make(s.batch, tokens, s.width), make(s.batch, tokens, s.inner)]
    return parts, [None, None], "none,gelu_tanh", 2


def single_glu(s: Size, make: Callable[..., Tensor], dtype: torch.dtype) -> Arguments:
    tokens = s.text + s.image
    x, up = make(s.batch, tokens, 2 * s.inner).chunk(2, -1)
    return [make(s.batch, tokens, s.width), x], [None, up], "none,silu", 2


def layer_affine(
    s: Size, make: Callable[..., Tensor], dtype: torch.dtype, compute: torch.dtype | None = None
) -> Arguments:
    compute = compute or dtype
    weight, bias = (make(s.width, dtype=compute) for _ in range(2))
    return make(s.batch, s.image, s.width), weight, bias, 1e-5, "layer", compute, dtype


def rms_plain(s: Size, make: Callable[..., Tensor], dtype: torch.dtype) -> Arguments:
    return make(s.batch, s.image, s.width), None, None, 1e-6, "rms32", dtype, dtype


def grouped(
    s: Size, make: Callable[..., Tensor], dtype: torch.dtype, *, last: bool, channels: int
) -> Arguments:
    """A square picture of `image` pixels; 32 groups, in miniature 4 of them."""
    side = int(s.image**0.5)
    groups = 32 if s.inner > 80 else 4
    count = channels if groups == 32 else 12
    layout = torch.channels_last if last else torch.contiguous_format
    x = make(s.batch, count, side, side).to(memory_format=layout)
    return x, make(count), make(count), groups, 1e-6, True


def filmed(
    s: Size,
    make: Callable[..., Tensor],
    dtype: torch.dtype,
    *,
    last: bool,
    channels: int,
    kind: str,
) -> Arguments:
    """A clip of three square frames; in miniature of an odd number of channels."""
    side, count = int(s.image**0.5), channels if s.inner > 80 else 11
    layout = torch.channels_last_3d if last else torch.contiguous_format
    x = make(s.batch, count, 3, side, side).to(memory_format=layout)
    if kind == "unit":
        return x, make(count, 1, 1, 1), 1e-12, kind, count**0.5, True
    return x, None, 1e-8, kind, 1.0, True


def pixels(n: int) -> Size:
    """A picture of n·n for `grouped`."""
    return Size(n * n, 0, 4, 32, 128)


SPECIMENS = [
    Specimen("FLUX joint queries", "qk_norm_rope", FLUX, flux_joint),
    Specimen("FLUX single queries", "qk_norm_rope", FLUX, flux_single),
    Specimen("Qwen-Image joint queries", "qk_norm_rope", QWEN, qwen_joint),
    Specimen("SD3.5 joint queries", "qk_norm_rope", SD3, sd3_joint),
    Specimen("LTX queries", "qk_norm_rope", LTX, ltx_whole),
    Specimen("Wan queries", "qk_norm_rope", WAN, wan_across),
    Specimen("Hunyuan joint queries", "qk_norm_rope", HUNYUAN, hunyuan_joint),
    Specimen("FLUX modulate", "modulate", FLUX, modulate_layer),
    Specimen("FLUX.2 modulate", "modulate", FLUX2, modulate_layer),
    Specimen("SD3.5 modulate", "modulate", SD3, modulate_layer),
    Specimen("LTX modulate", "modulate", LTX, modulate_rms),
    Specimen("Wan modulate", "modulate", WAN, modulate_fp32),
    Specimen("Wan modulate by token", "modulate", WAN, partial(modulate_fp32, per_token=2)),
    Specimen("FLUX gate and modulate", "gated_modulate", FLUX, gated_layer),
    Specimen("LTX add and modulate", "gated_modulate", LTX, plain_rms),
    Specimen("Wan gate and modulate", "gated_modulate", WAN, gated_fp32),
    Specimen("FLUX gated residual", "gated_residual", FLUX, residual),
    Specimen("Wan gated residual", "gated_residual", WAN, partial(residual, compute=FP32)),
    Specimen("FLUX GELU", "activation", FLUX, partial(activated, kind="gelu_tanh")),
    Specimen("SDXL GEGLU", "activation", SDXL, partial(glu, kind="gelu_erf")),
    Specimen("FLUX.2 SwiGLU", "activation", FLUX2, partial(glu, kind="silu")),
    Specimen("FLUX values", "concat", FLUX, streams),
    Specimen("FLUX single block", "concat", FLUX, single),
    Specimen("FLUX.2 single block", "concat", FLUX2, single_glu),
    Specimen("SDXL layer norm", "norm", SDXL, layer_affine),
    Specimen("Wan layer norm", "norm", WAN, partial(layer_affine, compute=FP32)),
    Specimen("LTX RMS norm", "norm", LTX, rms_plain),
    Specimen(
        "SDXL group norm",
        "group_norm_silu",
        pixels(128),
        partial(grouped, last=False, channels=320),
    ),
    Specimen(
        "VAE group norm", "group_norm_silu", pixels(1024), partial(grouped, last=True, channels=128)
    ),
    Specimen(
        "Wan VAE norm",
        "channel_norm_silu",
        pixels(512),
        partial(filmed, last=False, channels=96, kind="unit"),
    ),
    Specimen(
        "Wan VAE norm, last",
        "channel_norm_silu",
        pixels(512),
        partial(filmed, last=True, channels=96, kind="unit"),
    ),
    Specimen(
        "Wan VAE norm, wide",
        "channel_norm_silu",
        pixels(64),
        partial(filmed, last=False, channels=384, kind="unit"),
    ),
    Specimen(
        "LTX VAE norm",
        "channel_norm_silu",
        pixels(128),
        partial(filmed, last=False, channels=512, kind="rms32"),
    ),
    Specimen(
        "LTX VAE norm, last",
        "channel_norm_silu",
        pixels(128),
        partial(filmed, last=True, channels=512, kind="rms32"),
    ),
]

APPROXIMATE = [
    Specimen("FLUX modulate to fp8", "modulate_fp8", FLUX, modulate_layer),
    Specimen("Wan modulate to fp8", "modulate_fp8", WAN, modulate_fp32),
    Specimen("FLUX MLP to fp8", "quantize", FLUX, lambda s, make, _: (make(1, s.image, s.inner),)),
]
