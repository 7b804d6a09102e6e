"""One network over several devices by sequence: heads and tokens change places around attention.

The exchange itself is diffusers' (`enable_parallelism`), by each class's own plan of what is split;
here are the checks before it, and how a process that has the loop leads those that only compute.
Other matrix sizes round otherwise, so this is E1: on a device of its own a run is E0 as ever.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
import torch.distributed as dist
from diffusers import ContextParallelConfig
from torch import Tensor
from torch.utils._pytree import tree_map_only

log = logging.getLogger("inference.ulysses")


class Indivisible(ValueError):
    """A network or a size that cannot be split evenly; says what would have to be a multiple."""


def spread(network: Any, degree: int) -> None:
    """Split a network's forwards over the `degree` processes of the default group.

    Every process calls this on the same weights, then the network on the same inputs, whose
    sequences are multiples of `degree`; each gets the whole output. Raises Indivisible.
    """
    check(network, degree)
    with counted():
        network.enable_parallelism(config=ContextParallelConfig(ulysses_degree=degree))


def check(network: Any, degree: int, *lengths: int) -> None:
    """Check that heads and sequences of these lengths can be split.  Raises Indivisible."""
    if getattr(network, "_cp_plan", None) is None:
        raise Indivisible(f"{type(network).__name__} does not say how it may be split")
    heads = int(network.config.num_attention_heads)
    if degree < 2 or heads % degree:
        raise Indivisible(f"{heads} heads cannot be split {degree} ways")
    if uneven := [length for length in lengths if length % degree]:
        raise Indivisible(f"{uneven[0]} tokens cannot be split {degree} ways")


@contextmanager
def counted() -> Iterator[None]:
    """Let diffusers number the devices of a machine that has none but its CPU."""
    if torch.accelerator.is_available():
        yield
        return
    with patch.object(torch.accelerator, "device_count", return_value=1):
        yield


class Leader:
    """The network as the leading process calls it: the others are told of every call."""

    def __init__(self, network: Callable[..., Any], device: str, name: str = "") -> None:
        """Take a network that is spread, and what the others call theirs."""
        self.network, self.device, self.name = network, device, name

    def __call__(self, **given: Any) -> Any:
        """Compute together.  → what the network gives."""
        tell(self.name, given, self.device)
        return arrived(self.network(**given))

    def end(self) -> None:
        """Let the others go."""
        tell(self.name, None, self.device)


def follow(networks: Mapping[str, Callable[..., Any]], device: str) -> int:
    """Compute along with the leader until it ends.  → the number of calls.

    networks: by the names that leaders tell. What fails here fails there too: it is passed over.
    """
    calls = 0
    with torch.inference_mode():
        while True:
            name, given = hear(device)
            if given is None:
                return calls
            calls += 1
            try:
                arrived(networks[name](**given))
            except AssertionError as error:  # before anything was exchanged: a size that is uneven
                log.warning("a call of %s failed: %s", name, error)


def arrived(output: Any) -> Any:
    """Wait for the exchange that made an output.  → the same with plain tensors."""
    return tree_map_only(Tensor, lambda one: one.wait() if hasattr(one, "wait") else one, output)


def tell(name: str, given: dict[str, Any] | None, device: str) -> None:
    """Send a call's arguments to all, and of which network it is."""
    outlines = given and {key: outline(value) for key, value in given.items()}
    dist.broadcast_object_list([(name, outlines)], src=0, device=torch.device(device))
    for value in (given or {}).values():
        if isinstance(value, Tensor):
            dist.broadcast(value.to(device).contiguous(), src=0)


def hear(device: str) -> tuple[str, dict[str, Any] | None]:
    """Receive a call's network and arguments; no arguments when there will be no more."""
    heard: list[Any] = [None]
    dist.broadcast_object_list(heard, src=0, device=torch.device(device))
    name, outlines = heard[0]
    if outlines is None:
        return name, None
    return name, {key: received(told, device) for key, told in outlines.items()}


def outline(value: Any) -> tuple[str, Any]:
    """Say what comes: a tensor of this shape and type, or the value itself."""
    if isinstance(value, Tensor):
        return "tensor", (tuple(value.shape), value.dtype)
    return "value", value


def received(told: tuple[str, Any], device: str) -> Any:
    """Take what was announced."""
    kind, value = told
    if kind == "value":
        return value
    shape, dtype = value
    tensor = torch.empty(shape, dtype=dtype, device=device)
    dist.broadcast(tensor, src=0)
    return tensor
