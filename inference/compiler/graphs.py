"""A forward captured as a CUDA graph and replayed: no launch waits for Python any more.

One graph per bucket of shapes, each with inputs of its own that are written before a replay, all
in one memory pool. Bits are those of the captured call. Where there is no GPU, or capturing fails,
the call runs as it is, and `reason` says why.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

log = logging.getLogger("inference.compiler")
MOST = 4  # buckets; the least recently used one goes first


Captured = tuple[Any, list[Tensor], Tensor, Any]  # graph, its inputs, its output, what it reads


class Graphed:
    """A call of keyword inputs that returns one tensor."""

    def __init__(
        self,
        call: Callable[..., Tensor],
        device: str,
        most: int = MOST,
        beside: Callable[[], Any] = lambda: None,
    ) -> None:
        """Take what is to be captured.

        most: buckets of shapes that are kept. beside: gives what the call depends on beside its
        inputs: a key, and tensors that a graph reads and that have to live as long as it does.
        """
        self.call, self.most, self.beside = call, most, beside
        self.reason = "" if device != "cpu" else "no CUDA device"
        self.captured: OrderedDict[Any, Captured] = OrderedDict()
        self.pool: Any = None

    def __call__(self, **inputs: Any) -> Tensor:
        """Replay, after capturing what has not been seen; the result is the caller's own."""
        if self.reason:
            return self.call(**inputs)
        leaves, _ = tree_flatten(inputs)
        bucket = bucket_of(inputs), self.key()
        if bucket not in self.captured:
            try:
                self.capture(bucket, inputs)
            except RuntimeError as error:
                torch.cuda.synchronize()
                self.reason = f"not captured: {error}"
                log.warning("a forward runs without a CUDA graph: %s", self.reason)
                return self.call(**inputs)
        self.captured.move_to_end(bucket)
        graph, places, output, _ = self.captured[bucket]
        given = [one for one in leaves if isinstance(one, Tensor)]
        for place, one in zip(places, given, strict=True):
            place.copy_(one)
        graph.replay()
        return output.clone()

    def key(self) -> Any:
        """Say what inputs do not."""
        told = self.beside()
        return told[0] if told else None

    def forget(self) -> None:
        """Drop all graphs, before the weights that they read leave their place."""
        self.captured.clear()
        self.pool = None

    def capture(self, bucket: Any, inputs: dict[str, Any]) -> None:
        """Capture the call on inputs of its own, once it has compiled what it needs."""
        leaves, spec = tree_flatten(inputs)
        own = [one.clone() if isinstance(one, Tensor) else one for one in leaves]
        held = tree_unflatten(own, spec)
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            self.call(**held)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self.pool):
            output = self.call(**held)
        self.pool = graph.pool()
        places = [one for one in own if isinstance(one, Tensor)]
        self.captured[bucket] = (graph, places, output, self.beside())
        while len(self.captured) > self.most:
            self.captured.popitem(last=False)


def bucket_of(inputs: dict[str, Any]) -> Any:
    """Key of all inputs that one graph serves: tensors by shape and dtype, the rest by value."""
    leaves, spec = tree_flatten(inputs)
    each = [
        (tuple(one.shape), one.dtype) if isinstance(one, Tensor) else repr(one) for one in leaves
    ]
    return (str(spec), *each)
