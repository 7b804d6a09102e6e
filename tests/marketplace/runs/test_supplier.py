"""Runs of a lab from their admission to their charge: real lab, real rows, real files."""

import time
from decimal import Decimal
from typing import Any

import pytest
from django.core.files.storage import default_storage
from django.db import connection

from marketplace.catalog.models import Release
from marketplace.ledger.balance import balance
from marketplace.metering.models import MeterEvent
from marketplace.runs.models import Attempt, Progress, Run
from tests.conftest import Person
from tests.lab import Lab
from tests.marketplace.supply import SMALL, admit, closed, ended, supplying, until

pytestmark = pytest.mark.django_db(transaction=True)

FREE = ("voided", 0)


def test_a_run_ends_with_its_pictures_and_its_exact_charge(
    ada: Person, still: Release, lab: Lab
) -> None:
    with supplying():
        run = ended(admit(ada, **SMALL, count=3))
    assert (run.state, run.outcome) == ("succeeded", "succeeded")
    assert closed(run.id) == ("captured", 6_000_000)
    assert balance(ada.team.id).available == 5_000_000_000 - 6_000_000
    outputs = list(run.outputs.order_by("position"))
    assert [(o.width, o.height, o.content_type) for o in outputs] == [(64, 64, "image/png")] * 3
    assert [default_storage.size(o.path) for o in outputs] == [o.bytes for o in outputs]
    event = MeterEvent.objects.get(run_id=run.id)
    said = (event.requested, event.reported, event.measured, event.quantity)
    assert said == (Decimal(3), Decimal(3), Decimal(3), Decimal(3))


def test_a_clip_is_charged_by_its_counted_seconds(ada: Person, clip: Release, lab: Lab) -> None:
    with supplying():
        made = {"seconds": 2, "fps": 12, "resolution": "180p", "latency_ms": 0, "sound": True}
        run = ended(admit(ada, "rehearsal/clip", **made))
    output = run.outputs.get()
    assert (output.frames, output.seconds, output.sound) == (24, Decimal("2.000000"), True)
    assert closed(run.id) == ("captured", 20_000_000)


@pytest.mark.parametrize(
    ("inputs", "state", "outcome", "hold", "outputs"),
    [
        ({"behaviour": "refuse"}, "failed", "refused_before", FREE, 0),
        ({"behaviour": "fail"}, "failed", "supplier_error", FREE, 0),
        ({"behaviour": "partial"}, "succeeded", "partial", ("captured", 4_000_000), 2),
        ({"behaviour": "lie_longer"}, "succeeded", "succeeded", ("in_review", 0), 3),
        ({"behaviour": "lie_units"}, "succeeded", "succeeded", ("in_review", 0), 3),
    ],
)
def test_what_a_lab_does_decides_what_is_charged(
    ada: Person,
    still: Release,
    lab: Lab,
    inputs: dict[str, Any],
    state: str,
    outcome: str,
    hold: tuple[str, int],
    outputs: int,
) -> None:
    with supplying():
        run = ended(admit(ada, **SMALL, count=3, **inputs))
    assert (run.state, run.outcome) == (state, outcome)
    assert closed(run.id) == hold
    assert run.outputs.count() == outputs


def test_a_lie_keeps_the_money_held_until_somebody_decides(
    ada: Person, still: Release, lab: Lab
) -> None:
    with supplying():
        run = ended(admit(ada, **SMALL, behaviour="lie_longer"))
    event = MeterEvent.objects.get(run_id=run.id)
    assert (event.reported, event.measured, event.quantity) == (Decimal("128.4"), 1, 0)
    found = balance(ada.team.id)
    assert (found.posted, found.held) == (5_000_000_000, 2_000_000)


def test_a_hanging_lab_is_given_up_at_the_releases_time_limit(
    ada: Person, still: Release, lab: Lab
) -> None:
    Release.objects.filter(pk=still.pk).update(timeout_seconds=1)
    with supplying():
        run = ended(admit(ada, **SMALL | {"latency_ms": 1}, behaviour="hang"))
    assert (run.outcome, run.error) == (
        "supplier_error",
        {"code": "timeout", "message": "The lab took too long."},
    )
    assert closed(run.id) == FREE
    assert lab.stats()["cancelled"] == 1


def test_a_cancel_while_it_runs_stops_the_lab_and_frees_the_hold(
    ada: Person, still: Release, lab: Lab
) -> None:
    with supplying():
        run_id = admit(ada, **SMALL | {"latency_ms": 60_000})
        until(lambda: Run.objects.filter(id=run_id, ticket__isnull=False).exists())
        with connection.cursor() as cursor:
            cursor.execute("SELECT state FROM cancel_run(%s, %s)", [run_id, ada.team.id])
        run = ended(run_id)
    assert (run.state, run.outcome) == ("cancelled", "cancelled_after")
    assert closed(run.id) == FREE
    assert lab.stats()["cancelled"] == 1


def test_a_cancel_before_it_runs_never_reaches_the_lab(
    ada: Person, still: Release, lab: Lab
) -> None:
    run_id = admit(ada, **SMALL)
    with connection.cursor() as cursor:
        cursor.execute("SELECT state FROM cancel_run(%s, %s)", [run_id, ada.team.id])
    with supplying():
        other = ended(admit(ada, **SMALL))
    assert other.state == "succeeded"
    assert closed(run_id) == FREE
    assert lab.stats()["posts"] == 1


def test_progress_is_told_while_the_lab_works(ada: Person, still: Release, lab: Lab) -> None:
    with supplying():
        run_id = admit(ada, **SMALL | {"latency_ms": 60_000})
        told = until(lambda: Progress.objects.filter(run_id=run_id).first())
    assert (told.attempt, told.stage, told.steps) == (1, "draw", 12)


def test_a_supplier_that_stops_hands_its_run_to_the_next(
    ada: Person, still: Release, lab: Lab
) -> None:
    with supplying():
        run_id = admit(ada, **SMALL | {"latency_ms": 2_500})
        until(lambda: Run.objects.filter(id=run_id, ticket__isnull=False).exists())
    assert Run.objects.get(id=run_id).state == "queued"
    with supplying():
        run = ended(run_id)
    assert (run.state, run.attempt) == ("succeeded", 2)
    assert closed(run.id) == ("captured", 2_000_000)
    assert lab.stats()["jobs"] == 1


def test_an_attempt_whose_run_was_given_to_another_writes_nothing(
    ada: Person, still: Release, lab: Lab
) -> None:
    """The zombie returns: its lease is past, another worker holds the run."""
    with supplying():
        run_id = admit(ada, **SMALL | {"latency_ms": 1_500})
        until(lambda: Run.objects.filter(id=run_id, ticket__isnull=False).exists())
        Run.objects.filter(id=run_id).update(attempt=2, worker="another")
        Attempt.objects.create(
            run_id=run_id, number=2, worker="another", claimed_at=Run.objects.get().created_at
        )
        time.sleep(2.5)
    run = Run.objects.get(id=run_id)
    assert (run.state, run.worker, run.outputs.count()) == ("running", "another", 0)
    assert closed(run_id) == ("open", 0)
    assert not MeterEvent.objects.exists()


def test_many_runs_at_once_are_each_charged_once(ada: Person, still: Release, lab: Lab) -> None:
    with supplying():
        runs = [admit(ada, **SMALL, seed=n) for n in range(40)]
        assert {ended(run).state for run in runs} == {"succeeded"}
    assert {closed(run) for run in runs} == {("captured", 2_000_000)}
    assert balance(ada.team.id).posted == 5_000_000_000 - 40 * 2_000_000
    assert lab.stats()["jobs"] == 40
