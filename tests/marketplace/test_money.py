"""Nano-units in and out of text, exactly."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.money import LARGEST, Money, nano, parse, plain, shown


@given(st.integers(0, LARGEST))
def test_plain_text_round_trips(amount: int) -> None:
    assert parse(plain(amount)) == amount


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("-1", "negative"),
        ("NaN", "finite"),
        ("Infinity", "finite"),
        ("1e308", "at most"),
        ("0.0000000001", "9 decimal places"),
        ("five", "decimal number"),
        ("", "decimal number"),
    ],
)
def test_a_wrong_amount_is_refused_with_its_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse(text)


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "$0.00"),
        (4_200_000, "$0.0042"),
        (123_457, "$0.00012"),
        (50_000_000, "$0.05"),
        (12_500_000, "$0.0125"),
        (1_000_000_000, "$1.00"),
        (1_234_567_890_000, "$1,234.57"),
        (-50_000_000, "−$0.05"),
        (999_999_999, "$1.00"),
    ],
)
def test_a_page_shows_as_many_digits_as_say_something(amount: int, text: str) -> None:
    assert shown(amount) == text


def test_rounding_is_half_to_even_and_once() -> None:
    assert nano(Decimal("0.0000000025")) == 2
    assert nano(Decimal("0.0000000035")) == 4


def test_an_amount_says_itself_in_three_ways() -> None:
    assert Money(6_000_000).as_json() == {"amount": "0.006", "currency": "USD", "nano": 6_000_000}
