"""Which span of time fal's figures are of, and by which spans they are summed. Pure."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

from marketplace.errors import InvalidInput
from marketplace.runs.history import SPANS

SMALL = {"microsecond": 0, "second": 0}
ZEROES = {
    "minute": SMALL,
    "hour": SMALL | {"minute": 0},
    "day": SMALL | {"minute": 0, "hour": 0},
    "week": SMALL | {"minute": 0, "hour": 0},
    "month": SMALL | {"minute": 0, "hour": 0, "day": 1},
}
# Longer than the span, whatever clocks do in it, and shorter than two.
AHEAD = {
    "minute": timedelta(seconds=61),
    "hour": timedelta(minutes=61),
    "day": timedelta(hours=26),
    "week": timedelta(days=8),
    "month": timedelta(days=32),
}
TRUTH = {"true": True, "1": True, "false": False, "0": False}


def chosen(query: Mapping[str, str]) -> tuple[str, str]:
    """The span and the time zone that it is counted in. Raises InvalidInput."""
    span, zone = query.get("timeframe", "hour"), query.get("timezone", "UTC")
    if span not in SPANS:
        raise InvalidInput(f"timeframe must be one of {', '.join(SPANS)}.", param="timeframe")
    if zone not in available_timezones():
        raise InvalidInput("timezone must be a name such as Europe/Zurich.", param="timezone")
    return span, zone


def bound(query: Mapping[str, str]) -> bool:
    """Whether only whole spans are meant, as they are unless the query says no."""
    said = query.get("bound_to_timeframe", "true").lower()
    if said not in TRUTH:
        raise InvalidInput("bound_to_timeframe must be true or false.", param="bound_to_timeframe")
    return TRUTH[said]


def first(at: datetime, span: str, zone: str) -> datetime:
    """When the span began that `at` is in."""
    local = at.astimezone(ZoneInfo(zone)).replace(fold=0, **ZEROES[span])  # type: ignore[arg-type]
    return local - timedelta(days=local.weekday()) if span == "week" else local


def last(at: datetime, span: str, zone: str) -> datetime:
    """When the span ends that `at` is in; `at` itself where that is a boundary."""
    began = first(at, span, zone)
    return at if began == at else first(began + AHEAD[span], span, zone)
