"""What can be published: lines that price and bound every run the release's schema allows.

Each refusal names the place in the lines and says what is allowed. Pure but for its errors.
"""

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from marketplace.catalog.models import Release
from marketplace.errors import InvalidInput
from marketplace.metering import formula
from marketplace.metering.formula import Formula, FormulaError, Interval, Ranges
from marketplace.metering.quote import PriceLines, counted_units, quote, terms_of
from marketplace.metering.sample import plain
from marketplace.metering.terms import PriceError, Term, Unpriceable
from marketplace.metering.units import Facts, unit_of

SOLD = ("USD",)
DECIMALS = {"BIF": 0, "CLP": 0, "JPY": 0, "KRW": 0, "UGX": 0, "VND": 0, "XAF": 0, "XOF": 0} | {
    "BHD": 3, "IQD": 3, "JOD": 3, "KWD": 3, "LYD": 3, "OMR": 3, "TND": 3,
}  # fmt: skip
MOST_LINES = 20


def check(release: Release, lines: PriceLines, currency: str) -> None:
    """Raises InvalidInput where a run could not be priced, or not be bounded."""
    check_currency(currency)
    if not isinstance(lines, list) or not 1 <= len(lines) <= MOST_LINES:
        raise InvalidInput(f"lines must be a list of 1 to {MOST_LINES}.", param="lines")
    try:
        terms = terms_of(lines)
        for unit in counted_units(lines):
            unit_of(unit)
    except PriceError as error:
        raise InvalidInput(f"{error}.", param=error.param) from None
    except KeyError as error:
        raise InvalidInput(f"There is no unit {error}.", param="lines") from None
    for n, term in enumerate(terms):
        check_term(release, term, f"lines[{n}]")
    check_default(release, lines)


def check_currency(currency: str) -> None:
    """Top-ups, invoices and payouts are made in hundredths of a currency, whatever a run costs."""
    if currency in SOLD:
        return
    sold = f"Prices are in {', '.join(SOLD)}."
    places = DECIMALS.get(currency)
    if places is None:
        raise InvalidInput(f"{currency[:3]} is not sold here. {sold}", param="currency")
    raise InvalidInput(
        f"{currency} has {places} decimals, and money comes in and goes out in hundredths: its"
        f" cents would be wrong by a factor of {100 if places == 0 else 10}. {sold}",
        param="currency",
    )


def check_term(release: Release, term: Term, place: str) -> None:
    properties = release.input_schema.get("properties", {})
    for name in {name for case in (*term.table, *term.factors) for name in case.when}:
        if name not in properties:
            raise InvalidInput(f"{name} is no input of {release}.", param=place)
    if term.quantity is None:
        return
    try:
        prove(term.quantity, ranges_of(release, term.quantity.names))
    except FormulaError as error:
        raise InvalidInput(f"{place}.quantity {error}.", param=f"{place}.quantity") from None


def prove(quantity: Formula, ranges: Ranges) -> None:
    """Raises FormulaError where the quantity has no bound, or more usage could cost less."""
    if quantity.interval(ranges).low < 0:
        raise FormulaError("can be negative")
    if not formula.grows_with_usage(quantity, ranges):
        raise FormulaError("can fall when more is used")


def ranges_of(release: Release, names: frozenset[str]) -> dict[str, Interval]:
    """An interval for each name that has one: from the schema, or from the unit's bound."""
    found = {}
    for name in names:
        family, _, word = name.partition(".")
        span = of_input(release, word) if family == "inputs" else of_usage(release, word)
        if span:
            found[name] = span
    return found


def of_input(release: Release, name: str) -> Interval | None:
    """A required or defaulted number with a minimum and a maximum, or a list of numbers."""
    schema = release.input_schema
    declared = schema.get("properties", {}).get(name, {})
    if "default" not in declared and name not in schema.get("required", []):
        return None
    if declared.get("type") == "boolean":
        return Interval(Fraction(0), Fraction(1))
    numbers = declared.get("enum") or [declared.get("minimum"), declared.get("maximum")]
    if not all(isinstance(n, int | float) for n in numbers):
        return None
    exact = [Fraction(str(n)) for n in numbers]
    return Interval(min(exact), max(exact))


def of_usage(release: Release, unit: str) -> Interval | None:
    """From 0 to the unit's bound for the largest inputs that the schema allows."""
    largest = {name: biggest(d) for name, d in release.input_schema.get("properties", {}).items()}
    try:
        bound = unit_of(unit).upper_bound(
            {name: value for name, value in largest.items() if value is not None},
            facts_of(release),
        )
    except (KeyError, ArithmeticError):
        return None
    return Interval(Fraction(0), Fraction(bound))


def biggest(declared: Mapping[str, Any]) -> Any:
    numbers = [n for n in declared.get("enum", []) if isinstance(n, int | float)]
    return declared.get("maximum", max(numbers, default=None))


def check_default(release: Release, lines: PriceLines) -> None:
    """Whoever fills in only what is required has to have a price, and a bound."""
    try:
        quote(lines, plain(release.input_schema), facts_of(release))
    except Unpriceable as error:
        raise InvalidInput(f"The defaults have no price. {error}", param="lines") from None


def facts_of(release: Release) -> Facts:
    return Facts(release.timeout_seconds, release.facts)
