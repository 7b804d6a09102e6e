"""What a run costs at most, and what it did cost: one function prices both.

Pure: quantities and price lines in, lines and nano-units out. One rounding per charge.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Any

from marketplace.metering import terms
from marketplace.metering.formula import Number
from marketplace.metering.terms import Inputs, Quantities, Term, Unpriceable
from marketplace.metering.units import FEES, Facts, Unit, unit_of
from marketplace.money import nano

PLACES = 12
PriceLines = Sequence[Mapping[str, Any]]
Used = Mapping[str, Decimal]


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a quote or receipt. amount: exact, in major units, not yet rounded.

    unit_price: None where tiers make it depend on the quantity.
    """

    unit: str
    quantity: Number
    unit_price: Number | None
    amount: Number

    def as_json(self) -> dict[str, str | None]:
        return {
            "unit": self.unit,
            "quantity": decimal(self.quantity),
            "unit_price": None if self.unit_price is None else decimal(self.unit_price),
            "amount": decimal(self.amount),
        }


@dataclass(frozen=True, slots=True)
class Priced:
    """lines: what is charged for; maximum and expected: nano-units, expected ≤ maximum."""

    lines: tuple[Line, ...]
    maximum: int
    expected: int


@dataclass(frozen=True, slots=True)
class Book:
    """The parsed lines of a price. units: those that are counted, sorted.

    hours: from when on another factor or row holds, by the time of day in UTC.
    """

    terms: tuple[Term, ...]
    units: tuple[str, ...]
    hours: tuple[time, ...]

    def quote(
        self, inputs: Inputs, facts: Facts, at: datetime | None, span: timedelta = timedelta(0)
    ) -> Priced:
        """See `quote`. span: how long after `at` the bound must hold."""
        most = bounds(self.units, inputs, facts)
        usual = {name: unit_of(name).expected(inputs, facts) for name in self.units}
        fates = self.fates(most)
        lines = self.priced(fates[0], inputs, at)
        cost = expected = total(lines)
        if usual != fates[0]:
            expected = total(self.priced(usual, inputs, at))
        others = [(used, at) for used in fates[1:]]
        for used, instant in others + [(f, turn) for turn in self.turns(at, span) for f in fates]:
            dearer = self.priced(used, inputs, instant)
            if total(dearer) > cost:
                lines, cost = dearer, total(dearer)
        return Priced(lines, cost, expected)

    def fates(self, most: Used) -> list[Used]:
        """The most that is used where the run delivers, and, with a fee, where it is refused."""
        if FEES.isdisjoint(self.units):
            return [most]
        none = Decimal(0)
        return [
            {unit: none if (unit in FEES) != refused else most[unit] for unit in self.units}
            for refused in (False, True)
        ]

    def priced(self, used: Used, inputs: Inputs, at: datetime | None) -> tuple[Line, ...]:
        """What the used quantities cost, line by line."""
        usage = {unit: exact(quantity) for unit, quantity in used.items()}
        hour = at.astimezone(UTC).time() if self.hours and at else None
        return tuple(priced(term, inputs, usage, hour) for term in self.terms)

    def turns(self, at: datetime | None, span: timedelta) -> list[datetime]:
        """The instants of the span at which another hour's price begins."""
        if at is None or not self.hours:
            return []
        days = (at.astimezone(UTC).date(), (at + span).astimezone(UTC).date())
        found = {datetime.combine(day, hour, UTC) for day in days for hour in self.hours}
        return sorted(instant for instant in found if at < instant <= at + span)


def exact(value: Decimal) -> Number:
    """The same number; whole ones as int, with which it is faster to reckon."""
    above, below = value.as_integer_ratio()
    return above if below == 1 else Fraction(above, below)


def bounds(units: Sequence[str], inputs: Inputs, facts: Facts) -> dict[str, Decimal]:
    """The most that a run can use. Raises Unpriceable naming the input that is missing."""
    return {name: bound(unit_of(name), inputs, facts) for name in units}


def bound(unit: Unit, inputs: Inputs, facts: Facts) -> Decimal:
    try:
        return unit.upper_bound(inputs, facts)
    except KeyError as missing:
        name = missing.args[0]
        reason = f"inputs.{name} is required: a {unit.label} has no price without it."
        raise Unpriceable(f"inputs.{name}", reason) from None
    except (ArithmeticError, TypeError, ValueError):
        raise Unpriceable("inputs", f"These inputs do not say how many {unit.label}s.") from None


def decimal(value: Number) -> str:
    """Exact where it has at most twelve places, else rounded to them."""
    text = f"{Decimal(round(value * 10**PLACES)).scaleb(-PLACES):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def terms_of(price_lines: PriceLines) -> tuple[Term, ...]:
    """The parsed lines. Raises PriceError."""
    return book_of(price_lines).terms


def book_of(price_lines: PriceLines) -> Book:
    """The parsed price. Raises PriceError."""
    return parsed(json.dumps(price_lines))


@lru_cache(maxsize=4096)
def parsed(text: str) -> Book:
    found = tuple(terms.read(line, f"lines[{n}]") for n, line in enumerate(json.loads(text)))
    units = {unit for term in found for unit in counted_by(term)}
    hours = {
        hour
        for term in found
        for case in (*term.table, *term.factors)
        for hour in case.between or ()
    }
    return Book(found, tuple(sorted(units)), tuple(sorted(hours)))


def counted_by(term: Term) -> list[str]:
    """The units whose quantities decide what a line costs."""
    if term.quantity is None:
        return [term.unit]
    return [n.removeprefix("usage.") for n in term.quantity.names if n.startswith("usage.")]


def said(line: Mapping[str, Any]) -> dict[str, str | bool]:
    """A price line for a reader: its least amount, what that buys, and whether it varies."""
    [term] = terms_of([line])
    amounts = [row.number for row in term.table] + [tier.unit_price for tier in term.tiers]
    if term.unit_price is not None:
        amounts.append(term.unit_price)
    return {
        "amount": decimal(min(amounts)),
        "label": unit_of(term.unit).label,
        "varies": len(set(amounts)) > 1 or bool(term.factors),
    }


def counted_units(price_lines: PriceLines) -> list[str]:
    """The units whose quantities decide the charge, sorted."""
    return list(book_of(price_lines).units)


def quote(
    price_lines: PriceLines, inputs: Inputs, facts: Facts, at: datetime | None = None
) -> Priced:
    """The binding upper bound of a run with these validated inputs, defaults filled in.

    at: the instant of the hold, for prices by time of day. Raises Unpriceable.
    """
    return book_of(price_lines).quote(inputs, facts, at)


def priced_lines(
    price_lines: PriceLines, used: Used, inputs: Inputs, at: datetime | None = None
) -> tuple[Line, ...]:
    """What the used quantities cost, line by line. at: the instant of the hold."""
    return book_of(price_lines).priced(used, inputs, at)


def priced(term: Term, inputs: Inputs, usage: Quantities, hour: time | None) -> Line:
    quantity = term.counted(inputs, usage)
    unit_price, amount = term.cost(quantity, inputs, hour)
    return Line(term.unit, quantity, unit_price, amount)


def total(lines: Sequence[Line]) -> int:
    """Nano-units of all lines together; the one rounding, half to even."""
    return nano(lines[0].amount if len(lines) == 1 else sum(line.amount for line in lines))
