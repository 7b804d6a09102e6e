"""Budgets as people see them: whose, what is used of them, in public ids."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import F, Q, Window
from django.db.models.functions import Now, RowNumber

from marketplace import ids
from marketplace.access.models import EACH, Budget, Spending
from marketplace.accounts.models import User
from marketplace.money import Money

MOST = 20  # subjects of one budget that a list shows


@dataclass(frozen=True, slots=True)
class Used:
    """One subject's period of a budget; subject as a person names it."""

    budget: Budget
    subject: str
    spending: Spending

    @property
    def left(self) -> int | None:
        """Nano-units; 0 where a soft budget was passed."""
        if self.budget.amount is None:
            return None
        return max(0, self.budget.amount - self.spending.spent - self.spending.held)

    def share(self, amount: int) -> float:
        """Percent of the limit, at most 100 and never too little to be seen; of what is used where
        there is no limit."""
        whole = self.budget.amount or self.spending.spent + self.spending.held or 1
        return min(100.0, max(0.6, round(100 * amount / whole, 2))) if amount else 0.0

    @property
    def percent_spent(self) -> float:
        return self.share(self.spending.spent)

    @property
    def percent_held(self) -> float:
        return min(100.0 - self.percent_spent, self.share(self.spending.held))


def present(budgets: Iterable[Budget]) -> dict[UUID, list[Used]]:
    """What is used of each budget in the present period, the most first."""
    now = Q(starts_at__lte=Now()) & (Q(ends_at=None) | Q(ends_at__gt=Now()))
    rank = Window(RowNumber(), partition_by="budget_id", order_by=(F("spent") + F("held")).desc())
    known = {budget.id: budget for budget in budgets}
    rows = Spending.objects.filter(now, budget__in=known).annotate(rank=rank)
    found: dict[UUID, list[Used]] = {budget_id: [] for budget_id in known}
    for used in named(rows.filter(rank__lte=MOST).order_by("rank"), known):
        found[used.budget.id].append(used)
    return found


def history(budget: Budget, most: int = 100) -> list[Used]:
    """The latest periods, newest first."""
    rows = budget.spendings.order_by("-starts_at", "subject")[:most]
    return named(rows, {budget.id: budget})


def named(rows: Iterable[Spending], known: Mapping[UUID, Budget]) -> list[Used]:
    several = list(rows)
    pairs = [(known[row.budget_id], row.subject) for row in several]
    people = emails(pairs)
    return [
        Used(budget, subject(budget.kind, text, people), row)
        for row, (budget, text) in zip(several, pairs, strict=True)
    ]


def emails(pairs: Iterable[tuple[Budget, str]]) -> dict[str, str]:
    """Member's id in text → e-mail address."""
    members = {text for budget, text in pairs if budget.kind == "member" and text != EACH}
    people = User.objects.filter(id__in=members).values_list("id", "email")
    return {str(number): email for number, email in people}


def subject(kind: str, text: str, people: Mapping[str, str]) -> str:
    """A stored subject as the API names it."""
    if text == EACH:
        return EACH
    if kind == "member":
        return people.get(text, "a former member")
    return ids.public("key", UUID(text)) if kind == "key" else text


def as_json(budget: Budget, used: Iterable[Used], people: Mapping[str, str]) -> dict[str, Any]:
    def money(amount: int | None) -> dict[str, Any] | None:
        return None if amount is None else Money(amount, budget.currency).as_json()

    return {
        "id": budget.public_id,
        "kind": budget.kind,
        "subject": subject(budget.kind, budget.subject, people) or None,
        "period": budget.period,
        "currency": budget.currency,
        "limit": money(budget.amount),
        "hard": budget.hard,
        "models": budget.allowed,
        "max_per_run": money(budget.max_per_run),
        "concurrency": budget.concurrency,
        "created_at": budget.created_at,
        "closed_at": budget.closed_at,
        "spendings": [
            {
                "subject": one.subject or None,
                "starts_at": one.spending.starts_at,
                "ends_at": one.spending.ends_at,
                "spent": money(one.spending.spent),
                "held": money(one.spending.held),
                "left": money(one.left),
            }
            for one in used
        ],
    }
