"""Which models lie on the device, which in host memory, and what leaves when room is needed.

Everything goes by bytes. What leaves the device keeps a host copy while the host's budget allows:
pinned on a GPU, made when it first leaves and kept, since weights do not change. Text encoders go
first, for they are needed once per new prompt; then whole models, the least recently used first.
A model that a run is using stays.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from inference import devices
from inference.embeddings import Embeddings
from inference.models.contract import Model

ENCODER = "encoder"  # in the name of what only turns words into tensors


class OverBudget(Exception):
    """A model needs more bytes than the device may hold."""


class Occupied(Exception):
    """A model fits once runs of other models have ended."""


def nothing() -> None:
    """Do nothing."""


@dataclass(eq=False)
class Part:
    """Tensors that come and go together.  host: their copies, once they were made."""

    bytes: int
    tensors: list[Tensor] = field(default_factory=list)
    host: list[Tensor] | None = None
    here: bool = True
    leaving: Callable[[], None] = nothing  # called before it leaves

    @classmethod
    def of(cls, modules: list[nn.Module]) -> Part:
        """Take the parameters and buffers of modules, each once."""
        found: dict[int, Tensor] = {}
        for module in modules:
            for tensor in (*module.parameters(), *module.buffers()):
                found[id(tensor)] = tensor
        tensors = list(found.values())
        return cls(sum(one.numel() * one.element_size() for one in tensors), tensors)

    def leave(self) -> None:
        """Drop the device copy; the host copy stands in for it."""
        self.leaving()
        if self.host is None:
            self.host = [devices.pinned(tensor.data) for tensor in self.tensors]
        for tensor, copy in zip(self.tensors, self.host, strict=True):
            if not isinstance(tensor, nn.Parameter):  # adapters are written into buffers
                copy.copy_(tensor.data)
            tensor.data = copy
        self.here = False

    def come(self, device: str) -> None:
        """Copy to the device; on a GPU all copies are under way at once."""
        for tensor, copy in zip(self.tensors, self.host or (), strict=True):
            tensor.data = torch.empty_like(copy, device=device).copy_(copy, non_blocking=True)
        devices.wait(device)
        self.here = True


@dataclass(eq=False)
class Entry:
    """A model, in the parts that it leaves in.  users: runs that need it where it is."""

    model: Model
    body: Part
    encoders: list[Part]
    users: int = 0

    @classmethod
    def of(cls, model: Model) -> Entry:
        """Sort a model's modules: text encoders may leave by themselves."""
        named = modules_of(model)
        encoders = {name: one for name, one in named.items() if ENCODER in name}
        parts = {name: Part.of([one]) for name, one in encoders.items()}
        body = Part.of([one for name, one in named.items() if name not in encoders])
        body.bytes = model.bytes - sum(part.bytes for part in parts.values())
        return cls(model, body, list(parts.values()))

    @property
    def parts(self) -> list[Part]:
        """List all of it."""
        return [self.body, *self.encoders]

    def bytes(self, *, here: bool) -> int:
        """Sum what is on the device, or what is not."""
        return sum(part.bytes for part in self.parts if part.here is here)

    @property
    def host_bytes(self) -> int:
        """Sum the host copies."""
        return sum(part.bytes for part in self.parts if part.host is not None)


def modules_of(model: Model) -> dict[str, nn.Module]:
    """Find a model's modules: among its attributes, and in dictionaries that it holds."""
    held: dict[str, Any] = getattr(model, "__dict__", {})
    inner = [value for value in held.values() if isinstance(value, dict)]
    named = {name: one for group in (*inner, held) for name, one in group.items()}
    unique = {id(one): name for name, one in named.items() if isinstance(one, nn.Module)}
    return {name: named[name] for name in unique.values()}


class Residency:
    """The models of one device and of the host memory behind it."""

    def __init__(
        self, device: str, budget_bytes: int, host_budget_bytes: int, embedding_bytes: int = 0
    ) -> None:
        """Start empty.  embedding_bytes: of what encoders said, kept beside the weights."""
        self.device = device
        self.embeddings = Embeddings(embedding_bytes)
        self.budget_bytes, self.host_budget_bytes = budget_bytes, host_budget_bytes
        self.entries: OrderedDict[str, Entry] = OrderedDict()  # least recently used first

    @property
    def resident(self) -> list[str]:
        """Name the models on the device, least recently used first."""
        return [slug for slug, entry in self.entries.items() if entry.body.here]

    @property
    def resident_bytes(self) -> int:
        """Sum what is on the device."""
        return sum(entry.bytes(here=True) for entry in self.entries.values())

    @property
    def host_bytes(self) -> int:
        """Sum the host copies."""
        return sum(entry.host_bytes for entry in self.entries.values())

    def find(self, slug: str) -> Model | None:
        """Have a model that is known brought to the device; None for one that is not.

        Raises Occupied. Its encoders come when they are called.
        """
        entry = self.entries.get(slug)
        if entry is None:
            return None
        if not entry.body.here:
            self.bring(slug, entry.body)
        self.entries.move_to_end(slug)
        return entry.model

    def add(self, slug: str, model: Model, leaving: Callable[[], None] = nothing) -> None:
        """Keep a model that was just loaded onto the device.  leaving: called before it leaves."""
        entry = self.entries[slug] = Entry.of(model)
        entry.body.leaving = leaving
        encoders = [one for name, one in modules_of(model).items() if ENCODER in name]
        for encoder, part in zip(encoders, entry.encoders, strict=True):
            self.embeddings.remember(encoder, partial(self.need, slug, part))

    def need(self, slug: str, part: Part) -> None:
        """Have an encoder on the device that has something to say."""
        if not part.here:
            self.bring(slug, part)

    def bring(self, slug: str, part: Part) -> None:
        """Copy a part to the device, making room for it."""
        self.make_room(part.bytes, stays=slug)
        part.come(self.device)

    def make_room(self, needed: int, stays: str = "") -> None:
        """Let parts leave until `needed` bytes fit.

        Raises OverBudget, or Occupied; then all stays as it is.
        """
        if needed > self.budget_bytes:
            raise OverBudget(f"{needed} bytes do not fit into {self.budget_bytes}")
        held = sum(self.kept(slug, entry, stays) for slug, entry in self.entries.items())
        if held + needed > self.budget_bytes:
            raise Occupied(f"{needed} bytes have to wait for runs of other models")
        while self.resident_bytes + needed > self.budget_bytes:
            self.drop_next(stays)

    def kept(self, slug: str, entry: Entry, stays: str) -> int:
        """Count the bytes that would be left of a model if all that may leave did."""
        if not entry.users and slug != stays:
            return 0
        encoders = sum(part.bytes for part in entry.encoders if part.here)
        return entry.bytes(here=True) - (encoders if self.host_budget_bytes else 0)

    def drop_next(self, stays: str) -> None:
        """Let the next part leave: an encoder, else a whole model that nobody uses."""
        for entry in self.entries.values():
            for part in entry.encoders:
                if part.here and self.has_host_room([part], stays):
                    return part.leave()
        free = (
            (slug, entry)
            for slug, entry in self.entries.items()
            if entry.body.here and not entry.users and slug != stays
        )
        found = next(free, None)
        if found is None:  # an encoder might leave, but host memory has no room for it
            raise Occupied("all that could leave is in use")
        slug, entry = found
        leaving = [part for part in entry.parts if part.here]
        if not entry.body.tensors or not self.has_host_room(leaving, stays):
            entry.body.leaving()
            del self.entries[slug]
            return None
        for part in leaving:
            part.leave()
        return None

    def has_host_room(self, parts: list[Part], stays: str) -> bool:
        """Have host memory for copies; older copies of models that are away make room."""
        needed = sum(part.bytes for part in parts if part.host is None)
        if needed > self.host_budget_bytes:
            return False
        for slug, entry in list(self.entries.items()):
            if self.host_bytes + needed <= self.host_budget_bytes:
                break
            if not entry.body.here and slug != stays:
                del self.entries[slug]
        return self.host_bytes + needed <= self.host_budget_bytes
