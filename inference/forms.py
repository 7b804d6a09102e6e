"""What two forwards must have in common to share one call, and to share one proof that they may.

A form is hashable. Tensors that a call is given beside its rows count by their bits where a call is
shared, by their shapes where only the choice of kernels matters.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import torch
from torch import Tensor

from inference.models.contract import Forward


class Constant:
    """A tensor as part of a key: equal to one of the same bits."""

    __slots__ = ("tensor",)

    def __init__(self, tensor: Tensor) -> None:
        """Take it; it must not change while the key lives."""
        self.tensor = tensor

    def __hash__(self) -> int:
        """Hash what can be told without reading the bits."""
        return hash(outline(self.tensor))

    def __eq__(self, other: object) -> bool:
        """Compare bits, unless both are one object."""
        if not isinstance(other, Constant) or outline(self.tensor) != outline(other.tensor):
            return False
        return self.tensor is other.tensor or torch.equal(self.tensor, other.tensor)


def outline(tensor: Tensor) -> tuple[Hashable, ...]:
    """Say of a tensor what chooses kernels."""
    return tuple(tensor.shape), tensor.dtype, str(tensor.device)


def shared(forward: Forward) -> Hashable:
    """Forwards of equal form may run in one call."""
    return forward.network, rows_of(forward), frozen(forward.alike, Constant)


def proven(forward: Forward) -> Hashable:
    """Forwards of equal form run the same kernels on the same network."""
    return rows_of(forward), frozen(forward.alike, outline)


def rows_of(forward: Forward) -> Hashable:
    """Outline every tensor that is joined."""
    return tuple(sorted((name, outline(row)) for name, row in forward.rows.items()))


def frozen(value: Any, held: Callable[[Tensor], Hashable]) -> Hashable:
    """Make a key of any argument.  held: what stands for a tensor; a float stands for itself there
    where tensors do, and chooses no kernel else."""
    if isinstance(value, Tensor):
        return held(value)
    if isinstance(value, dict):
        return tuple(sorted((name, frozen(item, held)) for name, item in value.items()))
    if isinstance(value, list | tuple):
        return tuple(frozen(item, held) for item in value)
    if isinstance(value, float):
        return float, value.hex() if held is Constant else None
    return type(value), value if isinstance(value, Hashable) else id(value)
