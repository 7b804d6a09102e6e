"""A supplier that is gone is succeeded before its lease passes; one that lives never is."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from uuid import UUID

import psycopg
import pytest
from django.db import connection
from django.utils import timezone

from marketplace.catalog.models import Release
from marketplace.runs import sweep
from marketplace.runs.connections import parameters, rows
from marketplace.runs.models import Attempt, Run
from tests.conftest import Person
from tests.lab import Lab
from tests.marketplace import worker
from tests.marketplace.runs.test_recovery import supplier_process
from tests.marketplace.supply import SMALL, admit, closed, ended, supplying, until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.xdist_group("labs queue")]
ELSEWHERE = "labs@another-machine:17"
LOCK = "SELECT pg_advisory_lock_shared('runs_run'::regclass::oid::int, hashtext(%s))"
CUT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s"
UP = "SELECT now() - pg_postmaster_start_time() > interval '16 s' AS true"


@pytest.fixture(autouse=True)
def long_up(transactional_db: None) -> None:
    """The database has been up for longer than it waits after a start."""
    until(lambda: rows((UP, []))[0]["true"], 30)


@contextmanager
def present(name: str) -> Iterator[None]:
    with psycopg.connect(**parameters(), autocommit=True) as session:
        session.execute(LOCK, [name])
        yield


def held(person: Person, by: str, *, silent: float) -> UUID:
    """A run of a worker that renewed last so many seconds ago."""
    admit(person)
    run_id, _ = worker.claim()
    rest = timezone.now() + timedelta(seconds=15 - silent)
    Run.objects.filter(id=run_id).update(worker=by, lease_until=rest)
    return run_id


def state(run_id: UUID) -> str:
    return Run.objects.get(id=run_id).state


def test_a_supplier_that_is_gone_and_silent_is_succeeded_before_its_lease_passes(
    ada: Person, still: Release
) -> None:
    run_id = held(ada, ELSEWHERE, silent=7)
    assert sweep.lapsed_leases() == 1
    assert state(run_id) == "queued"
    assert sweep.lapsed_leases() == 0
    assert worker.claim() == (run_id, 2)


@pytest.mark.parametrize("silent", [0, 3, 5])
def test_one_that_renews_is_left_alone_although_its_session_is_cut(
    ada: Person, still: Release, silent: float
) -> None:
    run_id = held(ada, ELSEWHERE, silent=silent)
    assert sweep.lapsed_leases() == 0
    assert state(run_id) == "running"


def test_one_that_is_slow_is_left_alone_as_long_as_its_session_stands(
    ada: Person, still: Release
) -> None:
    run_id = held(ada, ELSEWHERE, silent=14)
    with present(ELSEWHERE):
        assert sweep.lapsed_leases() == 0
        assert state(run_id) == "running"
        Run.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
        assert sweep.lapsed_leases() == 1  # a lease that has passed has passed


def test_a_worker_without_a_session_has_its_whole_lease(ada: Person, still: Release) -> None:
    run_id = held(ada, "gpu-1", silent=14)
    assert sweep.lapsed_leases() == 0
    assert state(run_id) == "running"


def test_a_run_that_has_had_its_attempts_ends_at_no_cost(ada: Person, still: Release) -> None:
    run_id = held(ada, ELSEWHERE, silent=7)
    Run.objects.update(most_attempts=1)
    assert sweep.lapsed_leases() == 1
    assert (state(run_id), closed(run_id)) == ("failed", ("voided", 0))


def test_a_database_that_has_just_come_up_takes_nothing_from_anybody(
    ada: Person, still: Release
) -> None:
    held(ada, ELSEWHERE, silent=7)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_get_functiondef('requeue_silent_runs'::regproc)")
        [text] = cursor.fetchone()
        cursor.execute(text.replace("'15 s'", "'1 year'"))
        try:
            assert sweep.lapsed_leases() == 0
        finally:
            cursor.execute(text)
    assert sweep.lapsed_leases() == 1


def test_a_living_supplier_is_present_and_comes_back_when_it_is_cut_off(
    ada: Person, still: Release, lab: Lab
) -> None:
    def seen(name: str) -> bool:
        return bool(rows(("SELECT is_present(%s) AS yes", [name]))[0]["yes"])

    with supplying() as supplier:
        until(lambda: seen(supplier.name))
        run_id = admit(ada, **SMALL | {"latency_ms": 1_500})
        until(lambda: state(run_id) == "running")
        assert len(rows((CUT, ["kinora-presence"]))) == 1
        assert sweep.lapsed_leases() == 0
        until(lambda: seen(supplier.name))
        assert ended(run_id).attempt == 1
    until(lambda: not seen(supplier.name))


def test_a_supplier_killed_on_another_machine_is_succeeded_while_its_lease_still_runs(
    ada: Person, still: Release, lab: Lab
) -> None:
    with supplier_process(KINORA_REHEARSAL_URL=lab.url) as first:
        run_id = admit(ada, **SMALL | {"latency_ms": 1_000})
        until(lambda: Run.objects.filter(id=run_id, ticket__isnull=False).exists(), 60)
        first.kill()
        first.wait(10)
    leased = Run.objects.get().lease_until
    assert leased
    Run.objects.update(worker=ELSEWHERE)  # so that the next on this machine cannot see who is dead
    until(lambda: sweep.lapsed_leases() == 1)
    lost = Attempt.objects.get(run_id=run_id)
    assert lost.outcome == "lost"
    assert lost.ended_at
    assert lost.ended_at < leased
    with supplying():
        run = ended(run_id)
    assert (run.attempt, run.state) == (2, "succeeded")
    assert closed(run_id) == ("captured", 2_000_000)
    assert lab.stats()["jobs"] == 1
