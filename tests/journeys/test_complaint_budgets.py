"""Complaint: the limit did not hold; requests at once, unpriced ones, a client's own cap."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.conf import settings
from django.test import Client as Browser
from django.utils import timezone

from marketplace.access import budget as budgets
from marketplace.access.check import INVARIANTS
from marketplace.access.models import Budget, Spending
from marketplace.accounts.models import Team
from marketplace.catalog.models import Release
from marketplace.errors import BudgetExceeded
from marketplace.ledger.check import findings
from marketplace.ledger.models import Hold
from marketplace.runs import sweep
from marketplace.runs.models import Outbox, Run
from marketplace.runs.settle import failed
from tests.conftest import PASSWORD, Person, fund, join
from tests.journeys.books import FREE, charge, money, run_of, settle, written
from tests.marketplace import worker
from tests.marketplace.supply import admit, closed
from tests.marketplace.web import Client

pytestmark = pytest.mark.django_db(transaction=True)

CLIP: dict[str, Any] = {"model": "rehearsal/clip", "inputs": {"prompt": "dusk", "seconds": 2}}


@pytest.fixture
def eve(db: None) -> Person:
    """Has ten cents: five clips of two seconds."""
    person = join("eve", team=Team.objects.create(name="Eve's"), role="owner")
    fund(person.team, "0.10", reference="tests:eve")
    return person


def test_sixteen_requests_at_once_do_not_pass_a_balance_for_five(
    web: Client, eve: Person, clip: Release
) -> None:
    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(lambda _: web.run(CLIP, key=eve.text), range(16)))
    assert Counter(answer.status for answer in answers) == {201: 5, 402: 11}
    assert Run.objects.count() == Hold.objects.count() == 5
    assert money(eve) == (100_000_000, 100_000_000)
    for run in Run.objects.all():
        assert charge(run.id) == ("open", 0)


def test_who_has_too_little_is_told_what_is_missing_and_nothing_is_written(
    web: Client, eve: Person, clip: Release
) -> None:
    before = written(eve)
    all_there_is = web.run(CLIP | {"inputs": {"prompt": "dusk", "seconds": 10}}, key=eve.text)
    refused = web.run(CLIP, key=eve.text)
    assert all_there_is.status == 201
    assert (refused.status, refused.error["code"]) == (402, "insufficient_balance")
    assert refused.error["missing"]["nano"] == 20_000_000
    assert written(eve) == before | {"Run": 1, "Hold": 1, "money": (100_000_000, 100_000_000)}


def test_max_cost_stops_a_run_that_may_cost_a_nano_more(
    web: Client, eve: Person, clip: Release
) -> None:
    before = written(eve)
    answer = web.run(CLIP | {"max_cost": "0.019999999"}, key=eve.text)
    assert (answer.status, answer.error["code"]) == (402, "cost_above_limit")
    assert answer.error["quoted"]["nano"] == 20_000_000
    assert written(eve) == before
    assert not Outbox.objects.exists()
    exact = web.run(CLIP | {"max_cost": "0.02"}, key=eve.text)
    assert (exact.status, exact.json["cost"]["held"]["nano"]) == (201, 20_000_000)


def test_money_that_a_run_gave_back_can_be_spent_at_once(
    web: Client, eve: Person, clip: Release
) -> None:
    whole = CLIP | {"inputs": {"prompt": "dusk", "seconds": 10}}
    runs = []
    for _ in range(3):
        made = web.run(whole, key=eve.text)
        assert made.status == 201
        web.call("POST", made.json["links"]["cancel"], key=eve.text)
        runs.append(Run.objects.latest("created_at").id)
    assert [charge(run) for run in runs] == [FREE] * 3
    assert money(eve) == (100_000_000, 0)


def test_no_kind_of_model_runs_without_a_hold(
    ada: Person, still: Release, clip: Release, glyph: Release
) -> None:
    runs = {
        "rehearsal/still": 2_000_000,
        "rehearsal/clip": 50_000_000,
        "kinora/glyph": 6_000_000,  # compute is bounded by its time limit
    }
    for model, held in runs.items():
        assert closed(admit(ada, model)) == ("open", 0)
        assert Hold.objects.latest("created_at").amount == held
    assert money(ada)[1] == sum(runs.values())


def test_a_team_that_is_spent_out_cannot_go_below_zero(
    web: Client, eve: Person, still: Release, clip: Release
) -> None:
    still_asked = {"model": "rehearsal/still", "inputs": {"prompt": "dusk", "count": 4}}
    answers = [web.run(still_asked, key=eve.text).status for _ in range(14)]
    assert answers == [201] * 12 + [402] * 2  # twelve times $0.008
    for _ in range(12):
        worker.succeed(*worker.claim(), pictures=4)
    assert money(eve) == (4_000_000, 0)
    assert web.run(CLIP, key=eve.text).status == 402
    assert money(eve) == (4_000_000, 0)


def budget(person: Person, limit: str, **more: Any) -> Budget:
    data = {"kind": "team", "limit": limit} | more
    return budgets.create(team=person.team, data=data, created_by=person.user)


def used(of: Budget, subject: str = "") -> tuple[int, int]:
    """Spent and held nano-units; and the audit must agree."""
    assert [f.said for f in findings(INVARIANTS) if f.count] == []
    found = Spending.objects.get(budget=of, subject=subject)
    return found.spent, found.held


def test_of_five_at_once_a_budget_for_three_admits_three(
    web: Client, ada: Person, clip: Release
) -> None:
    limit = budget(ada, "0.45")
    whole = {"model": "rehearsal/clip", "inputs": {"prompt": "dusk", "seconds": 10}}
    admit(ada, "rehearsal/clip", seconds=10)  # $0.10, under way
    with ThreadPoolExecutor(5) as threads:
        answers = list(threads.map(lambda _: web.run(whole, key=ada.text), range(5)))
    assert Counter(answer.status for answer in answers) == {201: 3, 402: 2}
    [refused, _] = [answer for answer in answers if answer.status == 402]
    assert refused.error["code"] == "budget_exceeded"
    assert refused.error["missing"]["nano"] == 50_000_000
    assert used(limit) == (0, 400_000_000)
    assert money(ada)[1] == 400_000_000
    assert Run.objects.count() == Hold.objects.count() == 4


def test_a_callers_own_users_are_capped_one_by_one(web: Client, ada: Person, clip: Release) -> None:
    limit = budget(ada, "0.03", kind="end_user", subject="*", period="day")

    def ask(user: str) -> int:
        named = {"X-Kinora-End-User": user}
        return web.call("POST", "/api/v1/runs", CLIP, key=ada.text, headers=named).status

    assert [ask(user) for user in ("anna", "anna", "ben", "anna", "ben")] == [
        201, 402, 201, 402, 402,
    ]  # fmt: skip
    assert web.run(CLIP | {"user": "anna"}, key=ada.text).status == 402
    assert web.run(CLIP | {"user": "cleo"}, key=ada.text).status == 201
    assert used(limit, "anna") == used(limit, "ben") == (0, 20_000_000)


def test_what_failed_is_no_phantom_spend(web: Client, ada: Person, clip: Release) -> None:
    limit = budget(ada, "0.02")
    for _ in range(3):  # each would find the limit reached by the one before
        made = web.run(CLIP, key=ada.text)
        run, attempt = worker.claim()
        assert settle(run, attempt, failed("supplier_error", "supplier_error", "No.")) == "settled"
        assert run_of(made) == run
        assert used(limit) == (0, 0)
    assert web.run(CLIP, key=ada.text).status == 201


def test_no_way_in_passes_a_budget(web: Client, ada: Person, still: Release) -> None:
    limit = budget(ada, "0.001")
    before = written(ada)
    page = Browser()
    assert page.login(email=ada.user.email, password=PASSWORD)
    answers = [
        web.run({"model": "rehearsal/still", "inputs": {"prompt": "a"}}, key=ada.text).status,
        web.call("POST", "/fal/queue/rehearsal/still", {"prompt": "a"}, key=ada.text).status,
        page.post("/models/rehearsal/still/play", {"prompt": "a"}).status_code,
    ]
    assert answers[:2] == [402, 403]  # fal says 403 for money
    assert answers[2] != 302  # the page of a run
    with pytest.raises(BudgetExceeded):
        admit(ada)
    assert written(ada) == before
    assert used(limit) == (0, 0)


def test_a_worker_that_is_killed_for_good_leaves_no_counter_behind(
    web: Client, ada: Person, clip: Release
) -> None:
    limit = budget(ada, "0.02", concurrency=1)
    run = run_of(web.run(CLIP, key=ada.text))
    for _ in range(settings.MAX_ATTEMPTS):
        assert worker.claim()[0] == run
        assert web.run(CLIP, key=ada.text).status == 402  # still counted: it may yet succeed
        Run.objects.filter(id=run).update(lease_until=timezone.now())
        sweep.lapsed_leases()
    assert charge(run) == FREE
    assert used(limit) == (0, 0)
    again = run_of(web.run(CLIP, key=ada.text))
    assert worker.claim()[0] == again
