"""Complaint: one click, several jobs, several bills; or an old attempt that settles a new one."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection

from marketplace.catalog.models import Release
from marketplace.ledger.models import Hold
from marketplace.metering.models import MeterEvent
from marketplace.runs import sweep
from marketplace.runs.models import Run
from marketplace.runs.settle import failed
from tests.conftest import Person
from tests.journeys.books import (
    FREE,
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
from tests.marketplace.web import Client

pytestmark = pytest.mark.django_db(transaction=True)

CLICKS = 8
ASKED: dict[str, Any] = {"model": "rehearsal/still", "inputs": {"prompt": "dusk"} | SMALL}


def cancel(person: Person, run: Run) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT state FROM cancel_run(%s, %s)", [run.id, person.team.id])


def lapse() -> None:
    Run.objects.update(lease_until="2020-01-01T00:00:00Z")
    assert sweep.lapsed_leases() == 1


def test_one_click_sent_four_times_is_one_job_and_one_bill(
    web: Client, ada: Person, still: Release, lab: Lab
) -> None:
    answers = [web.run(ASKED, key=ada.text, once="click-1") for _ in range(3)]
    with supplying():
        run = ended(run_of(answers[0]))
    answers.append(web.run(ASKED, key=ada.text, once="click-1"))  # also when it has ended
    assert [answer.status for answer in answers] == [201, 200, 200, 200]
    assert {run_of(answer) for answer in answers} == {run.id}
    assert lab.stats()["jobs"] == 1
    assert charge(run.id) == ("captured", 2_000_000)
    assert money(ada) == (FUNDS - 2_000_000, 0)


def test_one_click_sent_eight_times_at_once_holds_money_once(
    web: Client, ada: Person, still: Release
) -> None:
    with ThreadPoolExecutor(CLICKS) as threads:
        asked = threads.map(lambda _: web.run(ASKED, key=ada.text, once="click-1"), range(CLICKS))
        answers = list(asked)
    assert sorted(answer.status for answer in answers) == [200] * (CLICKS - 1) + [201]
    assert len({run_of(answer) for answer in answers}) == 1
    assert Run.objects.count() == Hold.objects.count() == 1
    assert money(ada) == (FUNDS, 2_000_000)


def test_a_key_sent_with_another_body_starts_and_holds_nothing(
    web: Client, ada: Person, still: Release
) -> None:
    web.run(ASKED, key=ada.text, once="click-1")
    before = written(ada)
    other = ASKED | {"inputs": {"prompt": "dawn"}}
    answer = web.run(other, key=ada.text, once="click-1")
    assert (answer.status, answer.error["code"]) == (422, "idempotency_conflict")
    assert written(ada) == before


def test_a_result_told_three_times_is_charged_once(ada: Person, clip: Release) -> None:
    run_id, end = admit(ada, "rehearsal/clip", seconds=4), delivered(4, reported=4)
    attempt = worker.claim()
    assert settle(*attempt, end) == "settled"
    before = written(ada)
    assert [settle(*attempt, end) for _ in range(2)] == ["replayed"] * 2
    assert written(ada) == before
    assert charge(run_id) == ("captured", 40_000_000)
    assert MeterEvent.objects.count() == 1
    assert money(ada) == (FUNDS - 40_000_000, 0)


def test_a_zombie_that_comes_back_late_moves_nothing(ada: Person, clip: Release) -> None:
    run_id = admit(ada, "rehearsal/clip", seconds=4)
    zombie = worker.claim()
    lapse()
    assert worker.claim() == (run_id, 2)
    before = written(ada)
    assert settle(*zombie, delivered(4, reported=4)) == "stale"
    assert written(ada) == before
    assert charge(run_id) == ("open", 0)
    assert settle(run_id, 2, delivered(3, reported=3)) == "settled"
    assert charge(run_id) == ("captured", 30_000_000)
    assert settle(*zombie, delivered(4, reported=4)) == "stale"
    assert money(ada) == (FUNDS - 30_000_000, 0)


def test_a_cancel_after_a_retry_ends_the_present_attempt(ada: Person, clip: Release) -> None:
    run_id = admit(ada, "rehearsal/clip", seconds=4)
    first = worker.claim()
    lapse()
    present = worker.claim()
    cancel(ada, Run.objects.get())
    cancelled = failed("cancelled_after", "cancelled", "The run was cancelled.")
    before = written(ada)
    assert settle(*first, cancelled) == "stale"
    assert settle(*first, delivered(4, reported=4)) == "stale"
    assert written(ada) == before
    assert settle(*present, cancelled) == "settled"
    run = Run.objects.get()
    assert (run.state, run.outcome, run.attempt) == ("cancelled", "cancelled_after", 2)
    assert charge(run_id) == FREE
    assert money(ada) == (FUNDS, 0)


def test_a_cancel_after_a_restart_stops_the_one_job_that_the_lab_has(
    ada: Person, clip: Release, lab: Lab
) -> None:
    with supplying():
        run_id = admit(ada, "rehearsal/clip", **SHORT | {"latency_ms": 60_000})
        until(lambda: Run.objects.filter(id=run_id, ticket__isnull=False).exists())
    with supplying():
        until(lambda: Run.objects.filter(id=run_id, attempt=2).exists())
        cancel(ada, Run.objects.get())
        run = ended(run_id)
    assert (run.state, run.outcome) == ("cancelled", "cancelled_after")
    assert (lab.stats()["jobs"], lab.stats()["cancelled"]) == (1, 1)
    assert charge(run_id) == FREE
    assert money(ada) == (FUNDS, 0)


def test_what_is_cancelled_while_it_waits_is_free_and_never_reaches_the_lab(
    web: Client, ada: Person, still: Release, lab: Lab
) -> None:
    asked = web.run(ASKED, key=ada.text)
    assert money(ada) == (FUNDS, 2_000_000)
    answer = web.call("POST", asked.json["links"]["cancel"], key=ada.text)
    assert (answer.json["state"], answer.json["outcome"]) == ("cancelled", "cancelled_before")
    with supplying():
        ended(admit(ada, **SMALL))
    assert lab.stats()["posts"] == 1
    assert charge(run_of(asked)) == FREE
    assert money(ada) == (FUNDS - 2_000_000, 0)
