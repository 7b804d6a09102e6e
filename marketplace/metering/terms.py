"""One line of a price: how a quantity becomes an amount. Data in, exact fractions out.

    {"unit": "video_second", "unit_price": "0.05", "included": "2", "minimum": "4", "step": "0.5",
     "table": [{"when": {"resolution": "1080p", "sound": true}, "unit_price": "0.08"}],
     "factors": [{"between": ["22:00", "06:00"], "factor": "0.5"}]}

`docs/prices.md` tells what each field means. An amount never falls when a quantity grows.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import time
from fractions import Fraction
from typing import Any

from marketplace.metering import formula
from marketplace.metering.formula import Formula, Number

ROUNDINGS: dict[str, Callable[[Number], int]] = {
    "up": math.ceil,
    "down": math.floor,
    "nearest": round,  # half to even
}
FIELDS = frozenset(
    {"unit", "unit_price", "included", "minimum", "step", "rounding", "tiers", "table", "factors",
     "quantity", "label"}
)  # fmt: skip
PLACES = 12
MOST_ROWS = 500
Inputs = Mapping[str, Any]
Quantities = Mapping[str, Number]


class PriceError(ValueError):
    """A price line that cannot be published. `param` names the place in it."""

    def __init__(self, param: str, reason: str) -> None:
        super().__init__(f"{param} {reason}")
        self.param, self.reason = param, reason


class Unpriceable(ValueError):
    """Inputs that have no price, or no bound. `param` names the input at fault."""

    def __init__(self, param: str, reason: str) -> None:
        super().__init__(reason)
        self.param = param


@dataclass(frozen=True, slots=True)
class Tier:
    """up_to: the last quantity of this tier; None for the last one."""

    up_to: Number | None
    unit_price: Number


@dataclass(frozen=True, slots=True)
class Case:
    """A number that holds when the inputs and the time of day fit."""

    number: Number
    when: Mapping[str, Any]
    between: tuple[time, time] | None = None

    def fits(self, inputs: Inputs, at: time | None) -> bool:
        """at: the time of day in UTC; without one no hours fit."""
        if self.between and (at is None or not within(at, *self.between)):
            return False
        return all(inputs.get(name) == value for name, value in self.when.items())


def within(moment: time, start: time, end: time) -> bool:
    """Half-open, around midnight where it ends before it starts."""
    return start <= moment < end if start <= end else moment >= start or moment < end


@dataclass(frozen=True, slots=True)
class Term:
    """A parsed line. All numbers are exact; money is in major units."""

    unit: str
    unit_price: Number | None = None
    included: Number = 0
    minimum: Number = 0
    step: Fraction | None = None
    rounding: str = "up"
    volume: bool = False
    tiers: tuple[Tier, ...] = ()
    table: tuple[Case, ...] = ()
    factors: tuple[Case, ...] = ()
    quantity: Formula | None = None
    data: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def counted(self, inputs: Inputs, usage: Quantities) -> Number:
        """The raw quantity: of the unit, or of the formula."""
        if self.quantity is None:
            return usage[self.unit]
        return max(0, self.quantity.value(values(self.quantity.names, inputs, usage)))

    def billable(self, quantity: Number) -> Number:
        """What is left to pay for after minimum, included quantity and steps."""
        due = max(quantity, self.minimum) if self.minimum else quantity
        if self.included:
            due = max(0, due - self.included)
        return due if self.step is None else ROUNDINGS[self.rounding](due / self.step) * self.step

    def amount(self, quantity: Number, inputs: Inputs, at: time | None) -> Number:
        """What `quantity` costs. Raises Unpriceable where no row of the table fits."""
        return self.cost(quantity, inputs, at)[1]

    def cost(
        self, quantity: Number, inputs: Inputs, at: time | None
    ) -> tuple[Number | None, Number]:
        """The price of one unit, None where tiers make it depend on the quantity, and the amount.

        Raises Unpriceable where no row of the table fits.
        """
        due, factor = self.billable(quantity), self.factor(inputs, at)
        if self.tiers:
            return None, self.tiered(due) * factor
        price = self.price(inputs, at)
        if factor != 1:
            price *= factor
        return price, due * price

    def price(self, inputs: Inputs, at: time | None) -> Number:
        for row in self.table:
            if row.fits(inputs, at):
                return row.number
        if self.unit_price is None:
            asked = {name: inputs.get(name) for row in self.table for name in row.when}
            said = ", ".join(f"{name} {value}" for name, value in asked.items())
            raise Unpriceable(f"inputs.{next(iter(asked), '')}", f"There is no price for {said}.")
        return self.unit_price

    def factor(self, inputs: Inputs, at: time | None) -> Number:
        if not self.factors:
            return 1
        return math.prod(f.number for f in self.factors if f.fits(inputs, at))

    def tiered(self, due: Number) -> Number:
        return volume(self.tiers, due) if self.volume else graduated(self.tiers, due)


def graduated(tiers: Sequence[Tier], due: Number) -> Number:
    """Each tier's part at its own price."""
    total: Number = 0
    start: Number = 0
    for tier in tiers:
        end = due if tier.up_to is None else min(due, tier.up_to)
        total += max(0, end - start) * tier.unit_price
        start = end
    return total


def volume(tiers: Sequence[Tier], due: Number) -> Number:
    """All of it at the price of the tier it reaches, but never more than a later tier's least."""
    start: Number = 0
    offers = []
    for tier in tiers:
        if tier.up_to is None or due <= tier.up_to:
            offers.append(max(due, start) * tier.unit_price)
        start = tier.up_to or start
    return min(offers)


def values(names: Iterable[str], inputs: Inputs, usage: Quantities) -> dict[str, Number]:
    """What a formula reads: numbers and booleans of the inputs, and usage by unit."""
    found: dict[str, Number] = {}
    for name in names:
        family, _, word = name.partition(".")
        value = usage[word] if family == "usage" else inputs.get(word)
        if isinstance(value, float):
            value = Fraction(str(value))
        if not isinstance(value, int | Fraction):
            raise Unpriceable(name, f"{name} must be a number to be priced.")
        found[name] = value
    return found


# ── reading ───────────────────────────────────────────────────────────────────────────────────


def read(data: Mapping[str, Any], place: str = "line") -> Term:
    """Parse one line. Raises PriceError with the field and what is allowed."""
    if not isinstance(data, dict):
        raise PriceError(place, "must be an object")
    if not isinstance(data.get("unit"), str):
        raise PriceError(f"{place}.unit", "must name a unit")
    if unknown := sorted(data.keys() - FIELDS):
        raise PriceError(f"{place}.{unknown[0]}", f"is not known; known: {sorted(FIELDS)}")
    if not ("unit_price" in data or "tiers" in data or "table" in data):
        raise PriceError(f"{place}.unit_price", "is missing")
    tiers = data.get("tiers", {})
    if not isinstance(tiers, dict) or ("tiers" in data and not tiers.get("steps")):
        raise PriceError(f"{place}.tiers", 'must be {"mode": …, "steps": [at least one]}')
    return Term(
        unit=data["unit"],
        unit_price=amount_of(data, "unit_price", place) if "unit_price" in data else None,
        included=amount_of(data, "included", place, 0),
        minimum=amount_of(data, "minimum", place, 0),
        step=step_of(data, place),
        rounding=choice(data.get("rounding", "up"), ROUNDINGS, f"{place}.rounding"),
        volume=choice(tiers.get("mode", "graduated"), MODES, f"{place}.tiers.mode") == "volume",
        tiers=tiers_of(tiers.get("steps", []), f"{place}.tiers.steps"),
        table=cases_of(data.get("table", []), "unit_price", f"{place}.table"),
        factors=cases_of(data.get("factors", []), "factor", f"{place}.factors"),
        quantity=formula_of(data, place),
        data=data,
    )


MODES = ("graduated", "volume")


def choice(value: Any, allowed: Any, param: str) -> str:
    if not isinstance(value, str) or value not in allowed:
        raise PriceError(param, f"must be one of {', '.join(allowed)}")
    return str(value)


def amount_of(data: Mapping[str, Any], name: str, place: str, default: int | None = None) -> Number:
    """A decimal in a string, not negative, at most twelve places."""
    param = f"{place}.{name}"
    if name not in data and default is not None:
        return default
    text = data.get(name)
    if not isinstance(text, str) or not text.replace(".", "", 1).isdecimal() or len(text) > 40:
        raise PriceError(param, 'must be a decimal in a string, not negative, such as "0.05"')
    if len(text.partition(".")[2]) > PLACES:
        raise PriceError(param, f"must have at most {PLACES} decimal places")
    value = Fraction(text)
    return value.numerator if value.denominator == 1 else value


def step_of(data: Mapping[str, Any], place: str) -> Fraction | None:
    if "step" not in data:
        return None
    step = amount_of(data, "step", place)
    if step == 0:
        raise PriceError(f"{place}.step", "must be more than 0")
    return Fraction(step)


def tiers_of(steps: Any, place: str) -> tuple[Tier, ...]:
    """Ends that grow, the last one open."""
    if not isinstance(steps, list) or len(steps) > MOST_ROWS:
        raise PriceError(place, f"must be a list of at most {MOST_ROWS}")
    before: Number = 0
    tiers = []
    for n, step in enumerate(steps):
        here, last = f"{place}[{n}]", n == len(steps) - 1
        if not isinstance(step, dict):
            raise PriceError(here, "must be an object")
        if (step.get("up_to") is None) != last:
            raise PriceError(f"{here}.up_to", "must be null in the last tier and only there")
        up_to = None if last else amount_of(step, "up_to", here)
        if up_to is not None and up_to <= before:
            raise PriceError(f"{here}.up_to", "must be more than the tier before")
        before = up_to or before
        tiers.append(Tier(up_to, amount_of(step, "unit_price", here)))
    return tuple(tiers)


def cases_of(rows: Any, number: str, place: str) -> tuple[Case, ...]:
    if not isinstance(rows, list) or len(rows) > MOST_ROWS:
        raise PriceError(place, f"must be a list of at most {MOST_ROWS}")
    return tuple(case_of(row, number, f"{place}[{n}]") for n, row in enumerate(rows))


def case_of(row: Any, number: str, here: str) -> Case:
    if not isinstance(row, dict):
        raise PriceError(here, "must be an object")
    when, between = row.get("when", {}), row.get("between")
    if not isinstance(when, dict) or not (when or between):
        raise PriceError(f"{here}.when", "must name at least one input and its value")
    if not all(isinstance(value, str | int | float) for value in when.values()):
        raise PriceError(f"{here}.when", "must compare with texts, numbers, true or false")
    return Case(amount_of(row, number, here), when, hours(between, f"{here}.between"))


def hours(between: Any, param: str) -> tuple[time, time] | None:
    if between is None:
        return None
    try:
        start, end = (time.fromisoformat(text) for text in between)
    except (TypeError, ValueError):
        raise PriceError(param, 'must be two times of day in UTC, as ["22:00", "06:00"]') from None
    if start == end:
        raise PriceError(param, "must not be empty")
    return start, end


def formula_of(data: Mapping[str, Any], place: str) -> Formula | None:
    if "quantity" not in data:
        return None
    try:
        return formula.parse(str(data["quantity"]))
    except formula.FormulaError as error:
        raise PriceError(f"{place}.quantity", str(error)) from None
