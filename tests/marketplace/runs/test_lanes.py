"""A concurrency limit makes runs wait; it is never passed, and holds nobody else up."""

import threading
from collections.abc import Iterator
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.utils import timezone

from marketplace import ids
from marketplace.access import budget as budgets
from marketplace.access.models import Budget, Lane
from marketplace.catalog.models import Release
from marketplace.ledger.models import Hold
from marketplace.runs.connections import rows
from marketplace.runs.models import Run
from tests.conftest import Person
from tests.lab import Lab
from tests.marketplace import supply, worker
from tests.marketplace.access.test_budgets import admit, check, item
from tests.marketplace.web import Client

pytestmark = pytest.mark.django_db(transaction=True)


def at_once(person: Person, most: int, kind: str = "team", **more: Any) -> Budget:
    data = {"kind": kind, "concurrency": most} | more
    return budgets.create(team=person.team, data=data, created_by=person.user)


def claim(limit: int = 50) -> list[UUID]:
    sql = "SELECT run_id, laned FROM claim_runs('labs', 'tests', '{}', %s, '15 s')"
    return [row["run_id"] for row in rows((sql, [limit]))]


def fail(run_id: UUID) -> None:
    """End a run and free its place."""
    Run.objects.filter(id=run_id).update(
        state="failed", outcome="our_error", finished_at=timezone.now(), lease_until=None
    )


def running() -> int:
    return Run.objects.filter(state="running").count()


def test_as_many_run_as_may_and_the_others_wait_in_order(ada: Person, still: Release) -> None:
    at_once(ada, 2)
    wishes = [item(ada) for _ in range(4)]
    for wish in wishes:
        admit(wish)
    first, second, third, _ = (wish["run_id"] for wish in wishes)
    assert claim() == [first, second]
    assert claim() == []
    fail(first)
    assert claim() == [third]
    assert (running(), claim()) == (2, [])


def test_a_saturated_team_holds_up_nobody_else(ada: Person, cy: Person, still: Release) -> None:
    at_once(ada, 1)
    admit(*(item(ada) for _ in range(40)), item(cy))
    assert len(claim(1)) == 1
    admit(item(cy))
    others = set(claim(2))
    assert set(Run.objects.filter(team=cy.team, state="running").values_list("id", flat=True)) & (
        others
    )
    claim()
    assert Run.objects.filter(team=cy.team, state="queued").count() == 0
    assert Run.objects.filter(team=ada.team, state="running").count() == 1


def test_a_saturated_end_user_holds_up_no_other_of_the_team(ada: Person, still: Release) -> None:
    at_once(ada, 1, kind="end_user", subject="*")
    at_once(ada, 3)
    users = ["a"] * 6 + ["b", "b", "c", "d"]
    assert admit(*(item(ada, end_user=user) for user in users)) == ["ok"] * 10
    claim()
    claim()
    found = Run.objects.filter(state="running").values_list("end_user", flat=True)
    assert len(found) == len(set(found)) == 3


def test_a_limit_that_is_lifted_or_lowered_holds_for_who_waits(ada: Person, still: Release) -> None:
    budget = at_once(ada, 1)
    admit(*(item(ada) for _ in range(6)))
    assert len(claim()) == 1
    budgets.change(budget=budget, data={"concurrency": 3})
    assert len(claim()) == 2
    budgets.change(budget=budget, data={"concurrency": 1})
    assert claim() == []
    budgets.close(budget=budget)
    assert len(claim()) == 3


def test_a_limit_holds_for_runs_that_waited_before_it_was_set(ada: Person, still: Release) -> None:
    admit(*(item(ada) for _ in range(6)))
    assert len(claim(2)) == 2
    budget = at_once(ada, 3)
    assert len(claim()) == 1  # those that run already count
    budgets.change(budget=budget, data={"concurrency": 4})
    assert len(claim()) == 1
    assert claim() == []
    budgets.close(budget=budget)
    assert len(claim()) == 2


def test_a_limit_for_one_by_name_takes_those_who_wait_for_that_one(
    ada: Person, cy: Person, still: Release
) -> None:
    at_once(ada, 1, kind="end_user", subject="*")
    admit(*(item(ada, end_user=user) for user in "aaaabb"), item(cy))
    named = at_once(ada, 3, kind="end_user", subject="a")
    assert len(claim()) == 3 + 1 + 1
    budgets.close(budget=named)
    assert claim() == []  # three of a's run, where each may have one again
    assert set(Run.objects.filter(team=cy.team).values_list("lanes", flat=True)) == {None}
    assert check() == []


def test_what_is_admitted_while_a_limit_is_set_keeps_to_it(ada: Person, still: Release) -> None:
    """Eight admit without end, one sets the limit: nothing waits outside of it afterwards."""
    stop, faults = threading.Event(), []

    def admits() -> None:
        try:
            while not stop.is_set():
                admit(item(ada))
        except BaseException as fault:
            faults.append(fault)
        finally:
            connection.close()

    threads = [threading.Thread(target=admits) for _ in range(8)]
    for thread in threads:
        thread.start()
    supply.until(lambda: Run.objects.count() > 40)
    at_once(ada, 1)
    stop.set()
    for thread in threads:
        thread.join()
    assert faults == []
    assert not Run.objects.filter(lanes=None).exists()
    assert (len(claim()), claim()) == (1, [])


def test_a_killed_workers_place_is_free_once_its_run_is_taken_back(
    ada: Person, still: Release
) -> None:
    at_once(ada, 1)
    admit(item(ada))
    admit(item(ada))
    [lost] = claim()
    assert claim() == []
    Run.objects.filter(id=lost).update(lease_until=timezone.now())
    rows(("SELECT * FROM requeue_runs(NULL, 0, 3)", []))
    assert claim() == [lost]
    assert running() == 1


def test_eight_claimers_at_once_never_pass_the_limits(ada: Person, still: Release) -> None:
    at_once(ada, 5)
    at_once(ada, 2, kind="end_user", subject="*")
    admit(*(item(ada, end_user=f"u-{n % 4}") for n in range(40)))
    most: list[tuple[int, int]] = []
    done: list[UUID] = []
    barrier, faults = threading.Barrier(8), []

    def work() -> None:
        try:
            barrier.wait()
            for _ in range(60):
                taken = claim(3)
                most.append(present())
                for run in taken:
                    fail(run)
                done.extend(taken)
                if len(done) == 40:
                    return
        except BaseException as fault:
            faults.append(fault)
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert len(set(done)) == len(done) == 40
    assert max(total for total, _ in most) <= 5
    assert max(one for _, one in most) <= 2


def present() -> tuple[int, int]:
    """How many run now: of the team, and of its busiest end user; in one snapshot."""
    [row] = rows(
        (
            "SELECT coalesce(sum(n), 0)::int AS total, coalesce(max(n), 0)::int AS one FROM ("
            "SELECT count(*) AS n FROM runs_run WHERE state = 'running' GROUP BY end_user) s",
            [],
        )
    )
    return row["total"], row["one"]


@pytest.fixture
def supplier(lab: Lab, still: Release) -> Iterator[object]:
    with supply.supplying() as running:
        yield running


def test_a_supplier_goes_on_to_who_waits_as_soon_as_one_ends(ada: Person, supplier: object) -> None:
    at_once(ada, 1)
    runs = [supply.admit(ada, **supply.SMALL) for _ in range(4)]
    ended = [supply.ended(run) for run in runs]
    assert [run.state for run in ended] == ["succeeded"] * 4
    spans = sorted((run.started_at, run.finished_at) for run in ended)
    assert all(a[1] <= b[0] for a, b in pairwise(spans))  # type: ignore[operator]


def test_who_would_wait_behind_a_full_line_is_told_so_before_any_hold(
    web: Client, ada: Person, still: Release
) -> None:
    budget = at_once(ada, 1)
    body: dict[str, Any] = {"model": "rehearsal/still", "inputs": {"prompt": "a"}}
    for _ in range(2):
        assert web.run(body, key=ada.text).status == 201
    claim()
    refused = web.run(body | {"wait": 1}, key=ada.text)
    assert (refused.status, refused.error["code"]) == (429, "busy")
    assert refused.error["budget"] == budget.public_id
    assert refused.headers["retry-after"] == "5"
    assert Run.objects.count() == Hold.objects.count() == 2
    assert web.run(body, key=ada.text).status == 201


def test_runs_of_teams_without_a_concurrency_are_in_no_lane(
    ada: Person, cy: Person, still: Release
) -> None:
    budgets.create(team=ada.team, data={"kind": "team", "limit": "1"}, created_by=None)
    admit(item(ada), item(cy))
    assert not Lane.objects.exists()
    assert set(Run.objects.values_list("lanes", flat=True)) == {None}
    assert worker.claim()[0]
    assert ids.public("run", claim()[0])
