"""Read what a lab answered, which may be anything at all. Nothing here raises."""

import logging
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from partners.contract import Usage

log = logging.getLogger(__name__)

Place = tuple[str | int, ...]
MOST = 10**12  # of any unit; a column of usage holds fourteen digits before the point
REASON = 300  # characters of a lab's words that a customer gets to see


def at(found: Any, place: Place) -> Any:
    """What lies at `place`, names into objects and indices into lists; None where nothing does."""
    for step in place:
        if isinstance(found, dict):
            found = found.get(step)
        elif isinstance(found, list) and isinstance(step, int) and step < len(found):
            found = found[step]
        else:
            return None
    return found


def text(found: Any, place: Place) -> str:
    """A string or a whole number as a string; empty for all else."""
    value = at(found, place)
    plain = isinstance(value, str | int) and not isinstance(value, bool)
    return str(value) if plain else ""


def texts(found: Any, places: tuple[Place, ...]) -> str:
    """All that is said at these places, as a lab spreads a reason over code and words."""
    return " ".join(filter(None, (text(found, place) for place in places)))[:REASON]


def entries(found: Any, place: Place) -> list[Any]:
    """A list, or the one thing that stands where a list could; empty where nothing does."""
    value = at(found, place)
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def quantity(value: Any) -> Decimal | None:
    """A figure that can be one of usage: a number, not negative, of a size that can be kept."""
    try:
        figure = Decimal(str(value))
    except InvalidOperation:
        return None
    return figure if figure.is_finite() and 0 <= figure < MOST else None


def usage(found: Any, places: Mapping[str, Place]) -> Usage:
    """What the lab says was used. A figure that is none is left out, for the file to be measured:
    a customer whose file arrived does not lose it over the lab's bookkeeping."""
    said: dict[str, Decimal] = {}
    for unit, place in places.items():
        value = at(found, place)
        figure = quantity(value)
        if figure is not None:
            said[unit] = figure
        elif value is not None:
            log.warning("a lab reported %.40r as its %s", value, unit)
    return Usage(said)
