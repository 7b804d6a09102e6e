"""Complaint: the price moved under a run, or the bill says another figure than the meter."""

from decimal import Decimal
from typing import Any

import pytest
from pytest_django import Settings

from marketplace.catalog.models import Release
from marketplace.errors import InvalidInput
from marketplace.ledger.models import Entry
from marketplace.metering.models import Price
from marketplace.metering.publish import publish
from tests.conftest import Person
from tests.journeys.books import (
    FUNDS,
    SHORT,
    charge,
    delivered,
    money,
    run_of,
    settle,
    written,
)
from tests.lab import Lab
from tests.marketplace import worker
from tests.marketplace.supply import SMALL, admit, ended, supplying, until
from tests.marketplace.web import Answer, Client

pytestmark = pytest.mark.django_db(transaction=True)

CLIP: dict[str, Any] = {"model": "rehearsal/clip", "inputs": {"prompt": "dusk"}}
DEARER = [{"unit": "video_second", "unit_price": "0.08"}]  # for 0.01


def test_a_price_that_rises_while_a_run_waits_does_not_reach_it(
    ada: Person, clip: Release, settings: Settings
) -> None:
    settings.PRICE_NOTICE_DAYS = 0
    older = admit(ada, "rehearsal/clip", seconds=5)
    publish(release=clip, lines=DEARER)
    newer = admit(ada, "rehearsal/clip", seconds=5)
    for _ in range(2):
        assert settle(*worker.claim(), delivered(5, reported=5)) == "settled"
    assert charge(older) == ("captured", 50_000_000)
    assert charge(newer) == ("captured", 400_000_000)
    assert money(ada) == (FUNDS - 450_000_000, 0)


def test_a_binding_quote_outlives_the_price_that_it_was_made_at(
    web: Client, ada: Person, clip: Release, settings: Settings
) -> None:
    settings.PRICE_NOTICE_DAYS = 0
    quote = web.call("POST", "/api/v1/quotes", CLIP, key=ada.text).json
    publish(release=clip, lines=DEARER)

    def sold_dearer() -> bool:
        """The API remembers the old price for two seconds."""
        plain = web.run(CLIP, key=ada.text).json
        web.call("POST", plain["links"]["cancel"], key=ada.text)
        return bool(plain["cost"]["quoted"]["nano"] == 400_000_000)

    until(sold_dearer)
    bound = web.run(CLIP | {"quote": quote["id"], "max_cost": "0.05"}, key=ada.text)
    assert bound.json["cost"]["quoted"] == quote["maximum"]
    assert settle(*worker.claim(), delivered(5, reported=5)) == "settled"
    assert charge(run_of(bound)) == ("captured", 50_000_000)
    assert money(ada) == (FUNDS - 50_000_000, 0)


def test_a_price_does_not_rise_without_notice(ada: Person, clip: Release) -> None:
    run_id = admit(ada, "rehearsal/clip", seconds=5)
    before = written(ada)
    with pytest.raises(InvalidInput, match="14 days"):
        publish(release=clip, lines=DEARER)
    assert (written(ada), Price.objects.count()) == (before, 1)
    assert settle(*worker.claim(), delivered(5, reported=5)) == "settled"
    assert charge(run_id) == ("captured", 50_000_000)


def test_who_never_asks_again_is_charged_the_same_and_finds_the_result(
    web: Client, ada: Person, still: Release, lab: Lab
) -> None:
    asked = web.run(
        {"model": "rehearsal/still", "inputs": {"prompt": "dusk"} | SMALL}, key=ada.text
    )
    with supplying():
        run_id = ended(run_of(asked)).id  # looked at in the database; the client stays silent
    assert charge(run_id) == ("captured", 2_000_000)
    assert money(ada) == (FUNDS - 2_000_000, 0)
    [found] = web.get("/api/v1/runs", key=ada.text).json["data"]
    assert found["cost"]["captured"]["nano"] == 2_000_000
    assert [output["width"] for output in found["outputs"]] == [64]


def view(web: Client, person: Person, path: str) -> Any:
    answer: Answer = web.get(path, key=person.text)
    assert answer.status == 200
    return answer.json


def test_run_receipt_usage_and_balance_agree_to_the_nano(
    web: Client, ada: Person, still: Release, clip: Release, lab: Lab
) -> None:
    with supplying():
        made = [
            ended(admit(ada, "rehearsal/clip", **SHORT, seconds=3)),
            ended(admit(ada, **SMALL, count=4, behaviour="partial")),
            ended(admit(ada, **SMALL, behaviour="fail")),
        ]
    listed = view(web, ada, "/api/v1/runs")["data"]
    runs = {run["id"]: run["cost"]["captured"]["nano"] for run in listed}
    receipts = [view(web, ada, f"/api/v1/runs/{name}/receipt") for name in runs]
    usage = view(web, ada, "/api/v1/usage")["data"]
    balance = view(web, ada, "/api/v1/balance")

    assert sorted(runs.values()) == [0, 6_000_000, 30_000_000]
    assert {r["run"]: r["cost"]["captured"]["nano"] for r in receipts} == runs
    assert {line["model"]: line["captured"]["nano"] for line in usage} == {
        "rehearsal/clip": 30_000_000,
        "rehearsal/still": 6_000_000,
    }
    assert (balance["available"]["nano"], balance["held"]["nano"]) == (FUNDS - 36_000_000, 0)
    assert sum(charge(run.id)[1] for run in made) == 36_000_000


def test_a_receipt_can_be_recomputed_from_what_it_says(
    web: Client, ada: Person, clip: Release
) -> None:
    admit(ada, "rehearsal/clip", seconds=7)
    assert settle(*worker.claim(), delivered(6, reported=6)) == "settled"
    [run] = view(web, ada, "/api/v1/runs")["data"]
    receipt = view(web, ada, run["links"]["receipt"])
    [line], [price], [used] = receipt["lines"], receipt["price"]["lines"], receipt["usage"]
    amount = Decimal(used["charged"]) * Decimal(price["unit_price"])
    assert amount == Decimal(line["amount"]) == Decimal(receipt["cost"]["captured"]["amount"])
    assert receipt["cost"]["captured"]["nano"] == 60_000_000
    assert receipt["cost"]["given_back"]["nano"] == 10_000_000
    before, after = (receipt[f"balance_{when}"]["nano"] for when in ("before", "after"))
    assert (before, after) == (FUNDS, FUNDS - 60_000_000)
    moved = [entry["amount"]["nano"] for entry in receipt["entries"]]
    assert sorted(moved) == [-60_000_000, 60_000_000]
    assert Entry.objects.filter(transfer__kind="charge").count() == 2
