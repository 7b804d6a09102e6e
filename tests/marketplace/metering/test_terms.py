"""Price lines express what the market charges for, and refuse what cannot be bounded."""

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
NIGHT = datetime(2026, 11, 20, 23, tzinfo=UTC)

LTX = [
    {
        "unit": "video_second",
        "table": [
            {"when": {"resolution": "1080p"}, "unit_price": "0.04"},
            {"when": {"resolution": "1440p"}, "unit_price": "0.08"},
            {"when": {"resolution": "2160p"}, "unit_price": "0.16"},
        ],
    }
]
SOUND = [
    {
        "unit": "video_second",
        "unit_price": "0.10",
        "factors": [{"when": {"sound": True}, "factor": "1.5"}],
    }
]
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
SEEDANCE = [
    {
        "unit": "token",
        "quantity": "inputs.height * inputs.width * (inputs.video_seconds + usage.video_second)"
        " * 24 / 1024",
        "unit_price": "0.000007",
        "factors": [{"when": {"has_video": True}, "factor": "0.6"}],
    }
]
TOKENS = [
    {"unit": "token:text_in", "unit_price": "0.000005"},
    {"unit": "token:image_out", "unit_price": "0.00004"},
]
OFF_PEAK = [
    {
        "unit": "video_second",
        "unit_price": "0.05",
        "factors": [{"between": ["22:00", "06:00"], "factor": "0.5"}],
    }
]
SURCHARGE = [
    {"unit": "video_second", "unit_price": "0.10"},
    {"unit": "image", "quantity": "inputs.references", "unit_price": "0.02"},
]


@pytest.mark.parametrize(
    ("lines", "inputs", "at", "nano"),
    [
        ([{"unit": "image", "unit_price": "0.002"}], {"count": 3}, NOON, 6_000_000),
        (
            [{"unit": "megapixel", "unit_price": "0.03", "step": "1", "rounding": "up"}],
            {"width": 1024, "height": 1024},
            NOON,
            60_000_000,
        ),
        ([{"unit": "megapixel", "unit_price": "0.03"}], {"size": "1000x500"}, NOON, 15_000_000),
        (LTX, {"resolution": "1440p", "seconds": 8}, NOON, 640_000_000),
        (SOUND, {"seconds": 5, "sound": True}, NOON, 750_000_000),
        (SOUND, {"seconds": 5, "sound": False}, NOON, 500_000_000),
        (FLAT, {"resolution": "768p", "seconds": 10}, NOON, 560_000_000),
        (
            SEEDANCE,
            {"height": 720, "width": 1280, "seconds": 5, "video_seconds": 0, "has_video": False},
            NOON,
            756_000_000,
        ),
        (
            SEEDANCE,
            {"height": 720, "width": 1280, "seconds": 5, "video_seconds": 5, "has_video": True},
            NOON,
            907_200_000,
        ),
        (TOKENS, {}, NOON, 254_600_000),
        ([{"unit": "gpu_second:h200", "unit_price": "0.001295"}], {}, NOON, 388_500_000),
        ([{"unit": "character", "unit_price": "0.00003"}], {"text": "e\u0301t"}, NOON, 60_000),
        ([{"unit": "audio_second", "unit_price": "0.0001"}], {"seconds": 30}, NOON, 3_000_000),
        ([{"unit": "training_step", "unit_price": "0.002"}], {"steps": 1000}, NOON, 2_000_000_000),
        (OFF_PEAK, {"seconds": 4}, NOON, 200_000_000),
        (OFF_PEAK, {"seconds": 4}, NIGHT, 100_000_000),
        (SURCHARGE, {"seconds": 5, "references": 2}, NOON, 540_000_000),
    ],
)
def test_the_markets_units_are_priced(
    lines: list[dict[str, Any]], inputs: dict[str, Any], at: datetime, nano: int
) -> None:
    assert quote(lines, inputs, FACTS, at).maximum == nano


def test_no_row_of_the_table_is_refused_not_guessed() -> None:
    with pytest.raises(Unpriceable, match="1080p"):
        quote(FLAT, {"resolution": "1080p", "seconds": 10}, FACTS)


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
def test_a_wrong_line_is_refused_with_its_place(line: dict[str, Any], param: str) -> None:
    with pytest.raises(PriceError) as refused:
        terms.read(line)
    assert refused.value.param == f"line.{param}"


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
