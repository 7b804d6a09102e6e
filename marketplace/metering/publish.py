"""Publish a price version: check that it bounds every run, give notice of a rise, supersede.

A published version is never edited. The one before ends where the new one begins.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from marketplace.catalog.models import Release
from marketplace.errors import Conflict, InvalidInput
from marketplace.metering import formula
from marketplace.metering.formula import Formula, FormulaError, Interval, Ranges
from marketplace.metering.models import Price
from marketplace.metering.quote import PriceLines, counted_units, quote, terms_of
from marketplace.metering.terms import PriceError, Term, Unpriceable
from marketplace.metering.units import Facts, unit_of

CURRENCIES = ("USD",)
MOST_LINES = 20


@transaction.atomic
def publish(
    *,
    release: Release,
    lines: PriceLines,
    effective_from: datetime | None = None,
    currency: str = "USD",
) -> Price:
    """Make `lines` the price of `release` from an instant on, now by default.

    Ends the present version there. A rise of what the defaults cost needs
    `settings.PRICE_NOTICE_DAYS` of notice. Raises InvalidInput naming the place in the lines,
    Conflict where a later version is published already.
    """
    now = timezone.now()
    start = effective_from or now
    check(release, lines, currency)
    if start < now:
        raise InvalidInput("A price cannot begin in the past.", param="effective_from")
    Release.objects.select_for_update().get(pk=release.pk)
    versions = Price.objects.filter(release=release, currency=currency).order_by("-version")
    last = versions.first()
    if last:
        supersede(last, lines, start, now)
    return Price.objects.create(
        release=release,
        currency=currency,
        version=last.version + 1 if last else 1,
        lines=list(lines),
        effective_from=start,
    )


def supersede(last: Price, lines: PriceLines, start: datetime, now: datetime) -> None:
    """End the version before. Raises Conflict, InvalidInput."""
    if last.effective_from >= start:
        raise Conflict(
            f"Version {last.version} begins at {last.effective_from:%Y-%m-%d %H:%M} UTC."
        )
    notice = timedelta(days=settings.PRICE_NOTICE_DAYS)
    if rises(last, lines) and start < now + notice:
        raise InvalidInput(
            f"This price is higher: it needs {notice.days} days of notice.", param="effective_from"
        )
    last.effective_to = start
    last.save(update_fields=["effective_to"])


def rises(last: Price, lines: PriceLines) -> bool:
    """Whether the same run would cost more: with the defaults, and at each row of a table."""
    release = last.release
    return any(
        most(lines, release, inputs) > most(last.lines, release, inputs)
        for inputs in samples(release, last.lines, lines)
    )


def most(lines: PriceLines, release: Release, inputs: Mapping[str, Any]) -> int:
    """The bound of one run; what cannot be bought at all costs nothing."""
    try:
        return quote(lines, inputs, facts_of(release)).maximum
    except Unpriceable:
        return 0


def samples(release: Release, *books: PriceLines) -> list[dict[str, Any]]:
    """The defaults, and the defaults with what each table row and factor asks for."""
    plain = release.defaults()
    cases = [
        dict(case.when)
        for book in books
        for term in terms_of(book)
        for case in (*term.table, *term.factors)
    ]
    return [plain, *({**plain, **when} for when in cases)]


def facts_of(release: Release) -> Facts:
    return Facts(release.timeout_seconds, release.facts)


# ── what can be published ─────────────────────────────────────────────────────────────────────


def check(release: Release, lines: PriceLines, currency: str) -> None:
    """Raises InvalidInput where a run could not be priced, or not be bounded."""
    if currency not in CURRENCIES:
        raise InvalidInput(f"currency must be one of {', '.join(CURRENCIES)}.", param="currency")
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
    """The defaults have to have a price; a schema without them is priced at its first use."""
    try:
        quote(lines, release.defaults(), facts_of(release))
    except Unpriceable as error:
        raise InvalidInput(f"The defaults have no price. {error}", param="lines") from None
    except (KeyError, ArithmeticError):
        return
