"""What is owed, from what happened: pure, over all outcomes."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.media.probe import Measures
from marketplace.runs.settle import Case, End, Kept, item

PER_IMAGE = {"succeeded": "delivered", "partial": "delivered"}
RUN = UUID("01900000-0000-7000-8000-000000000000")
MOST_IMAGES = 4


def case(unit: str = "image", price: str = "0.002", held: int = 8_000_000, **policy: str) -> Case:
    return Case(
        run_id=RUN,
        attempt=1,
        model="rehearsal/still",
        inputs={"prompt": "dusk", "count": MOST_IMAGES, "seconds": 5},
        output_kind="image",
        content_type="image/png",
        timeout_seconds=60,
        facts={},
        policy=PER_IMAGE | policy,
        price_lines=[{"unit": unit, "unit_price": price}],
        currency="USD",
        held=held,
        created_at=datetime(2026, 11, 20, tzinfo=UTC),
    )


def pictures(count: int) -> tuple[Kept, ...]:
    found = Measures("image", "image/png", 64, 64, "png")
    return tuple(Kept(f"{n}.png", 100, "ab" * 32, found) for n in range(count))


def settled(reported: int, delivered: int, outcome: str = "succeeded") -> dict[str, Any]:
    end = End(outcome, pictures(delivered), reported={"image": Decimal(reported)})
    return item(case(), end)


def test_agreeing_witnesses_are_captured_and_shared_without_remainder() -> None:
    hold = settled(4, 4)["hold"]
    assert (hold["state"], hold["amount"]) == ("captured", 8_000_000)
    assert hold["shares"] == [{"account": "revenue:rehearsal/still", "amount": 8_000_000}]


def test_fewer_pictures_than_asked_for_are_a_partial_success() -> None:
    found = settled(3, 3)
    assert (found["state"], found["outcome"]) == ("succeeded", "partial")
    assert found["hold"]["amount"] == 6_000_000


@given(reported=st.integers(0, 20), delivered=st.integers(1, MOST_IMAGES))
def test_only_what_was_delivered_is_ever_charged(reported: int, delivered: int) -> None:
    hold = settled(reported, delivered)["hold"]
    if reported == delivered:
        assert (hold["state"], hold["amount"]) == ("captured", delivered * 2_000_000)
    else:
        assert (hold["state"], hold["amount"]) == ("in_review", 0)


@pytest.mark.parametrize(
    "outcome",
    ["invalid_input", "refused_before", "refused_after", "supplier_error", "our_error"],
)
def test_a_failure_is_free_and_its_facts_are_kept(outcome: str) -> None:
    found = settled(4, 0, outcome)
    assert (found["state"], found["hold"]["state"]) == ("failed", "voided")
    assert [(e["quantity"], e["reported"]) for e in found["events"]] == [("0", "4")]


@pytest.mark.parametrize(("policy", "charged"), [("nothing", 0), ("until_cancel", 250_000)])
def test_a_cancelled_compute_run_is_charged_as_its_release_says(policy: str, charged: int) -> None:
    end = End(
        "cancelled_after",
        reported={"gpu_second": Decimal("2.5")},
        measured_seconds=Decimal("3.1"),
    )
    told = case("gpu_second", "0.0001", cancelled_after=policy)
    found = item(replace(told, cancel_seconds=Decimal(3)), end)
    assert found["hold"]["amount"] == charged
    assert found["state"] == "cancelled"


@pytest.mark.parametrize(
    ("cancelled_at", "charged"),
    [("0.4", 240_000), ("7", 500_000), ("-3", 0), (None, 200_000)],
    ids=["2 s beyond it", "all of it", "before the attempt", "nobody knows when"],
)
def test_what_a_slow_worker_computes_beyond_a_cancel_is_ours(
    cancelled_at: str | None, charged: int
) -> None:
    end = End(
        "cancelled_after", reported={"gpu_second": Decimal(5)}, measured_seconds=Decimal("5.5")
    )
    told = case("gpu_second:h200", "0.0001", cancelled_after="until_cancel")
    asked = replace(told, cancel_seconds=None if cancelled_at is None else Decimal(cancelled_at))
    found = item(asked, end)
    assert found["hold"]["amount"] == charged
    [event] = found["events"]
    assert (event["unit"], event["reported"]) == ("gpu_second:h200", "5")
    assert Decimal(event["quantity"]) * 100_000 == charged


def test_a_cancel_of_which_no_worker_told_is_free() -> None:
    found = item(
        case("gpu_second", "0.0001", cancelled_after="until_cancel"), End("cancelled_after")
    )
    assert found["hold"]["state"] == "voided"


def test_a_part_is_free_where_the_matrix_says_so() -> None:
    end = End("succeeded", pictures(3), reported={"image": Decimal(3)})
    found = item(case(partial="nothing"), end)
    assert (found["outcome"], found["hold"]["state"]) == ("partial", "voided")


@given(seconds=st.decimals(0, 1000, places=6), clock=st.decimals(0, 1000, places=6))
def test_no_charge_is_above_the_hold(seconds: Decimal, clock: Decimal) -> None:
    end = End("succeeded", pictures(4), reported={"gpu_second": seconds}, measured_seconds=clock)
    assert item(case("gpu_second", "0.0001", held=1_000_000), end)["hold"]["amount"] <= 1_000_000


def test_a_refusal_after_work_costs_its_fee_alone() -> None:
    lines = [{"unit": "image", "unit_price": "0.07"}, {"unit": "rejection", "unit_price": "0.05"}]
    agreed = replace(case(refused_after="fee", held=280_000_000), price_lines=lines)
    refused = item(agreed, End("refused_after"))
    assert refused["hold"]["amount"] == 50_000_000
    assert {e["unit"]: e["quantity"] for e in refused["events"]} == {"image": "0", "rejection": "1"}
    made = item(agreed, End("succeeded", pictures(4), reported={"image": Decimal(4)}))
    assert made["hold"]["amount"] == 280_000_000
