"""How long calls take and how many bytes they must move.

On a GPU a call is captured into a CUDA graph, so that only the device's time counts, the same for
eager's chain of kernels as for one fused kernel, and a large write clears the L2 cache before each
replay. Elsewhere the clock on the wall shows only that the code runs.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from inference.kernels.comparing import each, error, same_bits, widened
from inference.kernels.fp8 import linear_fp8, quantize
from inference.kernels.fused import FUSED, refused
from inference.kernels.language import rounding
from inference.kernels.specimens import Draw, Size, Specimen

CACHE = 256 * 2**20  # bytes that leave nothing of a call's inputs in L2
REPEATS = 20


@dataclass(frozen=True)
class Row:
    """One specimen: bytes one fused pass moves, milliseconds, relative errors against fp32."""

    name: str
    template: str
    bytes: int
    eager_ms: float
    ours_ms: float  # rounding where eager does
    inside_ms: float  # fp32 inside
    same_bits: bool
    eager_error: float
    ours_error: float
    inside_error: float
    refused: bool

    def gigabytes(self) -> float:
        """Per second, read and written by our kernel."""
        return self.bytes / self.ours_ms / 1e6


def row(specimen: Specimen, draw: Draw) -> Row:
    """Measure and compare one specimen at its family's size; in miniature where no GPU is."""
    gpu = draw.device != "cpu"
    given = specimen.arguments(draw, specimen.size if gpu else specimen.size.shrunk())
    op, reference = (
        FUSED[specimen.template].template.op,
        FUSED[specimen.template].template.reference,
    )
    before = refused.total()
    truth, wanted, ours = reference(*widened(given)), reference(*given), op(*given)
    with rounding(replicate=False):
        inside = op(*given)
        inside_ms = milliseconds(lambda: op(*given), gpu=gpu)
    return Row(
        name=specimen.name,
        template=specimen.template,
        bytes=moved(given) + moved(each(ours)),
        eager_ms=milliseconds(lambda: reference(*given), gpu=gpu),
        ours_ms=milliseconds(lambda: op(*given), gpu=gpu),
        inside_ms=inside_ms,
        same_bits=all(map(same_bits, each(ours), each(wanted))),
        eager_error=error(wanted, truth),
        ours_error=error(ours, truth),
        inside_error=error(inside, truth),
        refused=refused.total() > before or not gpu,
    )


def linear(size: Size, draw: Draw) -> dict[str, float]:
    """An MLP's first layer in `draw.dtype` and in fp8: milliseconds, and fp8's relative error."""
    gpu, make = draw.device != "cpu", draw.maker()
    x, bias = make(1, size.image, size.width), make(size.inner)
    weight = make(size.inner, size.width, spread=size.width**-0.5)
    quantized, small = quantize.op(x), quantize.op(weight)
    exact = functional.linear(x.float(), weight.float(), bias.float())
    return {
        "plain_ms": milliseconds(lambda: functional.linear(x, weight, bias), gpu=gpu),
        "quantize_ms": milliseconds(lambda: quantize.op(x), gpu=gpu),
        "fp8_ms": milliseconds(
            lambda: linear_fp8.op(*quantized, *small, bias, draw.dtype), gpu=gpu
        ),
        "fp8_error": error(linear_fp8.op(*quantized, *small, bias, draw.dtype), exact),
    }


def moved(values: Any) -> int:
    """Bytes of all tensors among `values`, each number once however it is broadcast."""
    if isinstance(values, list | tuple):
        return sum(map(moved, values))
    if not isinstance(values, Tensor):
        return 0
    sizes = [n for n, step in zip(values.shape, values.stride(), strict=True) if step]
    return int(torch.Size(sizes).numel()) * values.element_size()


def milliseconds(call: Callable[[], Any], *, gpu: bool) -> float:
    """Median of some calls."""
    if not gpu:
        return statistics.median(clocked(call) for _ in range(3))
    graph, clear = captured(call), torch.empty(CACHE, dtype=torch.int8, device="cuda")
    spans = []
    for _ in range(REPEATS):
        clear.zero_()
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        graph.replay()
        end.record()
        spans.append((start, end))
    torch.cuda.synchronize()
    return statistics.median(start.elapsed_time(end) for start, end in spans)


def clocked(call: Callable[[], Any]) -> float:
    """Milliseconds on the wall."""
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1e3


def captured(call: Callable[[], Any]) -> torch.cuda.CUDAGraph:
    """The call as a graph, after it has compiled what it needs."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        call()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    return graph


def copied() -> float:
    """GB/s of a plain copy on this GPU, read and written: the limit for every kernel here."""
    source = torch.empty(2**30, dtype=torch.int8, device="cuda")
    target = torch.empty_like(source)
    return 2 * 2**30 / milliseconds(lambda: target.copy_(source), gpu=True) / 1e6
