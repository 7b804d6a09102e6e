"""What a budget admits, refuses and counts, straight at the functions."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
import pytest
from django.db import connection
from django.utils import timezone

from marketplace import errors
from marketplace.access import budget as budgets
from marketplace.access.attribution import Attribution
from marketplace.access.check import INVARIANTS as OF_BUDGETS
from marketplace.access.models import Budget, BudgetAlert, Spending
from marketplace.accounts.models import Team
from marketplace.catalog.models import Release
from marketplace.ledger.balance import balance
from marketplace.ledger.capture import Share, captured, close, in_review, voided
from marketplace.ledger.check import INVARIANTS, findings
from marketplace.ledger.models import Hold
from marketplace.ledger.refund import refund
from marketplace.metering.sale import load_offers
from marketplace.runs.models import Outbox, Run
from marketplace.runs.submit import ADMIT_SQL, prepare, submit_now, to_item
from tests.conftest import Person

pytestmark = pytest.mark.django_db(transaction=True)

PRICE = 2_000_000
REVENUE = "revenue:rehearsal/still"


def limit(person: Person, amount: str | None = "0.005", **more: Any) -> Budget:
    data = {"kind": "team", "limit": amount} | more
    return budgets.create(team=person.team, data=data, created_by=person.user)


def item(person: Person, project: str = "", end_user: str = "", **more: Any) -> dict[str, Any]:
    admission = prepare(
        offer=load_offers()["rehearsal/still"],
        body={"model": "rehearsal/still", "inputs": {"prompt": "a"}},
        team_id=person.team.id,
        key_id=person.key.id,
        user_id=None,
        idempotency_key=None,
        quote=None,
        max_cost=None,
        attribution=Attribution(project, end_user),
    )
    return to_item(admission) | more


def admit(*items: dict[str, Any]) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(ADMIT_SQL, [orjson.dumps(list(items)).decode()])
        return [row[1] for row in cursor.fetchall()]


def check() -> list[str]:
    """What is violated, of the ledger and of budgets."""
    return [found.said for found in findings(INVARIANTS | OF_BUDGETS) if found.count]


def counted(budget: Budget, subject: str = "") -> tuple[int, int]:
    """Spent and held; and the books must agree."""
    assert check() == []
    found = Spending.objects.get(budget=budget, subject=subject)
    return found.spent, found.held


def capture(run: UUID, amount: int) -> None:
    close(closings={run: captured(amount, [Share(REVENUE, amount)]) if amount else voided()})


def test_the_third_of_three_does_not_fit_and_touches_nothing(ada: Person, still: Release) -> None:
    budget = limit(ada)
    assert admit(item(ada), item(ada), item(ada)) == ["ok", "ok", "budget_exceeded"]
    assert counted(budget) == (0, 2 * PRICE)
    assert (Run.objects.count(), Hold.objects.count()) == (2, 2)
    assert balance(ada.team.id).held == 2 * PRICE
    assert Outbox.objects.count() == 1
    assert admit(item(ada)) == ["budget_exceeded"]
    assert (Run.objects.count(), Outbox.objects.count()) == (2, 1)


def test_a_smaller_run_still_fits_after_a_larger_was_refused(ada: Person, still: Release) -> None:
    budget = limit(ada)
    large, small = item(ada), item(ada)
    large["amount"] = large["quoted"] = 6_000_000
    assert admit(large, small) == ["budget_exceeded", "ok"]
    assert counted(budget) == (0, PRICE)


def test_money_that_is_not_there_leaves_the_budget_untouched(ada: Person, still: Release) -> None:
    budget = limit(ada, "100")
    rich = item(ada)
    rich["amount"] = rich["quoted"] = 6_000_000_000
    assert admit(rich, item(ada)) == ["insufficient_balance", "ok"]
    assert counted(budget) == (0, PRICE)
    assert balance(ada.team.id).held == PRICE


def test_what_is_captured_is_spent_and_the_rest_is_free_again(ada: Person, still: Release) -> None:
    budget = limit(ada)
    first, second = item(ada), item(ada)
    admit(first, second)
    capture(first["run_id"], 500_000)
    assert counted(budget) == (500_000, PRICE)
    capture(second["run_id"], 0)
    assert counted(budget) == (500_000, 0)
    assert admit(item(ada), item(ada), item(ada)) == ["ok", "ok", "budget_exceeded"]


def test_a_review_keeps_it_held_and_a_refund_takes_it_off(ada: Person, still: Release) -> None:
    budget = limit(ada)
    wish = item(ada)
    admit(wish)
    close(closings={wish["run_id"]: in_review()})
    assert counted(budget) == (0, PRICE)
    capture(wish["run_id"], PRICE)
    assert counted(budget) == (PRICE, 0)
    for _ in range(2):  # the second is the same call again
        refund(run=wish["run_id"], amount=700_000, reference="r", note="")
    assert counted(budget) == (1_300_000, 0)


def test_a_refund_is_taken_off_the_period_of_its_charge(ada: Person, still: Release) -> None:
    budget = limit(ada, period="day")
    wish = item(ada)
    admit(wish)
    capture(wish["run_id"], PRICE)
    past = Spending.objects.get()
    Spending.objects.update(starts_at=past.starts_at - timedelta(days=1), ends_at=past.starts_at)
    admit(item(ada))
    refund(run=wish["run_id"], amount=None, reference="r", note="")
    spent = Spending.objects.order_by("starts_at").values_list("spent", "held")
    assert list(spent) == [(0, 0), (0, PRICE)]
    assert Spending.objects.filter(budget=budget).count() == 2
    assert check() == []


def test_each_end_user_has_a_cap_of_its_own_and_one_by_name_another(
    ada: Person, still: Release
) -> None:
    each = limit(ada, "0.002", kind="end_user", subject="*")
    vip = limit(ada, "0.004", kind="end_user", subject="vip")
    asked = ["u-1", "u-1", "u-2", "vip", "vip", "vip", ""]
    assert admit(*(item(ada, end_user=user) for user in asked)) == [
        "ok", "budget_exceeded", "ok", "ok", "ok", "budget_exceeded", "ok",
    ]  # fmt: skip
    assert counted(each, "u-1") == counted(each, "u-2") == (0, PRICE)
    assert counted(vip, "vip") == (0, 2 * PRICE)
    assert not Spending.objects.filter(budget=each, subject="vip").exists()


def test_every_kind_finds_its_runs(ada: Person, ben: Person, cy: Person, still: Release) -> None:
    kinds = {
        "team": "",
        "member": ada.user.email,
        "key": ada.key.public_id,
        "project": "spring",
        "end_user": "u-1",
    }
    made = {
        kind: limit(ada, "1", kind=kind, **({"subject": subject} if subject else {}))
        for kind, subject in kinds.items()
    }
    admit(item(ada, "spring", "u-1"), item(ben, "autumn", "u-2"), item(cy, "spring", "u-1"))
    submit_now(
        offer=load_offers()["rehearsal/still"],
        inputs={"prompt": "a"},
        team_id=ada.team.id,
        user_id=ada.user.id,
    )
    held = {s.budget_id: s.held // PRICE for s in Spending.objects.all()}
    assert {kind: held.get(budget.id) for kind, budget in made.items()} == {
        "team": 3, "member": 2, "key": 1, "project": 1, "end_user": 1,
    }  # fmt: skip
    assert check() == []


def test_a_soft_budget_only_alerts(ada: Person, still: Release) -> None:
    budget = limit(ada, "0.003", hard=False)
    wishes = [item(ada), item(ada)]
    assert admit(*wishes) == ["ok", "ok"]
    assert not BudgetAlert.objects.exists()
    capture(wishes[0]["run_id"], PRICE)
    assert alerts() == [("spent", 50)]
    capture(wishes[1]["run_id"], PRICE)
    assert alerts() == [("spent", 50), ("spent", 80), ("spent", 100)]
    assert counted(budget) == (2 * PRICE, 0)


def alerts() -> list[tuple[str, int]]:
    return list(BudgetAlert.objects.order_by("cause", "percent").values_list("cause", "percent"))


def test_an_alert_comes_once_in_its_period(ada: Person, still: Release) -> None:
    limit(ada, "0.004")
    first, second = item(ada), item(ada)
    admit(first, second)
    capture(first["run_id"], PRICE)
    refund(run=first["run_id"], amount=None, reference="r", note="")
    capture(second["run_id"], PRICE)
    assert alerts() == [("spent", 50)]
    large = item(ada)
    large["amount"] = large["quoted"] = 3_000_000
    assert admit(large, large | {"run_id": item(ada)["run_id"]}) == ["budget_exceeded"] * 2
    assert alerts() == [("refused", 100), ("spent", 50)]


def test_the_caller_is_told_the_figures(ada: Person, still: Release) -> None:
    budget = limit(ada, "0.003", kind="member", subject=ada.user.email, period="day")
    offer, wish = load_offers()["rehearsal/still"], {"prompt": "a"}
    submit_now(offer=offer, inputs=wish, team_id=ada.team.id, user_id=ada.user.id)
    with pytest.raises(errors.BudgetExceeded) as refused:
        submit_now(offer=offer, inputs=wish, team_id=ada.team.id, user_id=ada.user.id)
    facts = refused.value.facts
    assert facts["budget"] == budget.public_id
    assert {name: facts[name]["nano"] for name in ("limit", "spent", "held", "missing")} == {
        "limit": 3_000_000, "spent": 0, "held": PRICE, "missing": 1_000_000,
    }  # fmt: skip
    assert refused.value.message == (
        "This run may cost $0.002 USD. This member's budget is $0.003 USD a day: "
        "$0.00 USD are spent and $0.002 USD held, so $0.001 USD is missing."
    )
    assert alerts() == [("refused", 100)]  # though the call raised


def test_only_allowed_models_run_and_none_above_the_most_for_one(
    ada: Person, still: Release
) -> None:
    lab = limit(ada, None, models=["rehearsal"])
    assert admit(item(ada)) == ["ok"]
    budgets.change(budget=lab, data={"models": ["rehearsal/still"]})
    assert admit(item(ada)) == ["ok"]
    assert admit(item(ada, model="rehearsal/clip")) == ["model_not_allowed"]
    budgets.change(budget=lab, data={"models": [], "max_per_run": "0.001"})
    assert admit(item(ada)) == ["run_above_limit"]
    with pytest.raises(errors.BudgetExceeded, match=r"allows \$0\.001 USD a run\.$"):
        submit_now(
            offer=load_offers()["rehearsal/still"], inputs={"prompt": "a"}, team_id=ada.team.id
        )
    assert Run.objects.count() == 2
    assert not BudgetAlert.objects.exists()


def test_a_team_without_budgets_in_the_same_call_is_served(
    ada: Person, cy: Person, still: Release
) -> None:
    limit(ada, "0.003")
    assert admit(item(ada), item(cy), item(ada), item(cy)) == ["ok", "ok", "budget_exceeded", "ok"]
    assert Hold.objects.filter(team=cy.team, spendings=None).count() == 2


def test_a_closed_budget_limits_nothing_and_settles_on(ada: Person, still: Release) -> None:
    budget = limit(ada, "0.003")
    wish = item(ada)
    admit(wish)
    budgets.close(budget=budget)
    assert admit(item(ada), item(ada)) == ["ok", "ok"]
    capture(wish["run_id"], PRICE)
    assert counted(budget) == (PRICE, 0)
    budgets.reopen(budget=budget)
    assert admit(item(ada)) == ["budget_exceeded"]


def test_a_twin_of_a_refused_run_is_refused_alike(ada: Person, still: Release) -> None:
    limit(ada, "0.001")
    assert admit(item(ada, idempotency_key="a"), item(ada, idempotency_key="a")) == [
        "budget_exceeded", "budget_exceeded",
    ]  # fmt: skip
    assert not Run.objects.exists()


# time zone, an instant in it → where its day and its month begin (all UTC), hours of the day.
MIDNIGHTS = [
    ("UTC", "06-15 12", "06-15 00", "06-01 00", 24),
    ("Asia/Tokyo", "06-30 20", "06-30 15", "06-30 15", 24),
    ("America/New_York", "03-08 04", "03-07 05", "03-01 05", 24),
    ("America/New_York", "03-08 12", "03-08 05", "03-01 05", 23),
]


@pytest.mark.parametrize(("zone", "at", "day", "month", "hours"), MIDNIGHTS)
def test_periods_begin_at_the_teams_midnight(
    zone: str, at: str, day: str, month: str, hours: int
) -> None:
    def begins(period: str) -> tuple[datetime, datetime]:
        with connection.cursor() as cursor:
            cursor.execute("SELECT * FROM period_bounds(%s, %s, %s)", [period, zone, utc(at)])
            start, end = cursor.fetchone()
            return start, end

    assert begins("day") == (utc(day), utc(day) + timedelta(hours=hours))
    assert begins("month")[0] == utc(month)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(f"2026-{text}:00+00:00")


def test_a_change_of_zone_neither_doubles_nor_drops_a_period(ada: Person, still: Release) -> None:
    budget = limit(ada, "0.003", period="day")
    admit(item(ada))
    Team.objects.filter(id=ada.team.id).update(time_zone="Pacific/Kiritimati")
    assert admit(item(ada)) == ["budget_exceeded"]
    past = Spending.objects.get()
    moved = timezone.now() - timedelta(seconds=1)
    Spending.objects.update(ends_at=moved)  # the old day ends amid the new one
    assert admit(item(ada)) == ["ok"]
    new = Spending.objects.exclude(id=past.id).get(budget=budget)
    assert new.starts_at == moved
