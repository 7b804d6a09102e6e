"""Runs jobs on models: several at once, each of them as if it were alone.

Knows nothing of HTTP, queues, leases or money.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from zlib import crc32

from inference import adapting, devices, media, models
from inference.adapting import Offered
from inference.batching import Floor, OnStep, Walk
from inference.compiler.backend import Compiler
from inference.compiler.serving import leaving, networks, serve, told
from inference.followers import Followers
from inference.joining import OUT_OF_MEMORY, Joiner
from inference.models.contract import Drawn, Loop, Model, Step, Unusable
from inference.residency import Occupied, OverBudget, Residency
from inference.wire import Job, Plan, Usage, describe, promised, shelf

__all__ = ["Engine", "OnStep", "OverBudget", "Result", "Running", "Stopped", "UnknownModel"]
T = TypeVar("T")


class Stopped(Exception):
    """Raised by an `on_step` that wants no further step; `run` lets it through."""


class UnknownModel(KeyError):
    """No model of that name is served here."""


@dataclass(frozen=True)
class Result:
    """Encoded outputs in order, and what they took up to there."""

    files: tuple[bytes, ...]
    content_type: str
    usage: Usage


@dataclass(eq=False)
class Running:
    """A run on the device.  seconds: of the device, beside those of its walk."""

    job: Job
    model: Model
    content_type: str
    compilers: list[Compiler]
    work: Any = None
    walk: Walk = field(init=False)
    seconds: float = 0.0
    steps: int = 0
    devices: int = 1

    def usage(self, outputs: int, device: str) -> Usage:
        """Say what it took: its own seconds and its share of those that it had with others."""
        seconds = round(self.seconds + self.walk.seconds, 6)
        plan = told(self.compilers)
        if self.devices > 1:  # other sizes of products round otherwise
            plan = Plan(f"{plan.name} on {self.devices} devices", "E1")
        return Usage(seconds, outputs, self.steps, devices.peak_bytes(device), plan)


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


def needed_bytes(about: dict[str, Any], device: str) -> int:
    """Say what a model takes on a device.  On a CPU weights are wider where that was said."""
    facts = about["facts"]
    return int(facts.get("cpu_bytes", facts["bytes"]) if device == "cpu" else facts["bytes"])


class Engine:
    """One device, the models on it, and the runs that share it."""

    def __init__(
        self,
        device: str = "cpu",
        budget_bytes: int | None = None,
        registry: dict[str, str] | None = None,
        weights: Path | None = None,
        *,
        host_bytes: int | None = None,
        join_tokens: int | None = None,
        most_spread: int | None = None,
    ) -> None:
        """Take a device.  weights: the only shelf.

        budget_bytes: weights on the device at once; host_bytes: in the memory behind it.
        most_spread: devices that one run may use.
        """
        self.device, self.shelves = device, [weights] if weights else []
        self.registry = models.REGISTRY if registry is None else registry
        self.residency = Residency(
            device,
            devices.budget_bytes(device) if budget_bytes is None else budget_bytes,
            devices.host_budget_bytes(device) if host_bytes is None else host_bytes,
            devices.embedding_bytes(device),
        )
        self.floor = Floor(Joiner(device, join_tokens, self.save_memory))
        self.running: dict[Walk, Running] = {}
        self.plans: dict[str, list[Compiler]] = {}
        self.offered: dict[str, Offered] = {}
        self.most_spread = devices.most_spread(device) if most_spread is None else most_spread
        self.followers: dict[str, Followers] = {}  # of one model at most

    @property
    def resident(self) -> list[str]:
        """Name the models on the device, least recently used first."""
        return self.residency.resident

    @property
    def resident_bytes(self) -> int:
        """Sum the bytes of the models on the device."""
        return self.residency.resident_bytes

    def ensure(self, slug: str) -> Model:
        """Have a model on the device; what was used least recently leaves before it comes.

        Raises UnknownModel for a name it does not serve, OverBudget for one that can never fit,
        Occupied for one that has to wait for runs of others.
        """
        self.dismiss(slug)
        if (found := self.residency.find(slug)) is not None:
            return found
        about = self.describe(slug)
        self.residency.make_room(needed_bytes(about, self.device))
        model = self.load(slug, about)
        self.residency.add(slug, model, partial(leaving, self.plans[slug]))
        return self.ensure(slug)

    def load(self, slug: str, about: dict[str, Any]) -> Model:
        """Read a model's weights, and make of its networks what they run on."""
        name, folder = about.get("family", slug), shelf(*self.shelves)[slug]
        degree = int(about["facts"].get("devices", 1))
        if 1 < degree <= self.most_spread:
            self.dismiss()
            self.followers[slug] = Followers(name, folder, self.device, degree)
        model = models.find(name, self.registry).load(folder, self.device)
        self.offered.pop(slug, None)
        if names := adapting.names_of(about):
            self.offered[slug] = Offered(networks(model), folder, names)
            model.bytes += self.offered[slug].adapters.bytes
        if slug in self.followers:
            self.plans[slug] = []
            self.followers[slug].lead(networks(model))
        else:
            self.plans[slug] = serve(model, self.device)
        return model

    def dismiss(self, slug: str = "") -> None:
        """Let followers go that are lost, that follow nobody, or that follow another model.

        slug: the model that is wanted; empty: a model that needs followers of its own. Raises
        Occupied while runs need what would go.
        """
        for name, followers in list(self.followers.items()):
            entry = self.residency.entries.get(name)
            if entry is not None and slug and not (name == slug and followers.lost):
                continue
            if entry is not None and entry.users:
                raise Occupied(f"runs of {name} hold the other devices")
            self.residency.entries.pop(name, None)
            self.followers.pop(name).end()

    def describe(self, slug: str) -> dict[str, Any]:
        """Read what a model says about itself.  Raises UnknownModel."""
        try:
            about = describe(slug, *self.shelves)
        except KeyError:
            raise UnknownModel(slug) from None
        if about.get("family", slug) not in self.registry:
            raise UnknownModel(slug)
        return about

    def begin(self, job: Job, on_step: OnStep) -> Running:
        """Prepare a run and let its loop begin; `turn` says when it is over.

        Raises what `ensure` does. Whatever `on_step` raises ends the run at that step.
        """
        about = self.describe(job.target)
        running = Running(
            job, self.ensure(job.target), promised(about, job.inputs), self.plans[job.target]
        )
        inputs = fill(about["inputs"], job.inputs, job.run)
        dress = self.dressing(job.target, inputs)
        if not self.running:
            devices.forget_peak(self.device)
        self.residency.entries[job.target].users += 1
        try:
            running.work = self.timed(running, lambda: running.model.prepare(inputs))
            self.check_spread(running)
        except BaseException:
            self.residency.entries[job.target].users -= 1
            raise

        def counted(step: Step) -> None:
            running.steps = step.index
            on_step(step)

        running.walk = self.floor.join(dress(running.model.denoise(running.work)), counted)
        self.running[running.walk] = running
        return running

    def check_spread(self, running: Running) -> None:
        """Check that a run's tokens split evenly over its devices.  Raises Unusable."""
        if followers := self.followers.get(running.job.target):
            running.devices = followers.degree
            if running.work.tokens % running.devices:
                field = "width" if "width" in running.work.inputs else "size"
                why = f"makes {running.work.tokens} tokens, which {running.devices} devices cannot"
                raise Unusable(field, f"{why} share evenly; take multiples of 64.")

    def dressing(self, slug: str, inputs: dict[str, Any]) -> Callable[[Loop], Loop]:
        """Say how a run's loop comes to wear the adapters that it asks for.  Raises Unusable."""
        offered, asked = self.offered.get(slug), inputs.pop("loras", None)
        if offered is None:
            if asked:
                raise Unusable("loras", "is not an input here: the model has no adapters.")
            return lambda loop: loop
        used = offered.chosen(asked)
        return lambda loop: offered.worn(loop, used)

    def turn(self) -> list[Running]:
        """Make one call of the device.  → the runs whose loops are over, to be finished."""
        return [self.running[walk] for walk in self.floor.turn() if walk in self.running]

    def stop(self, running: Running, error: Exception) -> None:
        """End a run here; the next `turn` says so."""
        self.floor.leave(running.walk, error)

    def finish(self, running: Running) -> list[Drawn]:
        """Draw what a run came to, and let go of it.  Raises why it ended, if not by itself."""
        del self.running[running.walk]
        try:
            if running.walk.error is not None:
                raise running.walk.error
            return self.timed(running, lambda: list(running.model.decode(running.work)))
        finally:
            running.work = None
            self.residency.entries[running.job.target].users -= 1

    def timed(self, running: Running, call: Callable[[], T]) -> T:
        """Do a run's own part of the work; once more with emptied caches if memory runs out."""
        began = time.monotonic()
        try:
            try:
                return call()
            except OUT_OF_MEMORY:
                self.save_memory()
                return call()
        finally:
            devices.wait(self.device)
            running.seconds += time.monotonic() - began

    def save_memory(self) -> None:
        """Give up what is kept only to be faster."""
        self.residency.embeddings.forget()
        devices.drop_caches(self.device)

    def run(self, job: Job, on_step: OnStep) -> Result:
        """Run a job to encoded bytes, with the engine to itself.

        Whatever `on_step` raises ends it at that step.
        """
        running = self.begin(job, on_step)
        while not running.walk.over:
            self.floor.turn()
        drawn = self.finish(running)
        files = media.encoded(drawn, running.content_type)
        return Result(files, running.content_type, running.usage(len(files), self.device))
