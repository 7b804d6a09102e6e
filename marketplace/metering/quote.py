"""What a run costs at most, and what it did cost: one function prices both.

Pure: quantities and price lines in, lines and nano-units out. One rounding per charge.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Any

from marketplace.metering import terms
from marketplace.metering.terms import Inputs, Quantities, Term
from marketplace.metering.units import Facts, unit_of
from marketplace.money import nano

PLACES = 12
PriceLines = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a quote or receipt. amount: exact, in major units, not yet rounded.

    unit_price: None where tiers make it depend on the quantity.
    """

    unit: str
    quantity: Fraction
    unit_price: Fraction | None
    amount: Fraction

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


def decimal(value: Fraction) -> str:
    """Exact where it has at most twelve places, else rounded to them."""
    text = f"{Decimal(round(value * 10**PLACES)).scaleb(-PLACES):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def terms_of(price_lines: PriceLines) -> tuple[Term, ...]:
    """The parsed lines. Raises PriceError."""
    return parsed(json.dumps(price_lines))


@lru_cache(maxsize=4096)
def parsed(text: str) -> tuple[Term, ...]:
    return tuple(terms.read(line, f"lines[{n}]") for n, line in enumerate(json.loads(text)))


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
    units = set()
    for term in terms_of(price_lines):
        if term.quantity is None:
            units.add(term.unit)
        else:
            units |= {n.removeprefix("usage.") for n in term.quantity.names if "usage." in n}
    return sorted(units)


def quote(
    price_lines: PriceLines, inputs: Inputs, facts: Facts, at: datetime | None = None
) -> Priced:
    """The binding upper bound of a run with these validated inputs, defaults filled in.

    at: the instant of the hold, for prices by time of day. Raises Unpriceable.
    """
    units = counted_units(price_lines)
    most = {unit: unit_of(unit).upper_bound(inputs, facts) for unit in units}
    usual = {unit: unit_of(unit).expected(inputs, facts) for unit in units}
    lines = priced_lines(price_lines, most, inputs, at)
    return Priced(lines, total(lines), total(priced_lines(price_lines, usual, inputs, at)))


def priced_lines(
    price_lines: PriceLines,
    used: Mapping[str, Decimal],
    inputs: Inputs,
    at: datetime | None = None,
) -> tuple[Line, ...]:
    """What the used quantities cost, line by line."""
    usage = {unit: Fraction(quantity) for unit, quantity in used.items()}
    return tuple(priced(term, inputs, usage, at) for term in terms_of(price_lines))


def priced(term: Term, inputs: Inputs, usage: Quantities, at: datetime | None) -> Line:
    quantity = term.counted(inputs, usage)
    price = None if term.tiers else term.price(inputs, at) * term.factor(inputs, at)
    return Line(term.unit, quantity, price, term.amount(quantity, inputs, at))


def total(lines: Sequence[Line]) -> int:
    """Nano-units of all lines together; the one rounding, half to even."""
    return nano(sum((line.amount for line in lines), Fraction(0)))
