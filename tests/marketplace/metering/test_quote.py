"""Quotes and charges are priced by one function, exactly, and never above the bound."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from marketplace.metering.meter import meter
from marketplace.metering.quote import quote
from marketplace.metering.units import UNITS, Facts, unit_of

FACTS = Facts(
    timeout_seconds=60,
    published={"gpu_seconds_per_step": "0.07", "steps": 20, "tokens": {"image": 4_160}},
)
quantities = st.decimals(0, 500, places=6)
prices = st.decimals(0, 10, places=12).map(lambda d: f"{d:f}")
inputs_of = st.fixed_dictionaries(
    {
        "count": st.integers(1, 4),
        "seconds": st.integers(1, 10),
        "steps": st.integers(4, 50),
        "width": st.integers(64, 2048),
        "height": st.integers(64, 2048),
        "text": st.text(max_size=9),
    }
)
units = st.sampled_from(sorted({*UNITS, "token:image", "gpu_second:h200"} - {"token"}))


def test_a_clip_of_five_seconds_costs_five_times_its_second() -> None:
    priced = quote([{"unit": "video_second", "unit_price": "0.01"}], {"seconds": 5}, FACTS)
    assert (priced.maximum, priced.expected) == (50_000_000, 50_000_000)
    assert priced.lines[0].as_json() == {
        "unit": "video_second",
        "quantity": "5",
        "unit_price": "0.01",
        "amount": "0.05",
    }


def test_compute_is_quoted_by_the_timeout_and_expected_by_the_steps() -> None:
    priced = quote([{"unit": "gpu_second", "unit_price": "0.0001"}], {"steps": 20}, FACTS)
    assert (priced.maximum, priced.expected) == (6_000_000, 140_000)


def test_compute_is_charged_by_the_workers_clock() -> None:
    metered = meter(
        [{"unit": "gpu_second", "unit_price": "0.0001"}],
        {},
        FACTS,
        reported={"gpu_second": Decimal("1.234567")},
        measured={"gpu_second": Decimal("1.9")},
    )
    assert metered.agreed
    assert metered.amount == 123_457  # 123 456.7 nano, half to even


def test_a_worker_that_reports_more_than_passed_waits_for_an_admin() -> None:
    metered = meter(
        [{"unit": "gpu_second", "unit_price": "0.0001"}],
        {},
        FACTS,
        reported={"gpu_second": Decimal(10_272)},
        measured={"gpu_second": Decimal(3)},
    )
    assert (metered.agreed, metered.amount, metered.events[0].quantity) == (False, 0, 0)


def test_three_of_four_pictures_cost_three() -> None:
    three = {"image": Decimal(3)}
    metered = meter(
        [{"unit": "image", "unit_price": "0.002"}], {"count": 4}, FACTS,
        reported=three, measured=three,
    )  # fmt: skip
    assert (metered.agreed, metered.amount) == (True, 6_000_000)


@given(
    unit=units,
    price=prices,
    inputs=inputs_of,
    reported=quantities,
    measured=quantities,
)
def test_a_charge_never_exceeds_its_quote(
    unit: str, price: str, inputs: dict[str, int], reported: Decimal, measured: Decimal
) -> None:
    lines = [{"unit": unit, "unit_price": price}]
    bound = quote(lines, inputs, FACTS)
    metered = meter(lines, inputs, FACTS, reported={unit: reported}, measured={unit: measured})
    assert 0 <= metered.amount <= bound.maximum
    assert 0 <= bound.expected <= bound.maximum
    assert metered.events[0].quantity <= metered.events[0].witnesses.requested


@given(unit=units, price=prices, inputs=inputs_of)
def test_usage_as_expected_costs_what_was_expected(
    unit: str, price: str, inputs: dict[str, int]
) -> None:
    lines = [{"unit": unit, "unit_price": price}]
    used = {unit: unit_of(unit).expected(inputs, FACTS)}
    assert meter(lines, inputs, FACTS, reported=used, measured=used).amount == (
        quote(lines, inputs, FACTS).expected
    )


@given(
    unit=units,
    inputs=inputs_of,
    low=quantities,
    more=st.decimals(0, "0.05", places=6),
)
def test_a_charge_grows_with_what_was_used(
    unit: str, inputs: dict[str, int], low: Decimal, more: Decimal
) -> None:
    lines = [{"unit": unit, "unit_price": "0.01"}]
    small = meter(lines, inputs, FACTS, reported={unit: low}, measured={unit: low})
    high = {unit: low + more}
    large = meter(lines, inputs, FACTS, reported=high, measured=high)
    if small.agreed and large.agreed:
        assert small.amount <= large.amount
