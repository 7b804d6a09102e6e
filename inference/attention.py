"""Which attention kernel computes, chosen once by name.

Graphs leave attention as torch's own operator, so the choice is made where a model is called, for
everything inside: eager, compiled or captured. A named kernel is preferred, not forced: what it
cannot compute (a mask, a dtype) goes to the next one, and a profile shows which ran.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

NATIVE = "native"  # torch's own order
KERNELS = {
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
}
NAMES = (NATIVE, *KERNELS)
REPEATS = 5
Shapes = tuple[tuple[int, ...], tuple[int, ...], torch.dtype]  # of queries, of keys, their dtype


@contextmanager
def using(name: str) -> Iterator[None]:
    """Prefer a kernel for every attention inside.  Raises ValueError for an unknown name."""
    if name not in NAMES:
        raise ValueError(f"no attention is called {name}; there are {', '.join(NAMES)}")
    if name == NATIVE:
        yield
        return
    rest = [kernel for other, kernel in KERNELS.items() if other != name]
    with sdpa_kernel([KERNELS[name], *rest, SDPBackend.MATH], set_priority=True):
        yield


def times(shapes: Shapes, device: str) -> dict[str, float]:
    """Milliseconds of each kernel that can compute attention of these shapes; CUDA only."""
    if device == "cpu":
        return {}
    query, key, dtype = shapes
    q = torch.randn(query, dtype=dtype, device=device)
    k, v = (torch.randn(key, dtype=dtype, device=device) for _ in range(2))
    found = {}
    for name, kernel in KERNELS.items():
        try:
            with sdpa_kernel(kernel):
                found[name] = median_ms(q, k, v)
        except RuntimeError:  # this kernel cannot
            continue
    return found


def median_ms(q: Tensor, k: Tensor, v: Tensor) -> float:
    """Median of a few calls, after one that is not counted."""
    scaled_dot_product_attention(q, k, v)
    spans = []
    for _ in range(REPEATS):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        scaled_dot_product_attention(q, k, v)
        end.record()
        spans.append((start, end))
    torch.cuda.synchronize()
    return statistics.median(start.elapsed_time(end) for start, end in spans)


_chosen: dict[tuple[Shapes, str], str] = {}


def choose(shapes: Shapes, device: str) -> str:
    """Name the quickest kernel for these shapes, measured at the first question about them."""
    asked = shapes, device
    if asked not in _chosen:
        found = times(shapes, device)
        _chosen[asked] = min(found, key=found.__getitem__) if found else NATIVE
    return _chosen[asked]
