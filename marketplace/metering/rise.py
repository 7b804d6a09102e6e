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
from marketplace.metering.quote import PriceLines, counted_units, priced_lines, terms_of, total
from marketplace.metering.terms import Unpriceable
from marketplace.metering.units import unit_of
from marketplace.money import Money

PARTS = (Decimal("0.01"), Decimal("0.25"), Decimal("0.5"), Decimal(1))
TEXT = "a lantern at dusk " * 8
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
        for inputs in samples(release, before, after):
            for at in hours(before, after):
                costs = (cost(book, release, inputs, at, part) for book in (before, after))
                yield Change(inputs, at, *costs)


def cost(
    lines: PriceLines, release: Release, inputs: Inputs, at: time, part: Decimal
) -> int | None:
    """Nano-units of a part of the most that a run can use."""
    moment = datetime.combine(datetime(*DAY, tzinfo=UTC), at, UTC)
    facts = facts_of(release)
    try:
        used = {u: unit_of(u).upper_bound(inputs, facts) * part for u in counted_units(lines)}
        return total(priced_lines(lines, used, inputs, moment))
    except (Unpriceable, KeyError, ArithmeticError):
        return None


def samples(release: Release, *books: PriceLines) -> list[dict[str, Any]]:
    """Inputs to price: plain ones, each input at its ends, and what tables and factors ask for."""
    properties = release.input_schema.get("properties", {})
    plain = {name: usual(declared) for name, declared in properties.items()}
    plain = {name: value for name, value in plain.items() if value is not None}
    ends = [{name: value} for name, declared in properties.items() for value in reach(declared)]
    cases = [
        dict(case.when)
        for book in books
        for term in terms_of(book)
        for case in (*term.table, *term.factors)
    ]
    largest = {name: reach(declared)[-1] for name, declared in properties.items()
               if reach(declared)}  # fmt: skip
    found = [plain, *({**plain, **one} for one in ends), {**plain, **largest}]
    found += [{**base, **case} for base in (plain, {**plain, **largest}) for case in cases]
    return found


def usual(declared: Mapping[str, Any]) -> Any:
    """The default, else the first or least that is allowed, else a text."""
    if "default" in declared:
        return declared["default"]
    if found := reach(declared):
        return found[0]
    return (
        TEXT[: declared.get("maxLength", len(TEXT))] if declared.get("type") == "string" else None
    )


def reach(declared: Mapping[str, Any]) -> list[Any]:
    """The values that an input can have at its ends."""
    if "enum" in declared:
        return list(declared["enum"])
    if declared.get("type") == "boolean":
        return [False, True]
    return [declared[end] for end in ("minimum", "maximum") if end in declared]


def hours(*books: PriceLines) -> list[time]:
    """Noon, and each instant from which on another factor or row holds."""
    found = {time(12)}
    for book in books:
        for term in terms_of(book):
            for case in (*term.table, *term.factors):
                found.update(case.between or ())
    return sorted(found)
