"""The gate between a plan and its use: how far it is from eager, against what its class allows.

E0 is the same bits. E1 may round otherwise, but must stay as near to a float32 run as eager does:
relative L2 at most 1.1 times eager's own, largest deviation at most twice. E2 is let in only by
name. Random weights show wiring errors, never the quality of pictures.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from inference.kernels import Exactness

L2_SLACK, MAX_SLACK = 1.1, 2.0


class ParityError(Exception):
    """A plan is further from eager than its class allows."""


@dataclass(frozen=True)
class Parity:
    """What was measured: distances to the float32 run, ours and eager's; None where not needed."""

    exactness: Exactness
    same_bits: bool
    ours: float | None = None
    eager: float | None = None


def same_bits(one: Tensor, other: Tensor) -> bool:
    """Compare bit by bit: -0.0 is not 0.0, and any NaN is NaN."""
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    signs = torch.equal(torch.signbit(one), torch.signbit(other) | other.isnan() & one.signbit())
    return signs and bool(((one == other) | (one.isnan() & other.isnan())).all())


def distance(one: Tensor, truth: Tensor) -> float:
    """Relative L2."""
    one, truth = one.double(), truth.double()
    return float((one - truth).norm() / truth.norm().clamp_min(1e-30))


def check(exactness: Exactness, ours: Tensor, eager: Tensor, truth: Tensor | None) -> Parity:
    """Measure an output of a plan of that class.  Raises ParityError.

    truth: what float32 gives; may be left out for E0.
    """
    same = same_bits(ours, eager)
    if same:
        return Parity(exactness, same_bits=True)
    if exactness == Exactness.E0 or truth is None:
        raise ParityError(f"{exactness}: {int((ours != eager).sum())} of {ours.numel()} differ")
    found = Parity(exactness, False, distance(ours, truth), distance(eager, truth))
    if exactness == Exactness.E1:
        demand_sound(found, ours, eager, truth)
    return found


def demand_sound(found: Parity, ours: Tensor, eager: Tensor, truth: Tensor) -> None:
    """Raise ParityError where an E1 output is further from the truth than eager may be."""
    if not found.ours <= L2_SLACK * found.eager:  # type: ignore[operator]  # NaN is refused, too
        raise ParityError(f"E1: relative L2 {found.ours:.3g}, eager's own is {found.eager:.3g}")
    worst, allowed = ((one.double() - truth.double()).abs().max() for one in (ours, eager))
    if not worst <= MAX_SLACK * allowed:
        raise ParityError(f"E1: largest deviation {worst:.3g}, eager's own is {allowed:.3g}")
