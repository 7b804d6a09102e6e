"""Time by turns: every column once, again and again, until there is enough or time is up.

On a GPU a sample is what two events enclose, from an idle device to the end of the forward, so
that gaps between launches count; elsewhere the clock on the wall.
"""

from __future__ import annotations

import signal
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

ENOUGH, ENOUGH_SECONDS, LEAST = 20, 3.0, 3


class Overran(BaseException):  # so that no compiler catches it on its way
    """Something took longer than it may."""


@dataclass(frozen=True)
class Times:
    """Samples in milliseconds."""

    median: float
    quartiles: tuple[float, float]
    samples: int


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Interrupt what takes longer; only in the main thread.  Raises Overran."""

    def stop(*_: object) -> None:
        raise Overran(f"stopped after {seconds:.0f} seconds")

    former = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)


def once(run: Callable[[], Any], *, gpu: bool) -> float:
    """Time one call in milliseconds."""
    if not gpu:
        began = time.perf_counter()
        run()
        return (time.perf_counter() - began) * 1e3
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    run()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end))


def by_turns(runs: dict[str, Callable[[], Any]], until: float, *, gpu: bool) -> dict[str, Times]:
    """Time all by turns.  until: a moment of `time.monotonic`, which ends it after a few rounds."""
    samples: dict[str, list[float]] = {name: [] for name in runs}
    while runs:
        for name, run in runs.items():
            samples[name].append(once(run, gpu=gpu))
        each = list(samples.values())
        rounds, least = len(each[0]), min(map(sum, each)) / 1e3
        if rounds >= ENOUGH and (least >= ENOUGH_SECONDS or not gpu):
            break
        if rounds >= LEAST and time.monotonic() > until:
            break
    return {name: summed(found) for name, found in samples.items()}


def summed(samples: list[float]) -> Times:
    """Median and quartiles."""
    low, middle, high = statistics.quantiles(samples, n=4, method="inclusive")
    return Times(middle, (low, high), len(samples))
