"""Turn what the three witnesses said into meter events and a charge."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from marketplace.metering.quote import PriceLines, priced_lines, total
from marketplace.metering.units import UNITS, Facts
from marketplace.metering.units.contract import Witnesses

Quantities = Mapping[str, Decimal]


@dataclass(frozen=True, slots=True)
class Event:
    """quantity: what is charged; 0 where an admin has to decide."""

    unit: str
    quantity: Decimal
    witnesses: Witnesses

    def as_json(self) -> dict[str, Any]:
        said = self.witnesses
        return {
            "unit": self.unit,
            "quantity": str(self.quantity),
            "requested": str(said.requested),
            "reported": None if said.reported is None else str(said.reported),
            "measured": None if said.measured is None else str(said.measured),
        }


@dataclass(frozen=True, slots=True)
class Metered:
    """amount: nano-units, never above the quote. agreed: False sends the run to review."""

    events: tuple[Event, ...]
    amount: int
    agreed: bool


def meter(
    price_lines: PriceLines,
    inputs: Mapping[str, Any],
    facts: Facts,
    *,
    reported: Quantities,
    measured: Quantities,
) -> Metered:
    """Price what was used. reported, measured: unit → quantity, six places."""
    events = [
        counted(unit, inputs, facts, reported, measured)
        for unit in sorted({line["unit"] for line in price_lines})
    ]
    agreed = all(event is not None for _, event in events)
    final = tuple(event or Event(unit, Decimal(0), w) for (unit, w), event in events)
    used = {event.unit: event.quantity for event in final}
    return Metered(final, total(priced_lines(price_lines, used)) if agreed else 0, agreed)


def counted(
    unit: str,
    inputs: Mapping[str, Any],
    facts: Facts,
    reported: Quantities,
    measured: Quantities,
) -> tuple[tuple[str, Witnesses], Event | None]:
    said = Witnesses(UNITS[unit].upper_bound(inputs, facts), reported.get(unit), measured.get(unit))
    quantity = UNITS[unit].charged(said)
    return (unit, said), None if quantity is None else Event(unit, quantity, said)
