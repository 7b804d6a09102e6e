"""The one place that knows Triton: its words, how arithmetic keeps torch's roundings, launching.

Triton is there on machines with a GPU and where kernels are tested; elsewhere the names are empty
and templates run their references. Compiling ahead and counting launches go through `watched`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch

try:
    import triton.language as tl
    from triton import jit
    from triton.language.extra import libdevice
except ModuleNotFoundError:
    tl = libdevice = None

    def jit(kernel: Any) -> Any:
        """Leave a kernel as it is: nobody launches it here."""
        return kernel


__all__ = ["jit", "libdevice", "tl"]

Grid = tuple[int, int, int]


@dataclass(frozen=True)
class Launch:
    """One call of one kernel: by name, all that it is specialised on and reads."""

    kernel: Any
    grid: Grid
    warps: int
    arguments: dict[str, Any]


_watcher: ContextVar[list[Launch] | None] = ContextVar("watcher", default=None)
_replicate: ContextVar[bool] = ContextVar("replicate", default=True)


@contextmanager
def rounding(*, replicate: bool) -> Iterator[None]:
    """Choose for the launches inside: eager's every intermediate rounding, or fp32 throughout."""
    token = _replicate.set(replicate)
    try:
        yield
    finally:
        _replicate.reset(token)


@contextmanager
def watched() -> Iterator[list[Launch]]:
    """Collect launches in place of running them; the kernels' outputs stay unwritten."""
    launches: list[Launch] = []
    token = _watcher.set(launches)
    try:
        yield launches
    finally:
        _watcher.reset(token)


def launch(kernel: Any, grid: Grid, warps: int, **arguments: Any) -> None:
    """Run `kernel` once for each point of `grid`.

    Multiply-adds stay two operations with two roundings, as in eager's separate kernels; where
    eager's own kernel contracts them, the source says `fma`.
    """
    watcher = _watcher.get()
    if watcher is not None:
        watcher.append(Launch(kernel, grid, warps, arguments))
    else:
        kernel[grid](**arguments, num_warps=warps, enable_fp_fusion=False)


def replicates() -> bool:
    """Whether kernels round where eager rounds; nearest to eager, hence the default."""
    return _replicate.get()


def interpreted() -> bool:
    """Whether kernels run in Triton's interpreter, which lacks a GPU's own functions."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def word(dtype: torch.dtype) -> Any:
    """Triton's word for a torch dtype."""
    return getattr(tl, str(dtype).removeprefix("torch."))


def power_of_two(n: int) -> int:
    """The least power of two that is not below `n`."""
    return 1 << max(n - 1, 0).bit_length()


@jit
def kept(x: tl.tensor, dtype: tl.constexpr, replicate: tl.constexpr) -> tl.tensor:
    """Round as torch would here, or carry on in fp32."""
    return x.to(dtype).to(tl.float32) if replicate else x
