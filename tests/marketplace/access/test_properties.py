"""Random budgets, admissions, captures, voids, reviews and refunds against plain arithmetic."""

from dataclasses import dataclass
from uuid import UUID

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from marketplace.access.models import Budget, Spending
from marketplace.catalog.models import Release
from marketplace.ledger.capture import Share, captured, close, in_review, voided
from marketplace.ledger.refund import refund
from tests.conftest import Person
from tests.marketplace.access.test_budgets import REVENUE, admit, check, item

USERS = ("", "a", "b")
PROJECTS = ("", "p")


@dataclass
class Counted:
    """A budget of the model, of one subject. runs: run → what it holds or has spent."""

    limit: int
    hard: bool
    runs: dict[UUID, int]

    def fits(self, amount: int) -> bool:
        return not self.hard or sum(self.runs.values()) + amount <= self.limit


amounts = st.integers(min_value=0, max_value=60)
budgets = st.fixed_dictionaries(
    {},
    optional={
        (kind, subject): st.tuples(st.integers(20, 300), st.sampled_from([True, True, False]))
        for kind, subject in (
            ("team", ""), ("end_user", "*"), ("end_user", "a"), ("project", "*"), ("project", "p"),
        )
    },
)  # fmt: skip
runs = st.tuples(amounts, st.sampled_from(USERS), st.sampled_from(PROJECTS))
ends = st.tuples(st.sampled_from(["capture", "void", "review", "refund"]), st.fractions(0, 1))
steps = st.lists(st.one_of(st.lists(runs, min_size=1, max_size=6), ends), min_size=1, max_size=14)


class Model:
    """What should be counted, by budget and subject."""

    def __init__(self, made: dict[tuple[str, str], tuple[int, bool]]) -> None:
        self.made = made
        self.counted: dict[tuple[str, str], Counted] = {}

    def over(self, user: str, project: str) -> list[Counted]:
        found = []
        for kind, name in (("team", ""), ("end_user", user), ("project", project)):
            if kind != "team" and not name:
                continue
            terms = self.made.get((kind, name)) or self.made.get((kind, "*"))
            if terms:
                found.append(self.counted.setdefault((kind, name), Counted(*terms, {})))
        return found

    def admit(self, run: UUID, amount: int, user: str, project: str) -> bool:
        over = self.over(user, project)
        if not all(one.fits(amount) for one in over):
            return False
        for one in over:
            one.runs[run] = amount
        return True

    def spend(self, run: UUID, amount: int) -> None:
        for one in self.counted.values():
            if run in one.runs:
                one.runs[run] = amount

    def agrees(self) -> None:
        for (kind, name), one in self.counted.items():
            found = Spending.objects.filter(budget__kind=kind, subject=name)
            assert sum(s.spent + s.held for s in found) == sum(one.runs.values())
            if one.hard:
                assert sum(one.runs.values()) <= one.limit


def act(model: Model, step: object, held: dict[UUID, int], spent: dict[UUID, int]) -> None:
    """One end of the oldest open run, or a refund of the oldest charge."""
    verb, part = step  # type: ignore[misc]
    if verb == "refund":
        if spent:
            run, charge = next(iter(spent.items()))
            if (back := int(charge * part)) > 0:
                refund(run=run, amount=back, reference=f"{run}:{charge}", note="")
                spent[run] = charge - back
                model.spend(run, spent[run])
            if not spent[run]:
                del spent[run]
        return
    if not held:
        return
    run = next(iter(held))
    if verb == "review":
        close(closings={run: in_review()})
        return
    whole = held.pop(run)
    amount = int(whole * part) if verb == "capture" else 0
    closing = captured(amount, [Share(REVENUE, amount)]) if amount else voided()
    close(closings={run: closing})
    model.spend(run, amount)
    if amount:
        spent[run] = amount


@pytest.mark.django_db(transaction=True)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(made=budgets, story=steps)
def test_budgets_agree_with_a_model_that_counts_along(
    ada: Person, still: Release, made: dict[tuple[str, str], tuple[int, bool]], story: list[object]
) -> None:
    with transaction.atomic():
        for (kind, subject), (limit, hard) in made.items():
            Budget.objects.create(
                team=ada.team, kind=kind, subject=subject, period="month", amount=limit, hard=hard
            )
        model, held, spent = Model(made), {}, {}
        for step in story:
            if isinstance(step, list):
                wishes = [
                    item(ada, project, user, amount=amount, quoted=amount)
                    for amount, user, project in step
                ]
                expected = [
                    model.admit(wish["run_id"], amount, user, project)
                    for wish, (amount, user, project) in zip(wishes, step, strict=True)
                ]
                codes = admit(*wishes)
                assert codes == ["ok" if fits else "budget_exceeded" for fits in expected]
                held |= {
                    wish["run_id"]: wish["amount"]
                    for wish, fits in zip(wishes, expected, strict=True)
                    if fits
                }
            else:
                act(model, step, held, spent)
            model.agrees()
        assert check() == []
        transaction.set_rollback(True)
