"""Pace counts every run that ended, whatever is folded when, without counting the runs."""

from datetime import timedelta
from uuid import UUID

import psycopg
import pytest
from django.db import connection
from django.db.models import F
from django.utils import timezone

from marketplace.catalog.models import Release
from marketplace.ledger.check import findings
from marketplace.runs import pace
from marketplace.runs.connections import parameters, rows
from marketplace.runs.invariants import INVARIANTS
from marketplace.runs.models import PaceDay, PaceFold, Run
from tests.conftest import Person
from tests.marketplace import worker
from tests.marketplace.quiet import quiet
from tests.marketplace.supply import admit
from tests.marketplace.web import Client

pytestmark = pytest.mark.django_db(transaction=True)


def ran(person: Person, seconds: float) -> UUID:
    """A run that ended well after so many seconds of work."""
    admit(person)
    run_id, attempt = worker.claim()
    Run.objects.filter(id=run_id).update(started_at=timezone.now() - timedelta(seconds=seconds))
    worker.succeed(run_id, attempt)
    return run_id


def broke(person: Person, outcome: str) -> None:
    admit(person)
    worker.fail(*worker.claim(), outcome=outcome, message="It broke.")


def sound() -> bool:
    return not [found.said for found in findings(INVARIANTS) if found.count]


def fold() -> int:
    """Fold what is committed, all of it."""
    quiet()
    return pace.fold()


def counts() -> dict[str, int]:
    return {row["model"]: row["runs"] for row in rows((pace.COUNTS_SQL, []))}


def test_the_median_and_the_share_of_what_the_model_answers_for(
    ada: Person, still: Release
) -> None:
    for seconds in (1.0, 2.0, 2.0, 2.0, 40.0):
        ran(ada, seconds)
    broke(ada, "supplier_error")
    broke(ada, "invalid_input")
    found = pace.paces()["rehearsal/still"]
    assert found.runs == 7
    assert found.success == 5 / 6
    assert found.median == pytest.approx(2.0, rel=0.05)


def test_it_is_the_same_before_between_and_after_folds(ada: Person, still: Release) -> None:
    ran(ada, 3)
    tail = pace.paces()
    assert fold() == 1
    assert pace.paces() == tail
    ran(ada, 3)
    both = pace.paces()
    assert both["rehearsal/still"].runs == 2
    assert (fold(), fold()) == (1, 0)
    assert pace.paces() == both
    assert PaceDay.objects.get().runs == 2
    assert sound()


def test_a_run_under_way_counts_once_it_has_ended(ada: Person, still: Release) -> None:
    admit(ada)
    fold()
    assert pace.paces() == {}
    worker.succeed(*worker.claim())
    assert pace.paces()["rehearsal/still"].runs == 1


def test_a_fold_leaves_what_is_not_settled_for_the_next(ada: Person, still: Release) -> None:
    """A transaction that began before may still bring older facts, so the fold stops before it."""
    with psycopg.connect(**parameters()) as other:
        other.execute("SELECT pg_current_xact_id()")
        ran(ada, 1)
        assert pace.fold() == 0
        assert pace.paces()["rehearsal/still"].runs == 1
    assert fold() == 1


def test_old_days_become_months_and_are_still_counted(ada: Person, still: Release) -> None:
    for seconds in (1, 1, 8):
        ran(ada, seconds)
    broke(ada, "our_error")
    fold()
    PaceDay.objects.update(day=F("day") - timedelta(days=50))
    assert fold() == 0
    months = PaceDay.objects.order_by("outcome").values_list("outcome", "bucket", "runs")
    assert list(months) == [("our_error", -1000, 1), ("succeeded", -1000, 3)]
    assert {row.day.day for row in PaceDay.objects.all()} == {1}
    assert pace.paces() == {}
    assert counts() == {"rehearsal/still": 4}
    ran(ada, 1)
    fold()
    assert counts() == {"rehearsal/still": 5}
    assert sound()


def test_a_server_that_counts_anew_is_waited_for_and_begun_with_again(
    ada: Person, still: Release
) -> None:
    ran(ada, 1)
    fold()
    rows(("SELECT fold_usage()", []))
    future = "9000000000"
    with connection.cursor() as cursor:
        cursor.execute("UPDATE runs_pacefold SET upto = %s", [future])
        cursor.execute("UPDATE runs_usagefold SET upto = %s", [future])
    assert fold() == 0
    rows(("SELECT rebuild_usage()", []))
    assert fold() == 1
    assert PaceFold.objects.count() == 1
    assert sound()


def test_replicates_run_count_is_of_all_runs_that_ended(
    web: Client, ada: Person, still: Release
) -> None:
    ran(ada, 1)
    fold()
    ran(ada, 1)
    [model] = web.get("/replicate/v1/models", key=ada.text).json["results"]
    assert model["run_count"] == 2
