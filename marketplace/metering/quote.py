"""What a run costs at most, and what it did cost: one function prices both.

Pure: quantities and price lines in, lines and nano-units out. One rounding per charge.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from marketplace.metering.units import UNITS, Facts
from marketplace.money import nano


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a quote or receipt. amount: exact, in major units, not yet rounded."""

    unit: str
    quantity: Decimal
    unit_price: Decimal

    @property
    def amount(self) -> Decimal:
        return self.quantity * self.unit_price

    def as_json(self) -> dict[str, str]:
        return {
            "unit": self.unit,
            "quantity": f"{self.quantity.normalize():f}",
            "unit_price": f"{self.unit_price.normalize():f}",
            "amount": f"{self.amount.normalize():f}",
        }


@dataclass(frozen=True, slots=True)
class Priced:
    """lines: what is charged for; maximum and expected: nano-units, expected ≤ maximum."""

    lines: tuple[Line, ...]
    maximum: int
    expected: int


PriceLines = Sequence[Mapping[str, Any]]


def quote(price_lines: PriceLines, inputs: Mapping[str, Any], facts: Facts) -> Priced:
    """The binding upper bound of a run with these validated inputs, defaults filled in."""
    most, usual = {}, {}
    for unit in {line["unit"] for line in price_lines}:
        most[unit] = UNITS[unit].upper_bound(inputs, facts)
        usual[unit] = UNITS[unit].expected(inputs, facts)
    lines = priced_lines(price_lines, most)
    return Priced(lines, total(lines), total(priced_lines(price_lines, usual)))


def priced_lines(price_lines: PriceLines, used: Mapping[str, Decimal]) -> tuple[Line, ...]:
    return tuple(
        Line(line["unit"], used[line["unit"]], Decimal(line["unit_price"])) for line in price_lines
    )


def total(lines: Sequence[Line]) -> int:
    """Nano-units of all lines together; the one rounding, half to even."""
    return nano(sum((line.amount for line in lines), Decimal(0)))
