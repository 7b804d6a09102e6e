"""Formulas are exact, bounded before they are published, and nothing but arithmetic."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.metering import formula
from marketplace.metering.formula import FormulaError, Interval

RANGES = {
    "inputs.width": Interval(Fraction(64), Fraction(2048)),
    "inputs.seconds": Interval(Fraction(1), Fraction(10)),
    "usage.video_second": Interval(Fraction(0), Fraction(10)),
}


def test_a_formula_is_exact() -> None:
    parsed = formula.parse("0.1 + 0.2 - 3 * inputs.width / 7")
    assert parsed.value({"inputs.width": Fraction(1)}) == Fraction(3, 10) - Fraction(3, 7)
    assert parsed.names == {"inputs.width"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not an expression"),
        ("1 +", "not an expression"),
        ("2 ** 9999999", "does not know"),
        ("inputs.__class__.__mro__", "does not know"),
        ("open('x')", "does not know"),
        ("(lambda: 1)()", "does not know"),
        ("'a' * 9", "does not know"),
        ("True + 1", "does not know"),
        ("1 if inputs.width else 2", "does not know"),
        ("ceil(1, 2)", "does not know"),
        ("min(1)", "does not know"),
        ("secrets.key", "does not know"),
        ("+".join("1" * 300), "longer"),
        ("(" * 40 + "1" + "+1)" * 40, "nested"),
    ],
)
def test_what_is_not_arithmetic_is_refused(text: str, reason: str) -> None:
    with pytest.raises(FormulaError, match=reason):
        formula.parse(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("inputs.height * 2", "inputs.height"),
        ("1 / usage.video_second", "divide by 0"),
        ("1 / (inputs.seconds - 5)", "divide by 0"),
    ],
)
def test_an_unbounded_formula_says_why(text: str, reason: str) -> None:
    with pytest.raises(FormulaError, match=reason):
        formula.parse(text).interval(RANGES)


def test_an_interval_holds_the_extremes() -> None:
    found = formula.parse("inputs.width * (inputs.seconds - 2) / 2").interval(RANGES)
    assert found == Interval(Fraction(-1024), Fraction(8192))


@pytest.mark.parametrize(
    ("text", "grows"),
    [
        ("usage.video_second * inputs.width", True),
        ("ceil(usage.video_second / inputs.seconds) + 3 - inputs.width", True),
        ("max(usage.video_second, inputs.seconds)", True),
        ("10 - usage.video_second", False),
        ("inputs.width / (1 + usage.video_second)", False),
        ("usage.video_second * (inputs.seconds - 5)", False),
    ],
)
def test_a_formula_that_falls_with_usage_is_recognised(text: str, grows: bool) -> None:
    assert formula.grows_with_usage(formula.parse(text), RANGES) is grows


names = st.sampled_from(sorted(RANGES))
leaves = st.one_of(names, st.integers(0, 50).map(str))
texts = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*"), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        st.tuples(st.sampled_from(["min", "max"]), inner, inner).map(
            lambda t: f"{t[0]}({t[1]}, {t[2]})"
        ),
        inner.map(lambda t: f"ceil({t} / 7)"),
    ),
    max_leaves=6,
)


@given(texts, st.data())
def test_every_value_lies_in_the_interval(text: str, data: st.DataObject) -> None:
    parsed = formula.parse(text)
    span = parsed.interval(RANGES)
    values = {
        name: data.draw(st.fractions(r.low, r.high, max_denominator=100), label=name)
        for name, r in RANGES.items()
    }
    assert span.low <= parsed.value(values) <= span.high
