"""Whether a price makes any run dearer: both prices over the same runs, amount by amount.

The runs are samples: what the schema's defaults say, each input at its least and most, each row
of a table, on both sides of each hour, and a part of what was asked for. Pure.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time
from decimal import Decimal
from typing import Any

from marketplace.catalog.models import Release
from marketplace.metering.bounds import facts_of
from marketplace.metering.quote import PriceLines, book_of, bounds, total
from marketplace.metering.sample import TEXT, samples
from marketplace.metering.terms import Unpriceable
from marketplace.money import Money

PARTS = (Decimal("0.01"), Decimal("0.25"), Decimal("0.5"), Decimal(1))
DAY = (2026, 11, 20)
Inputs = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Change:
    """What one run costs before and after, at most, in nano-units; None: it cannot be bought."""

    inputs: Inputs
    at: time
    before: int | None
    after: int | None

    @property
    def is_rise(self) -> bool:
        return self.before is not None and self.after is not None and self.after > self.before

    def __str__(self) -> str:
        asked = ", ".join(f"{n} {v}" for n, v in self.inputs.items() if v != TEXT) or "any inputs"
        costs = [
            "not for sale" if nano is None else str(Money(nano))
            for nano in (self.before, self.after)
        ]
        return f"With {asked} at {self.at:%H:%M} UTC: {costs[0]} → {costs[1]}."


def rise(release: Release, before: PriceLines, after: PriceLines) -> Change | None:
    """The first sample that costs more than before."""
    return next((change for change in changes(release, before, after) if change.is_rise), None)


def changes(release: Release, before: PriceLines, after: PriceLines) -> Iterator[Change]:
    """Every sample with its costs, the whole of what it asks for first."""
    for part in reversed(PARTS):
        for inputs in samples(release.input_schema, before, after):
            for at in hours(before, after):
                costs = (cost(book, release, inputs, at, part) for book in (before, after))
                yield Change(inputs, at, *costs)


def cost(
    lines: PriceLines, release: Release, inputs: Inputs, at: time, part: Decimal
) -> int | None:
    """Nano-units of a part of the most that a run can use."""
    moment = datetime.combine(datetime(*DAY, tzinfo=UTC), at, UTC)
    book = book_of(lines)
    try:
        most = bounds(book.units, inputs, facts_of(release))
        used = {unit: quantity * part for unit, quantity in most.items()}
        return total(book.priced(used, inputs, moment))
    except Unpriceable:
        return None


def hours(*books: PriceLines) -> list[time]:
    """Noon, and each instant from which on another factor or row holds."""
    return sorted({time(12)}.union(*(book_of(book).hours for book in books)))
