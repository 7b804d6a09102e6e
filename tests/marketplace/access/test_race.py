"""Many connections at once on few budgets: nothing is overspent, nothing deadlocks."""

import random
import time
from collections import Counter
from uuid import UUID

import pytest
from django.db import connection

from marketplace.access.models import Budget, Spending
from marketplace.catalog.models import Release
from marketplace.ledger.balance import balance
from marketplace.ledger.capture import Share, captured, close, voided
from tests.conftest import Person
from tests.marketplace.access.test_budgets import PRICE, REVENUE, admit, check, item, limit
from tests.marketplace.ledger.test_race import at_once

pytestmark = pytest.mark.django_db(transaction=True)
THREADS = 16


def test_a_budget_for_twenty_admits_twenty_of_sixteen_threads(ada: Person, still: Release) -> None:
    budget = limit(ada, "0.04")
    codes: Counter[str] = Counter()

    def spend() -> None:
        for _ in range(4):
            codes.update(admit(item(ada), item(ada)))

    at_once([spend] * THREADS)
    assert codes == {"ok": 20, "budget_exceeded": 108}
    found = Spending.objects.get(budget=budget)
    assert (found.spent, found.held) == (0, 20 * PRICE)
    assert balance(ada.team.id).held == 20 * PRICE
    assert check() == []


def test_reading_before_writing_would_overspend(ada: Person, still: Release) -> None:
    """The way of those whose limits do not hold; so the test above can fail."""
    budget = Budget.objects.create(team=ada.team, kind="team", period="month", amount=20 * PRICE)
    row = Spending.objects.create(budget=budget, starts_at="2026-01-01T00:00:00Z")

    def spend() -> None:
        for _ in range(8):
            if Spending.objects.get(id=row.id).held + PRICE <= 20 * PRICE:
                time.sleep(0.002)  # the supplier's answer, of which the spend is recorded
                with connection.cursor() as cursor:
                    cursor.execute("UPDATE access_spending SET held = held + %s", [PRICE])

    at_once([spend] * THREADS)
    assert Spending.objects.get(id=row.id).held > 20 * PRICE


def test_calls_over_shared_teams_and_budgets_in_any_order_do_not_deadlock(
    ada: Person, cy: Person, still: Release
) -> None:
    for person in (ada, cy):
        limit(person, "0.08")
        limit(person, "0.03", kind="end_user", subject="*")
        limit(person, "0.05", kind="project", subject="*", period="day")
    taken: list[UUID] = []

    def spend(seed: int) -> None:
        draw = random.Random(seed)
        for _ in range(6):
            wishes = [
                item(draw.choice((ada, cy)), draw.choice("pq"), draw.choice("abc"))
                for _ in range(6)
            ]
            codes = admit(*wishes)
            runs = [w["run_id"] for w, code in zip(wishes, codes, strict=True) if code == "ok"]
            taken.extend(runs)
            draw.shuffle(runs)
            share = captured(PRICE, [Share(REVENUE, PRICE)])
            close(closings={run: share if draw.random() < 0.3 else voided() for run in runs})

    at_once([lambda seed=seed: spend(seed) for seed in range(8)])
    assert len(taken) == len(set(taken)) > 0
    assert check() == []
    for row in Spending.objects.select_related("budget"):
        assert row.held == 0
        assert row.spent <= (row.budget.amount or 0)
