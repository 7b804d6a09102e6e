"""Price lines do what they say, exactly, and what is wrong in one is named by its place."""

from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.metering import terms
from marketplace.metering.meter import meter
from marketplace.metering.quote import quote
from marketplace.metering.terms import PriceError, Unpriceable
from marketplace.metering.units import Facts

FACTS = Facts(
    timeout_seconds=300,
    published={"tokens": {"text_in": 1_000, "image_out": 6_240}, "gpu_seconds_per_step": 1},
)
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
FLAT = [
    {
        "unit": "request",
        "table": [
            {"when": {"resolution": "768p", "seconds": 6}, "unit_price": "0.28"},
            {"when": {"resolution": "768p", "seconds": 10}, "unit_price": "0.56"},
            {"when": {"resolution": "1080p", "seconds": 6}, "unit_price": "0.49"},
        ],
    }
]
TOKENS = [
    {"unit": "token:text_in", "unit_price": "0.000005"},
    {"unit": "token:image_out", "unit_price": "0.00004"},
]


def test_no_row_of_the_table_is_refused_not_guessed() -> None:
    with pytest.raises(Unpriceable, match="1080p") as refused:
        quote(FLAT, {"resolution": "1080p", "seconds": 10}, FACTS)
    assert refused.value.param == "inputs.resolution"


@pytest.mark.parametrize(
    ("unit", "inputs", "param"),
    [
        ("video_second", {}, "inputs.seconds"),
        ("megapixel", {}, "inputs.size"),
        ("megapixel", {"size": "auto"}, "inputs"),
        ("training_step", {}, "inputs.steps"),
    ],
)
def test_a_missing_input_is_named_not_guessed(
    unit: str, inputs: dict[str, Any], param: str
) -> None:
    with pytest.raises(Unpriceable) as refused:
        quote([{"unit": unit, "unit_price": "1"}], inputs, FACTS)
    assert refused.value.param == param


def test_graduated_tiers_price_each_part_and_volume_tiers_the_whole() -> None:
    steps = [{"up_to": "10", "unit_price": "0.10"}, {"up_to": None, "unit_price": "0.05"}]
    line = {"unit": "video_second", "tiers": {"mode": "graduated", "steps": steps}}
    assert terms.read(line).amount(Fraction(20), {}, None) == Fraction("1.5")
    line["tiers"] = {"mode": "volume", "steps": steps}
    assert terms.read(line).amount(Fraction(20), {}, None) == 1
    # 8 × 0.10 would cost more than 10 × 0.05: more is never cheaper than less.
    assert terms.read(line).amount(Fraction(8), {}, None) == Fraction("0.5")


def test_minimum_included_and_steps_apply_in_this_order() -> None:
    line = {"unit": "video_second", "unit_price": "1", "minimum": "4", "included": "1", "step": "2"}
    term = terms.read(line)
    assert [term.amount(Fraction(q), {}, None) for q in (1, 4, 6, "6.5")] == [4, 4, 6, 6]


def test_tokens_beyond_the_published_bound_wait_for_an_admin() -> None:
    most = {"token:text_in": Decimal(10), "token:image_out": Decimal(7_000)}
    assert not meter(TOKENS, {}, FACTS, reported=most, measured={}).agreed


@pytest.mark.parametrize(
    ("line", "param"),
    [
        ([], ""),
        ({"unit_price": "1"}, "unit"),
        ({"unit": "image", "tiers": []}, "tiers"),
        ({"unit": "image", "tiers": {"steps": [1]}}, "tiers.steps[0]"),
        ({"unit": "image", "table": [1]}, "table[0]"),
        ({"unit": "image", "table": [{"when": {"a": None}, "unit_price": "1"}]}, "table[0].when"),
        ({"unit": "image"}, "unit_price"),
        ({"unit": "image", "unit_price": 0.1}, "unit_price"),
        ({"unit": "image", "unit_price": "-1"}, "unit_price"),
        ({"unit": "image", "unit_price": "1e5"}, "unit_price"),
        ({"unit": "image", "unit_price": "0.0000000000001"}, "unit_price"),
        ({"unit": "image", "unit_price": "1", "step": "0"}, "step"),
        ({"unit": "image", "unit_price": "1", "step": "-2"}, "step"),
        ({"unit": "image", "unit_price": "1", "rounding": "sideways"}, "rounding"),
        ({"unit": "image", "unit_price": "1", "colour": "red"}, "colour"),
        ({"unit": "image", "tiers": {"mode": "graduated", "steps": [
            {"up_to": "5", "unit_price": "1"}]}}, "tiers.steps[0].up_to"),
        ({"unit": "image", "tiers": {"mode": "graduated", "steps": [
            {"up_to": "5", "unit_price": "1"}, {"up_to": "5", "unit_price": "1"},
            {"up_to": None, "unit_price": "1"}]}}, "tiers.steps[1].up_to"),
        ({"unit": "image", "table": [{"when": {}, "unit_price": "1"}]}, "table[0].when"),
        ({"unit": "image", "unit_price": "1", "factors": [
            {"between": ["22:00", "22:00"], "factor": "1"}]}, "factors[0].between"),
        ({"unit": "image", "unit_price": "1", "quantity": "__import__('os')"}, "quantity"),
    ],
)  # fmt: skip
def test_a_wrong_line_is_refused_with_its_place(line: Any, param: str) -> None:
    with pytest.raises(PriceError) as refused:
        terms.read(line)
    assert refused.value.param == f"line.{param}".rstrip(".")


money = st.decimals(0, 5, places=12).map(lambda d: f"{d:f}")
cuts = st.lists(st.integers(1, 50), unique=True, max_size=3).map(sorted)


@st.composite
def lines(draw: st.DrawFn) -> dict[str, Any]:
    line: dict[str, Any] = {"unit": draw(st.sampled_from(["image", "video_second", "gpu_second"]))}
    if draw(st.booleans()):
        steps = [{"up_to": str(cut), "unit_price": draw(money)} for cut in draw(cuts)]
        steps.append({"up_to": None, "unit_price": draw(money)})
        line["tiers"] = {"mode": draw(st.sampled_from(["graduated", "volume"])), "steps": steps}
    else:
        line["unit_price"] = draw(money)
        line["table"] = [{"when": {"sound": True}, "unit_price": draw(money)}]
    if draw(st.booleans()):
        line["step"] = str(draw(st.integers(1, 7)))
        line["rounding"] = draw(st.sampled_from(["up", "down", "nearest"]))
    line["included"], line["minimum"] = str(draw(st.integers(0, 5))), str(draw(st.integers(0, 5)))
    line["factors"] = [{"when": {"sound": draw(st.booleans())}, "factor": draw(money)}]
    return line


wishes = st.fixed_dictionaries(
    {"count": st.integers(1, 4), "seconds": st.integers(1, 60), "sound": st.booleans()}
)
shares = st.fractions(0, 1, max_denominator=1_000)


@given(st.lists(lines(), min_size=1, max_size=3), wishes, shares, shares)
def test_charges_are_bounded_by_the_quote_and_grow_with_usage(
    book: list[dict[str, Any]], inputs: dict[str, Any], less: Fraction, more: Fraction
) -> None:
    bound = quote(book, inputs, FACTS, NOON)
    less, more = sorted((less, more))
    charges = []
    for share in (less, more):
        used = {
            line.unit: Decimal(int(share * 10**6 * upper)).scaleb(-6)
            for line in bound.lines
            for upper in [line.quantity]
        }
        charges.append(meter(book, inputs, FACTS, reported=used, measured=used, at=NOON).amount)
    assert 0 <= charges[0] <= charges[1] <= bound.maximum
    assert bound.expected <= bound.maximum
