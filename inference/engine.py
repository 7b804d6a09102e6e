"""Runs jobs on models and decides which models stay loaded.

Residency is least-recently-used by bytes over every model of the registry. Knows nothing of HTTP,
queues, leases or money.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

from inference import devices, media, models
from inference.models.contract import Model, Step, walk
from inference.wire import Job, Usage, describe, shelf

OnStep = Callable[[Step], None]


class Stopped(Exception):
    """Raised by an `on_step` that wants no further step; `run` lets it through."""


class UnknownModel(KeyError):
    """No model of that name is served here."""


class OverBudget(Exception):
    """A model needs more bytes than the device may hold."""


@dataclass(frozen=True)
class Result:
    """Encoded outputs in order, and what they took up to there."""

    files: tuple[bytes, ...]
    content_type: str
    usage: Usage


def fill(schema: dict[str, Any], inputs: dict[str, Any], run: str) -> dict[str, Any]:
    """Add the schema's defaults; a missing seed follows from the run's id.

    So a second attempt of a run draws what the first would have drawn.
    """
    defaults = {
        name: rule["default"]
        for name, rule in schema["properties"].items()
        if rule.get("default") is not None
    }
    filled = {**defaults, **{name: value for name, value in inputs.items() if value is not None}}
    return {"seed": crc32(run.encode()) & 0x7FFFFFFF, **filled}


class Engine:
    """One device, its loaded models, and the loop that runs a job on them."""

    def __init__(
        self,
        device: str = "cpu",
        budget_bytes: int | None = None,
        registry: dict[str, str] | None = None,
        weights: Path | None = None,
    ) -> None:
        """Take a device.  budget_bytes: weights that may stay loaded.  weights: the only shelf."""
        self.device, self.shelves = device, [weights] if weights else []
        self.budget_bytes = devices.budget_bytes(device) if budget_bytes is None else budget_bytes
        self.registry = models.REGISTRY if registry is None else registry
        self.loaded: OrderedDict[str, Model] = OrderedDict()  # least recently used first

    @property
    def resident(self) -> list[str]:
        """Name the loaded models, least recently used first."""
        return list(self.loaded)

    @property
    def resident_bytes(self) -> int:
        """Sum the bytes of the loaded models."""
        return sum(model.bytes for model in self.loaded.values())

    def ensure(self, slug: str) -> Model:
        """Have a model loaded, dropping the least recently used ones before it is read.

        Raises UnknownModel for a name it does not serve, OverBudget for one that can never fit.
        """
        if slug not in self.loaded:
            about = self.describe(slug)
            family = models.find(about.get("family", slug), self.registry)
            self.make_room(int(about["facts"]["bytes"]))
            self.loaded[slug] = family.load(shelf(*self.shelves)[slug], self.device)
        self.loaded.move_to_end(slug)
        return self.loaded[slug]

    def describe(self, slug: str) -> dict[str, Any]:
        """Read what a model says about itself.  Raises UnknownModel."""
        try:
            about = describe(slug, *self.shelves)
        except KeyError:
            raise UnknownModel(slug) from None
        if about.get("family", slug) not in self.registry:
            raise UnknownModel(slug)
        return about

    def make_room(self, needed: int) -> None:
        """Drop models until `needed` bytes fit beside those that stay."""
        if needed > self.budget_bytes:
            raise OverBudget(f"{needed} bytes do not fit into {self.budget_bytes}")
        while self.resident_bytes + needed > self.budget_bytes:
            self.loaded.popitem(last=False)

    def run(self, job: Job, on_step: OnStep) -> Result:
        """Run a job to encoded bytes.  Whatever `on_step` raises ends it at that step."""
        about = self.describe(job.target)
        model = self.ensure(job.target)
        inputs = fill(about["inputs"], job.inputs, job.run)
        devices.forget_peak(self.device)
        began, taken = time.monotonic(), 0
        work = model.prepare(inputs)
        for step in walk(model.denoise(work)):
            taken = step.index
            on_step(step)
        files = tuple(media.encode(drawn) for drawn in model.decode(work))
        seconds = round(time.monotonic() - began, 6)
        usage = Usage(seconds, len(files), taken, devices.peak_bytes(self.device))
        return Result(files, about["output"]["content_type"], usage)
