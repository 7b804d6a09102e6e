"""Remembers what text encoders said, so that a prompt said again costs nothing.

Keyed by the encoder as it was loaded and by everything that it is given: tokens, masks, options. A
hit is the very output of the first call, so it has its bits. Bounded by bytes; what was used least
recently goes. An encoder whose answer is known need not be on the device.
"""

from __future__ import annotations

import copy
import hashlib
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

PLAIN = (str, int, float, bool, type(None), torch.dtype, torch.device)


class Embeddings:
    """Outputs of all encoders of one device, the least recently used first."""

    def __init__(self, most_bytes: int) -> None:
        """most_bytes: of all outputs together."""
        self.most_bytes, self.bytes = most_bytes, 0
        self.held: OrderedDict[bytes, tuple[Any, int]] = OrderedDict()
        self.encoders = 0

    def remember(self, encoder: nn.Module, before: Callable[[], None]) -> None:
        """Have an encoder's calls answered from here where they can be.

        before: called when the encoder itself is needed.
        """
        self.encoders += 1
        name, compute = f"{type(encoder).__name__} {self.encoders}", encoder.forward

        def forward(*args: Any, **kwargs: Any) -> Any:
            key = content(name, args, kwargs)
            if key is not None and key in self.held:
                self.held.move_to_end(key)
                return copied(self.held[key][0])
            before()
            device = next(encoder.parameters()).device
            said = compute(*placed(args, device), **placed(kwargs, device))
            if key is not None:
                self.keep(key, said)
            return said

        encoder.forward = forward

    def keep(self, key: bytes, said: Any) -> None:
        """Keep an output, if it can be copied and there can be room for it."""
        size = sum(one.numel() * one.element_size() for one in tensors(said))
        if not size or size > self.most_bytes:
            return
        while self.bytes + size > self.most_bytes:
            self.bytes -= self.held.popitem(last=False)[1][1]
        self.held[key] = copied(said), size
        self.bytes += size

    def forget(self) -> None:
        """Give all memory back."""
        self.held.clear()
        self.bytes = 0


def content(name: str, args: Any, kwargs: Any) -> bytes | None:
    """Hash all that a call is given; None where some of it has no content to be hashed."""
    digest = hashlib.sha256(name.encode())
    return digest.digest() if absorbed(digest, (args, kwargs)) else None


def absorbed(digest: Any, value: Any) -> bool:
    """Hash a value; tells whether that could be done."""
    if isinstance(value, Tensor):
        digest.update(f"{value.dtype}{tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        return True
    if isinstance(value, dict):
        digest.update(repr(sorted(value)).encode())
        return all(absorbed(digest, value[name]) for name in sorted(value))
    if isinstance(value, list | tuple):
        digest.update(f"{type(value).__name__}{len(value)}".encode())
        return all(absorbed(digest, one) for one in value)
    digest.update(f"{type(value).__name__} {value!r};".encode())
    return isinstance(value, PLAIN)


def placed(value: Any, device: torch.device) -> Any:
    """Put tensors where the encoder is; whoever made them may have asked where it was before."""
    if isinstance(value, dict):
        return {name: placed(one, device) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(placed(one, device) for one in value)
    return value.to(device) if isinstance(value, Tensor) else value


def tensors(said: Any) -> list[Tensor]:
    """Find the tensors of an output, also in what it carries along."""
    found: dict[int, Tensor] = {}
    seen: set[int] = set()
    left = [said]
    while left:
        one = left.pop()
        if id(one) in seen or isinstance(one, type):
            continue
        seen.add(id(one))
        if isinstance(one, Tensor):
            found[id(one)] = one
        elif isinstance(one, dict):
            left += one.values()
        elif isinstance(one, list | tuple):
            left += one
        left += getattr(one, "__dict__", {}).values() if not isinstance(one, Tensor) else ()
    return list(found.values())


def copied(said: Any) -> Any:
    """Copy an output, so that nobody can change what is kept."""
    return copy.deepcopy(said)
