"""Where one forward's time goes: products, attention, everything between, and gaps; launches."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch.profiler import ProfilerActivity, profile

ATTENTION = re.compile(r"flash|fmha|sdpa|attention", re.I)
PRODUCTS = re.compile(
    r"gemm|gemv|nvjet|xmma|cutlass|splitk|implicit|convol|triton_tem|triton_mm|"
    r"aten::(addmm|mm|bmm|_scaled_mm)$",
    re.I,
)
LABELS = re.compile(r"^(ProfilerStep|## |Torch-Compiled|CompiledFxGraph|Memory|cuda|Activity)")


@dataclass
class Split:
    """Milliseconds by kind, how many kernels were started, and the names that attention had."""

    products: float = 0.0
    attention: float = 0.0
    elementwise: float = 0.0
    gaps: float = 0.0
    launches: int = 0
    kernels: list[str] = field(default_factory=list)
    largest: dict[str, float] = field(default_factory=dict)


def split(run: Callable[[], Any], *, gpu: bool) -> Split:
    """Profile one forward; on a CPU, operators' own times stand for kernels."""
    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if gpu else [])]
    with profile(activities=kinds, acc_events=True) as seen:
        run()
    return of_kernels(spans(seen)) if gpu else of_operators(seen)


def spans(seen: Any) -> list[tuple[float, float, str]]:
    """Start and end of every kernel in milliseconds, and its name, in order of start."""
    found = [
        (one.time_range.start / 1e3, one.time_range.end / 1e3, one.name)
        for one in seen.events()
        if str(one.device_type).endswith("CUDA")
        and not one.is_user_annotation
        and not LABELS.match(one.name)
    ]
    return sorted(found)


def of_kernels(kernels: list[tuple[float, float, str]]) -> Split:
    """Sum up kernels; a gap is where none runs."""
    found, names, last = Split(launches=len(kernels)), Counter[str](), 0.0
    for index, (start, end, name) in enumerate(kernels):
        found.gaps += max(start - last, 0.0) if index else 0.0
        last = max(last, end)
        add(found, names, name, end - start)
    return told(found, names)


def of_operators(seen: Any) -> Split:
    """Sum up operators by their own time."""
    found, names = Split(), Counter[str]()
    for one in seen.key_averages():
        if one.key.startswith(("aten::", "kinora::")) and one.self_cpu_time_total:
            found.launches += one.count
            add(found, names, one.key, one.self_cpu_time_total / 1e3)
    return told(found, names)


def add(found: Split, names: Counter[str], name: str, span: float) -> None:
    """Put one kernel's time where it belongs."""
    kind = kind_of(name)
    setattr(found, kind, getattr(found, kind) + span)
    names[name] += span  # type: ignore[assignment]  # a counter of milliseconds
    if kind == "attention" and name not in found.kernels:
        found.kernels.append(name)


def told(found: Split, names: Counter[str]) -> Split:
    """Keep the names that take most."""
    found.largest = {name[:90]: round(span, 3) for name, span in names.most_common(12)}
    return found


def kind_of(name: str) -> str:
    """Tell what a kernel does by its name."""
    if ATTENTION.search(name):
        return "attention"
    return "products" if PRODUCTS.search(name) else "elementwise"
