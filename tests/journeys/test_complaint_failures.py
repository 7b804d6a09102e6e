"""Complaint: billed for what failed, was refused, timed out or was lost."""

import base64
from decimal import Decimal
from typing import Any

import pytest
from aiohttp import web as http
from pytest_django import Settings

from marketplace.catalog.models import Release
from marketplace.metering.models import MeterEvent
from marketplace.runs import sweep
from marketplace.runs.margin import margin
from marketplace.runs.models import Run
from marketplace.runs.settle import End
from tests.conftest import Person
from tests.journeys.books import (
    FREE,
    FUNDS,
    SHORT,
    charge,
    delivered,
    drawn,
    money,
    run_of,
    settle,
    written,
)
from tests.lab import Lab, open_lab
from tests.marketplace import worker
from tests.marketplace.supply import SMALL, admit, ended, supplying
from tests.marketplace.web import Client

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_video_that_failed_is_not_charged(
    web: Client, ada: Person, clip: Release, lab: Lab
) -> None:
    inputs = {"prompt": "dusk", "seconds": 2, "behaviour": "fail"} | SHORT
    asked = web.run({"model": "rehearsal/clip", "inputs": inputs}, key=ada.text)
    assert money(ada) == (FUNDS, 20_000_000)
    with supplying():
        run = ended(run_of(asked))
    assert (run.state, run.outcome) == ("failed", "supplier_error")
    assert charge(run.id) == FREE
    assert money(ada) == (FUNDS, 0)
    [used] = web.get("/api/v1/usage", key=ada.text).json["data"]
    assert (used["runs"], used["charged_runs"], used["captured"]["nano"]) == (1, 0, 0)
    assert used["units"] == []
    cost = web.get(asked.json["links"]["self"], key=ada.text).json["cost"]
    assert (cost["state"], cost["captured"]["nano"]) == ("voided", 0)
    assert cost["given_back"]["nano"] == 20_000_000


def test_a_refusal_before_anything_was_made_costs_nothing(
    ada: Person, still: Release, lab: Lab
) -> None:
    with supplying():
        run = ended(admit(ada, **SMALL, count=4, behaviour="refuse"))
    assert (run.state, run.outcome) == ("failed", "refused_before")
    assert charge(run.id) == FREE
    assert money(ada) == (FUNDS, 0)


def test_a_refusal_after_the_lab_made_it_costs_nothing(ada: Person, clip: Release) -> None:
    run_id = admit(ada, "rehearsal/clip", seconds=8)
    refused = End("refused_after", reported={"video_second": Decimal(8)})
    assert settle(*worker.claim(), refused) == "settled"
    assert charge(run_id) == FREE
    assert money(ada) == (FUNDS, 0)
    event = MeterEvent.objects.get()
    assert (event.reported, event.quantity) == (8, 0)  # what the lab claims stays on record


def test_a_timeout_is_refunded_and_a_later_delivery_takes_nothing_back(
    ada: Person, clip: Release, lab: Lab
) -> None:
    Release.objects.filter(pk=clip.pk).update(timeout_seconds=1)
    with supplying():
        asked = SHORT | {"latency_ms": 1, "seconds": 3, "behaviour": "hang"}
        run = ended(admit(ada, "rehearsal/clip", **asked))
    assert (run.state, run.error) == (
        "failed",
        {"code": "timeout", "message": "The lab took too long."},
    )
    assert charge(run.id) == FREE
    assert lab.stats()["cancelled"] == 1
    before = written(ada)
    assert settle(run.id, run.attempt, delivered(3, reported=3)) == "replayed"
    assert written(ada) == before
    assert charge(run.id) == FREE
    assert Run.objects.get().state == "failed"


def test_the_seconds_of_a_lost_worker_are_not_charged(ada: Person, glyph: Release) -> None:
    run_id = admit(ada, "kinora/glyph", prompt="red heart")
    assert worker.claim("cpu.std") == (run_id, 1)
    Run.objects.update(lease_until="2020-01-01T00:00:00Z")
    assert sweep.lapsed_leases() == 1
    assert worker.claim("cpu.std") == (run_id, 2)
    assert settle(run_id, 1, drawn("40", clock="60")) == "stale"
    assert settle(run_id, 2, drawn("0.25", clock="1")) == "settled"
    assert charge(run_id) == ("captured", 25_000)
    assert money(ada) == (FUNDS - 25_000, 0)


def test_a_failure_does_not_block_the_money_of_the_next_run(
    ada: Person, still: Release, lab: Lab
) -> None:
    type(ada.team.accounts.get()).objects.filter(team=ada.team).update(
        credit_limit=2_000_000 - FUNDS  # enough for one picture
    )
    with supplying():
        failed = ended(admit(ada, **SMALL, behaviour="fail"))
        made = ended(admit(ada, **SMALL))
    assert [charge(run.id) for run in (failed, made)] == [FREE, ("captured", 2_000_000)]


def test_what_the_lab_could_not_take_is_refused_before_it_is_asked(
    web: Client, ada: Person, clip: Release, lab: Lab
) -> None:
    before = written(ada)
    for wrong in ({"seconds": 11}, {"resolution": "1080P"}, {"ratio": "16:9"}):
        asked = {"model": "rehearsal/clip", "inputs": {"prompt": "dusk"} | wrong}
        answer = web.run(asked, key=ada.text)
        assert (answer.status, answer.error["param"]) == (422, f"inputs.{next(iter(wrong))}")
    assert written(ada) == before
    assert lab.stats()["posts"] == 0


PLAIN = {"prompt": "dusk"} | SMALL
PAGE = base64.b64encode(b"<html>Payment required</html>").decode()


@pytest.mark.parametrize(
    "answer",
    [
        {"status": "succeeded", "outputs": [{"content_type": "image/png", "data": PAGE}]},
        {"status": "succeeded", "outputs": []},
        {"status": "completed", "outputs": [{"content_type": "image/png", "data": PAGE}]},
    ],
    ids=["a web page for a picture", "nothing", "a word that is not known"],
)
def test_a_lab_that_claims_success_without_a_usable_file_is_not_paid(
    ada: Person, still: Release, settings: Settings, answer: dict[str, Any]
) -> None:
    async def posted(_: http.Request) -> http.Response:
        return http.json_response({"id": "job_1", "usage": {"images": 1}} | answer, status=201)

    app = http.Application()
    app.add_routes([http.post("/v1/jobs", posted)])
    with open_lab(app) as swindler:
        settings.REHEARSAL_URL = swindler.url
        with supplying():
            run = ended(admit(ada, **SMALL))
    assert (run.state, run.outcome, run.outputs.count()) == ("failed", "supplier_error", 0)
    assert charge(run.id) == FREE
    assert money(ada) == (FUNDS, 0)


def test_a_timeout_is_refunded_although_its_lab_bills_what_it_had_begun(
    ada: Person, clip: Release, lab: Lab
) -> None:
    Release.objects.filter(pk=clip.pk).update(timeout_seconds=1)
    with supplying():
        asked = SHORT | {"latency_ms": 1, "seconds": 3, "behaviour": "hang"}
        run = ended(admit(ada, "rehearsal/clip", **asked))
    assert charge(run.id) == FREE
    assert money(ada) == (FUNDS, 0)
    found = margin(run.id)  # three seconds at the lab's $0.006 are ours
    assert (found["charged"], found["cost"], found["margin"]) == (0, 18_000_000, -18_000_000)


def test_a_run_that_nobody_asks_after_is_settled_all_the_same(
    web: Client, ada: Person, still: Release, lab: Lab
) -> None:
    asked = [web.run({"model": "rehearsal/still", "inputs": PLAIN | more}, key=ada.text)
             for more in ({}, {"behaviour": "fail"})]  # fmt: skip
    with supplying():  # from here on no client says a word
        made, failed = (ended(run_of(answer)) for answer in asked)
    assert [charge(run.id) for run in (made, failed)] == [("captured", 2_000_000), FREE]
    assert money(ada) == (FUNDS - 2_000_000, 0)
