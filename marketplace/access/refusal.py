"""What a caller is told whom a budget kept out: which one, its figures, what is missing."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from marketplace import errors, ids
from marketplace.money import Money

WHOSE = {
    "team": "The team's budget",
    "member": "This member's budget",
    "key": "This key's budget",
    "project": "The budget of project {}",
    "end_user": "The budget of end user {}",
}
WHEN = {"day": "a day", "month": "a month", "total": "in all"}
RETRY_SECONDS = 5


def refusal(code: str, budget: Mapping[str, Any], *, quoted: int) -> errors.KinoraError:
    """The error for a code of `budget_refusals` or `lane_full` and the facts beside it.

    quoted: nano-units that the run may cost.
    """
    whose = WHOSE[budget["kind"]].format(budget["subject"])
    named = ids.public("budget", UUID(budget["id"]))
    if code == "model_not_allowed":
        allowed = ", ".join(budget["models"])
        return errors.ModelNotAllowed(
            f"{whose} allows only {allowed}.", param="model", budget=named, models=budget["models"]
        )
    if code == "lane_full":
        return errors.Busy(
            f"{whose} lets {budget['concurrency']} runs go at once, and as many wait already. "
            "Ask without `wait`, or later.",
            budget=named,
            concurrency=budget["concurrency"],
            retry_after=RETRY_SECONDS,
        )
    return too_much(whose, named, budget, quoted)


def too_much(
    whose: str, named: str, budget: Mapping[str, Any], quoted: int
) -> errors.BudgetExceeded:
    currency = budget["currency"]
    one = budget["max_per_run"]
    cost = Money(quoted, currency)
    if one is not None and quoted > one:
        most = Money(one, currency)
        return errors.BudgetExceeded(
            f"This run may cost {cost}. {whose} allows {most} a run.",
            budget=named,
            max_per_run=most.as_json(),
            quoted=cost.as_json(),
            missing=Money(quoted - one, currency).as_json(),
        )
    limit, spent, held = (Money(budget[name], currency) for name in ("limit", "spent", "held"))
    missing = Money(spent.amount + held.amount + quoted - limit.amount, currency)
    return errors.BudgetExceeded(
        f"This run may cost {cost}. {whose} is {limit} {WHEN[budget['period']]}: "
        f"{spent} are spent and {held} held, so {missing} is missing.",
        budget=named,
        limit=limit.as_json(),
        spent=spent.as_json(),
        held=held.as_json(),
        missing=missing.as_json(),
        quoted=cost.as_json(),
    )
