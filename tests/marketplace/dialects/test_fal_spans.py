"""Spans of time as a place's clocks have them."""

from datetime import UTC, datetime, timedelta

import pytest

from marketplace.dialects.fal_spans import bound, chosen, first, last
from marketplace.errors import InvalidInput

AT = datetime(2026, 11, 20, 23, 30, 15, 7, UTC)
ZURICH = "Europe/Zurich"


@pytest.mark.parametrize(
    ("span", "zone", "began", "ended"),
    [
        ("minute", "UTC", "2026-11-20T23:30+00:00", "2026-11-20T23:31+00:00"),
        ("hour", "UTC", "2026-11-20T23:00+00:00", "2026-11-21T00:00+00:00"),
        ("hour", "Asia/Kolkata", "2026-11-21T05:00+05:30", "2026-11-21T06:00+05:30"),
        ("day", ZURICH, "2026-11-21T00:00+01:00", "2026-11-22T00:00+01:00"),
        ("week", ZURICH, "2026-11-16T00:00+01:00", "2026-11-23T00:00+01:00"),
        ("month", "UTC", "2026-11-01T00:00+00:00", "2026-12-01T00:00+00:00"),
    ],
)
def test_a_span_begins_and_ends_where_the_clocks_say(
    span: str, zone: str, began: str, ended: str
) -> None:
    assert first(AT, span, zone) == datetime.fromisoformat(began)
    assert last(AT, span, zone) == datetime.fromisoformat(ended)
    assert last(first(AT, span, zone), span, zone) == first(AT, span, zone)


def test_a_day_may_have_23_or_25_hours() -> None:
    for day, hours in ((datetime(2026, 3, 29, 12, tzinfo=UTC), 23),
                       (datetime(2026, 10, 25, 12, tzinfo=UTC), 25)):  # fmt: skip
        began, ended = first(day, "day", ZURICH), last(day, "day", ZURICH)
        assert ended.astimezone(UTC) - began.astimezone(UTC) == timedelta(hours=hours)


def test_wrong_words_are_named() -> None:
    for query, param in (({"timeframe": "year"}, "timeframe"), ({"timezone": "Mars"}, "timezone")):
        with pytest.raises(InvalidInput) as fault:
            chosen(query)
        assert fault.value.param == param
    with pytest.raises(InvalidInput) as fault:
        bound({"bound_to_timeframe": "perhaps"})
    assert fault.value.param == "bound_to_timeframe"
