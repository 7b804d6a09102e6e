"""Whatever a lab answers can be read, and what is no figure is none."""

from decimal import Decimal
from typing import Any

import pytest

from partners.reading import at, entries, quantity, text, usage


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "free",
        "NaN",
        "Infinity",
        "-1",
        -0.5,
        "1e12",
        "1e999999",
        True,
        [],
        {},
        float("nan"),
    ],
)
def test_what_is_no_figure_is_none(value: Any) -> None:
    assert quantity(value) is None


@pytest.mark.parametrize(("value", "figure"), [(0, "0"), ("5.1", "5.1"), (10272, "10272")])
def test_a_figure_is_kept_as_it_was_said(value: Any, figure: str) -> None:
    assert quantity(value) == Decimal(figure)


@pytest.mark.parametrize("found", [None, [], {}, "a", 5, {"a": None}, {"a": []}, {"a": {"b": []}}])
def test_a_place_that_is_not_there_is_nothing(found: Any) -> None:
    assert at(found, ("a", "b", 0)) is None
    assert text(found, ("a", "b", 0)) == ""
    assert entries(found, ("a", "b", 0)) == []
    assert usage(found, {"image": ("a", "b", 0)}).quantities == {}


def test_one_thing_where_a_list_could_be_is_a_list_of_one() -> None:
    assert entries({"a": "x"}, ("a",)) == ["x"]
    assert entries({"a": ["x", "y"]}, ("a",)) == ["x", "y"]
