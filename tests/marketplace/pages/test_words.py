"""Times, durations, quantities and sizes are said in one way."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from marketplace.pages import words
from marketplace.pages.wheel import lit_leaves, wheel

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "just now"),
        (-4, "just now"),
        (59, "59 s ago"),
        (60, "1 min ago"),
        (7_199, "1 h ago"),
        (29 * 86_400, "29 d ago"),
        (31 * 86_400, "20 Oct 2026"),
        (-30 * 86_400, "in 30 d"),
    ],
)
def test_a_time_is_said_from_now(seconds: int, said: str) -> None:
    assert words.ago(NOW - timedelta(seconds=seconds), NOW) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.045, "45 ms"),
        (0.0996, "0.1 s"),
        (1.34, "1.3 s"),
        (59.96, "1 min 00 s"),
        (124, "2 min 04 s"),
        (12_000, "3 h 20 min"),
    ],
)
def test_a_duration_is_said_in_its_unit(seconds: float, said: str) -> None:
    assert words.lasted(seconds) == words.lasted(timedelta(seconds=seconds)) == said


def test_a_quantity_has_no_needless_zeros_and_silence_is_a_dash() -> None:
    assert words.quantity(Decimal("5.000000")) == "5"
    assert words.quantity("0.812300") == "0.8123"
    assert words.quantity(Decimal(60)) == "60"
    assert words.quantity(None) == "–"


@pytest.mark.parametrize(
    ("count", "said"), [(812, "812 B"), (48_200, "48 kB"), (3_140_000, "3.1 MB")]
)
def test_bytes_are_said_in_their_size(count: int, said: str) -> None:
    assert words.size(count) == said


def test_leaves_are_lit_from_the_first_step_to_all_at_the_last() -> None:
    assert [lit_leaves(step, 20) for step in (0, 1, 10, 19, 20)] == [0, 1, 6, 12, 12]
    assert lit_leaves(3, 0) == 0


def test_the_wheel_has_twelve_leaves() -> None:
    drawn = wheel(3)
    assert drawn.count("<rect") == 12
    assert drawn.count('class="lit"') == 3
