"""What a unit of measure has to answer. Pure: no database, no money."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol

Inputs = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Facts:
    """What a release publishes that bounds its work.

    timeout_seconds: hard limit of one attempt. published: the release's `facts`.
    """

    timeout_seconds: int
    published: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Witnesses:
    """The three quantities of one unit; None where a witness has nothing to say."""

    requested: Decimal
    reported: Decimal | None
    measured: Decimal | None


class Unit(Protocol):
    """A countable thing. Quantities are exact Decimals with at most six places."""

    slug: str
    label: str  # "second of video", as in "$0.05 per second of video"
    tolerance: Decimal  # how far two witnesses may be apart, in units

    def upper_bound(self, inputs: Inputs, facts: Facts) -> Decimal:
        """The most that a run with these inputs can use; a quote rests on it."""
        ...

    def expected(self, inputs: Inputs, facts: Facts) -> Decimal:
        """What such a run usually uses, at most `upper_bound`."""
        ...

    def charged(self, witnesses: Witnesses) -> Decimal | None:
        """What is charged, at most what was requested; None where the witnesses are too far
        apart and an admin has to decide."""
        ...


def lowest_agreed(witnesses: Witnesses, tolerance: Decimal) -> Decimal | None:
    """The lowest of the witnesses, or None where reported and measured differ by more than
    `tolerance`. A supplier that reports more than was asked for is not believed silently."""
    said = [q for q in (witnesses.reported, witnesses.measured) if q is not None]
    if not said or min(said) < 0 or max(said) - min(said) > tolerance:
        return None
    if max(said) > witnesses.requested + tolerance:
        return None
    return min(witnesses.requested, *said)
