"""Runs forwards of one form in one call, where it was proven that this changes no bit.

A matrix product of more rows may add up in another order. So a size is first probed: every forward
runs alone, which is what counts, and once more all together; only where each row came out with the
same bits may that size be used later. The order of additions depends on shapes and not on values,
so one probe speaks for all later calls of that network, those shapes, that size, on this device.
Sizes are powers of two, so that probes stay few.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from inference import devices, forms
from inference.models.contract import Forward, call, laid_out

log = logging.getLogger("inference.joining")
OUT_OF_MEMORY = (torch.OutOfMemoryError, MemoryError)


@dataclass(frozen=True, eq=False)
class Answer:
    """What became of one forward, and its share of the device's seconds."""

    estimate: Tensor | Exception
    seconds: float


class Clock:
    """Seconds of the device from now on; none where a graph had to be compiled meanwhile."""

    def __init__(self) -> None:
        """Start."""
        self.compiled, self.began = compilations(), time.monotonic()

    def seconds(self) -> float:
        """What is to be paid for."""
        return time.monotonic() - self.began if compilations() == self.compiled else 0.0


def compilations() -> int:
    """Count the graphs that this process compiled so far, if it ever compiled."""
    dynamo = sys.modules.get("torch._dynamo.utils")
    return int(dynamo.counters["stats"]["unique_graphs"]) if dynamo else 0


class Joiner:
    """One device's calls, and which sizes of what may be joined there."""

    def __init__(
        self,
        device: str,
        most_tokens: int | None = None,
        save_memory: Callable[[], None] | None = None,
    ) -> None:
        """most_tokens: rows times tokens of one joined call; more would not be faster.

        save_memory: called before what ran out of memory is tried again.
        """
        self.device = device
        self.save_memory = save_memory or partial(devices.drop_caches, device)
        self.most_tokens = devices.join_tokens(device) if most_tokens is None else most_tokens
        # network → (form, size) → whether all rows kept their bits
        self.proofs: WeakKeyDictionary[Any, dict[Hashable, bool]] = WeakKeyDictionary()

    def size(self, forward: Forward, waiting: int) -> int:
        """How many of `waiting` forwards of this form to run at once: a power of two."""
        known = self.known(forward)
        row_tokens = max(1, rows(forward) * forward.tokens)
        most = min(waiting, self.most_tokens // row_tokens)
        size = 1
        while size * 2 <= most and known.get((forms.proven(forward), size * 2), True):
            size *= 2
        return size

    def known(self, forward: Forward) -> dict[Hashable, bool]:
        """Verdicts about a network, which are forgotten with it."""
        return self.proofs.setdefault(getattr(forward.network, "__self__", forward.network), {})

    def call(self, forwards: Sequence[Forward]) -> list[Answer]:
        """Answer forwards of one form: together where that is proven, else one after the other.

        What cannot run together is tried alone, so that only what is at fault fails.
        """
        if len(forwards) == 1:
            return [self.alone(forwards[0])]
        known, size = self.known(forwards[0]), (forms.proven(forwards[0]), len(forwards))
        if size in known:
            return self.together(forwards) if known[size] else list(map(self.alone, forwards))
        answers = [self.alone(forward) for forward in forwards]
        known[size] = self.probe(forwards, answers)
        return answers

    def together(self, forwards: Sequence[Forward]) -> list[Answer]:
        """Make one call; its seconds are split by rows."""
        clock = Clock()
        try:
            estimates = self.joined(forwards)
        except Exception as error:
            self.refuse(forwards, error)
            return [self.alone(forward) for forward in forwards]
        seconds, total = clock.seconds(), sum(map(rows, forwards))
        return [
            Answer(estimate, seconds * rows(forward) / total)
            for forward, estimate in zip(forwards, estimates, strict=True)
        ]

    def joined(self, forwards: Sequence[Forward]) -> list[Tensor]:
        """Run the rows of all in one call.  → one estimate each."""
        names = forwards[0].rows
        joint = {name: torch.cat([one.rows[name] for one in forwards]) for name in names}
        with torch.inference_mode():
            made = forwards[0].network(**joint, **forwards[0].alike)
            parts = [laid_out(part) for part in made.split([rows(one) for one in forwards])]
        devices.wait(self.device)
        return parts

    def alone(self, forward: Forward) -> Answer:
        """Make one forward's own call; once more with emptied caches where memory ran out."""
        clock = Clock()
        try:
            try:
                estimate: Tensor | Exception = self.single(forward)
            except OUT_OF_MEMORY:
                self.save_memory()
                estimate = self.single(forward)
        except Exception as error:
            estimate = error
        return Answer(estimate, clock.seconds())

    def single(self, forward: Forward) -> Tensor:
        """Run one forward and wait for it."""
        estimate = call(forward)
        devices.wait(self.device)
        return estimate

    def probe(self, forwards: Sequence[Forward], answers: Sequence[Answer]) -> bool:
        """Tell whether one call gives the very bits of these answers.  Nobody pays for it."""
        if any(isinstance(answer.estimate, Exception) for answer in answers):
            return False
        try:
            estimates = self.joined(forwards)
        except Exception as error:
            self.refuse(forwards, error)
            return False
        return all(
            isinstance(answer.estimate, Tensor) and torch.equal(estimate, answer.estimate)
            for estimate, answer in zip(estimates, answers, strict=True)
        )

    def refuse(self, forwards: Sequence[Forward], error: Exception) -> None:
        """Join so many of this form no more."""
        log.warning("cannot join %d forwards: %r", len(forwards), error)
        self.known(forwards[0])[forms.proven(forwards[0]), len(forwards)] = False
        if isinstance(error, OUT_OF_MEMORY):
            self.save_memory()


def rows(forward: Forward) -> int:
    """Count the rows of a forward."""
    return next(iter(forward.rows.values())).shape[0]
