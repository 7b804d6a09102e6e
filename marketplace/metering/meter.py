"""Turn what the three witnesses said into meter events and a charge."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from marketplace.metering.quote import PriceLines, counted_units, priced_lines, total
from marketplace.metering.units import Facts, unit_of
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
    at: datetime | None = None,
    most: Quantities | None = None,
) -> Metered:
    """Price what was used. reported, measured: unit → quantity, six places; at: of the hold.

    most: unit → the most that is charged, whatever the witnesses agree on.
    Where any unit's witnesses are too far apart nothing is charged yet: quantities are 0,
    `agreed` is False and the run's hold waits for an admin.
    """
    said = {
        unit: Witnesses(
            unit_of(unit).upper_bound(inputs, facts), reported.get(unit), measured.get(unit)
        )
        for unit in counted_units(price_lines)
    }
    counted = {unit: unit_of(unit).charged(witnesses) for unit, witnesses in said.items()}
    agreed = None not in counted.values()
    used = {
        unit: least(q or Decimal(0), unit, most) if agreed else Decimal(0)
        for unit, q in counted.items()
    }
    events = tuple(Event(unit, used[unit], said[unit]) for unit in said)
    if not agreed:
        return Metered(events, 0, agreed=False)
    return Metered(events, total(priced_lines(price_lines, used, inputs, at)), agreed=True)


def least(quantity: Decimal, unit: str, most: Quantities | None) -> Decimal:
    return min(quantity, most[unit]) if most and unit in most else quantity
