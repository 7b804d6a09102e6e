"""Make, change, close and reopen budgets. Who may is somebody else's question.

Each takes effect with the next admission after its commit, a concurrency with the next start; what
is spent and held stays counted.
"""

from collections.abc import Mapping
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone

from marketplace.access import wish
from marketplace.access.models import Budget
from marketplace.accounts.models import Member, Team, User
from marketplace.errors import Conflict
from marketplace.ledger.models import Account

UNIQUE = "budget_once_for_whom_and_when"


def create(*, team: Team, data: Mapping[str, Any], created_by: User | None) -> Budget:
    """A new budget from the fields of `wish`. Raises InvalidInput; Conflict where an open one is
    for the same."""
    wish.known(data, *wish.FIXED, *wish.LIMITS)
    kind = wish.choice(data.get("kind"), Budget.Kind.values, "kind")
    budget = Budget(
        team=team,
        kind=kind,
        subject=wish.subject(data.get("subject"), kind, team),
        period=wish.choice(data.get("period", "month"), Budget.Period.values, "period"),
        created_by=created_by,
        **wish.limits(data, team),
    )
    return saved(budget)


def change(*, budget: Budget, data: Mapping[str, Any]) -> Budget:
    """Set other limits; whose and which period stays. Raises InvalidInput, Conflict."""
    wish.known(data, *wish.LIMITS)
    if budget.closed_at:
        raise Conflict("This budget is closed. Reopen it first.")
    for name, value in wish.limits(data, budget.team).items():
        setattr(budget, name, value)
    return saved(budget)


def close(*, budget: Budget) -> Budget:
    """It limits nothing from now on. Repeats safely; `reopen` undoes it."""
    if budget.closed_at is None:
        budget.closed_at = timezone.now()
        budget.save(update_fields=["closed_at"])
    return budget


def reopen(*, budget: Budget) -> Budget:
    """Undo a close; what started in between does not count. Repeats safely. Raises Conflict."""
    budget.closed_at = None
    return saved(budget)


def saved(budget: Budget) -> Budget:
    wish.some_limit(budget)
    try:
        with transaction.atomic():
            budget.save()
    except IntegrityError as fault:
        if UNIQUE not in str(fault):
            raise
        raise Conflict(
            "There is an open budget for the same and this period. Change that one.",
            param="subject",
        ) from None
    if budget.concurrency:
        transaction.on_commit(lambda: gather(budget))
    budget.refresh_from_db()
    return budget


def gather(budget: Budget) -> None:
    """Have runs keep to a concurrency that were admitted while it was being set.

    An admission under way did not see the budget, and the budget not the run. Once it has let go of
    the team's accounts it has committed; then the runs are put in their lanes anew.
    """
    with transaction.atomic():
        list(Account.objects.select_for_update().filter(team=budget.team_id).order_by("id"))
    Budget.objects.filter(id=budget.id).update(concurrency=F("concurrency"))


def manages(team: Team, user: User | None) -> bool:
    """Whether the person may make and change the team's budgets: owners may."""
    role = Member.Role.OWNER
    return user is not None and Member.objects.filter(team=team, user=user, role=role).exists()
