"""A state machine drives the ledger's functions against a dictionary that counts along."""

from datetime import timedelta
from uuid import UUID

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.utils import timezone
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from marketplace import ids
from marketplace.accounts.models import Team
from marketplace.ledger.accounts import open_prepaid, revenue_account
from marketplace.ledger.balance import balance
from marketplace.ledger.capture import Share, captured, close, in_review, voided
from marketplace.ledger.check import check
from marketplace.ledger.hold import Want, hold
from marketplace.ledger.models import Account, Entry
from marketplace.ledger.refund import refund
from marketplace.ledger.transfer import expire_credits, grant_credit

amounts = st.integers(min_value=0, max_value=2_000)


class Ledger(RuleBasedStateMachine):
    """`free` and `set_aside` are what the team should have; `taken` what was captured."""

    holds = Bundle("holds")

    def __init__(self) -> None:
        super().__init__()
        self.atomic = transaction.atomic()
        self.atomic.__enter__()
        self.team = Team.objects.create(name="Ada")
        open_prepaid(team=self.team)
        self.free, self.set_aside, self.taken, self.grants = 0, 0, 0, 0
        self.open: dict[UUID, int] = {}
        self.refundable: dict[UUID, int] = {}

    def teardown(self) -> None:
        transaction.set_rollback(True)
        self.atomic.__exit__(None, None, None)

    @rule(amount=st.integers(min_value=1, max_value=5_000), days=st.integers(1, 9))
    def grant(self, amount: int, days: int) -> None:
        self.grants += 1
        reference = f"{self.team.id}:{self.grants}"
        for _ in range(2):  # the second is the same call again
            grant_credit(
                team=self.team,
                amount=amount,
                name="Credit",
                reference=reference,
                expires_at=timezone.now() + timedelta(days=days),
            )
        self.free += amount

    @rule(target=holds, wanted=st.lists(amounts, min_size=1, max_size=6))
    def hold_batch(self, wanted: list[int]) -> list[UUID]:
        wants = [Want(ids.uuid7(), self.team.id, a + 5, a, 1) for a in wanted]
        answers = {answer.run_id: answer for answer in hold(wants=wants)}
        assert answers.keys() == {want.run_id for want in wants}
        fits = [want for want in wants if answers[want.run_id].code == "ok"]
        for want in wants:
            if want not in fits:
                assert answers[want.run_id].code == "insufficient_balance"
                assert answers[want.run_id].available < want.amount  # type: ignore[operator]
        spent = sum(want.amount for want in fits)
        assert spent <= self.free
        if len(fits) == len(wants):
            assert sum(wanted) <= self.free
        self.free -= spent
        self.set_aside += spent
        self.open |= {want.run_id: want.amount for want in fits}
        return [want.run_id for want in fits]

    @rule(runs=consumes(holds), part=st.fractions(min_value=0, max_value=1))
    def capture(self, runs: list[UUID], part: object) -> None:
        closings = {}
        for run in runs:
            amount = int(self.open[run] * part)  # type: ignore[operator]
            closings[run] = captured(amount, [Share(revenue_account("kinora/glyph"), amount)])
        self.settle(closings)
        self.refundable |= {run: int(c["amount"]) for run, c in closings.items() if c["amount"]}

    @precondition(lambda self: self.refundable)
    @rule(data=st.data())
    def refund_one(self, data: st.DataObject) -> None:
        run = data.draw(st.sampled_from(list(self.refundable)))
        amount = data.draw(st.integers(1, self.refundable[run]))
        reference = f"refund:{run}:{self.refundable[run]}"
        for _ in range(2):  # the second is the same call again
            refund(run=run, amount=amount, reference=reference, note="")
        self.free += amount
        self.taken -= amount
        self.refundable[run] -= amount
        if self.refundable[run] == 0:
            del self.refundable[run]

    @rule(runs=consumes(holds))
    def void(self, runs: list[UUID]) -> None:
        self.settle({run: voided() for run in runs})

    @rule(runs=consumes(holds))
    def review_then_void(self, runs: list[UUID]) -> None:
        close(closings={run: in_review() for run in runs})
        assert balance(self.team.id).held == self.set_aside
        self.settle({run: voided() for run in runs})

    def settle(self, closings: dict[UUID, dict[str, object]]) -> None:
        done = close(closings=closings)
        assert done.keys() == closings.keys()
        assert close(closings=closings) == {}  # once is all
        for run, closing in closings.items():
            whole, amount = self.open.pop(run), int(closing["amount"])  # type: ignore[call-overload]
            self.set_aside -= whole
            self.free += whole - amount
            self.taken += amount

    @invariant()
    def the_database_agrees(self) -> None:
        now = balance(self.team.id)
        assert (now.available, now.held) == (self.free, self.set_aside)
        assert now.posted == self.free + self.set_aside
        assert check() == []


@pytest.mark.django_db
def test_the_ledger_agrees_with_a_dictionary_that_counts_along() -> None:
    run_state_machine_as_test(
        Ledger,
        settings=settings(
            max_examples=60,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.django_db
def test_an_expired_credit_is_not_spent_and_goes_to_breakage() -> None:
    team = Team.objects.create(name="Ada")
    soon = timezone.now() + timedelta(days=1)
    account = grant_credit(team=team, amount=100, name="C", reference="r", expires_at=soon)
    run = ids.uuid7()
    assert hold(wants=[Want(run, team.id, 40, 40, 1)])[0].code == "ok"
    Account.objects.filter(id=account).update(expires_at=timezone.now() - timedelta(seconds=1))

    assert hold(wants=[Want(ids.uuid7(), team.id, 1, 1, 1)])[0].code == "insufficient_balance"
    assert expire_credits() == 1
    assert expire_credits() == 0
    assert balance(team.id).available == 0
    assert balance(team.id).held == 40  # what is held outlives its expiry
    close(closings={run: captured(30, [Share(revenue_account("m"), 30)])})
    assert expire_credits() == 1
    breakage = Entry.objects.filter(account__name="breakage", amount__gt=0)
    assert sorted(breakage.values_list("amount", flat=True)) == [10, 60]
    assert check() == []


@pytest.mark.django_db
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger_entry SET amount = 1",
        "DELETE FROM ledger_entry",
        "DELETE FROM ledger_transfer",
        "TRUNCATE ledger_entry",
    ],
)
def test_what_is_booked_stays(statement: str) -> None:
    team = Team.objects.create(name="Ada")
    grant_credit(team=team, amount=9, name="C", reference="r", expires_at=None)
    connection.cursor().execute("SET CONSTRAINTS ALL IMMEDIATE")
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        connection.cursor().execute(statement)
    assert balance(team.id).posted == 9


@pytest.mark.django_db
def test_shares_that_do_not_sum_to_the_capture_are_refused_by_the_database() -> None:
    team = Team.objects.create(name="Ada")
    grant_credit(team=team, amount=9, name="C", reference="r", expires_at=None)
    run = ids.uuid7()
    hold(wants=[Want(run, team.id, 9, 9, 1)])
    false = {"state": "captured", "amount": 5, "shares": [{"account": "revenue:m", "amount": 4}]}
    with pytest.raises(DatabaseError, match="is off by"), transaction.atomic():
        close(closings={run: false})
    assert balance(team.id).held == 9


@pytest.mark.django_db
def test_a_capture_above_the_hold_is_refused_by_the_database() -> None:
    team = Team.objects.create(name="Ada")
    grant_credit(team=team, amount=9, name="C", reference="r", expires_at=None)
    run = ids.uuid7()
    hold(wants=[Want(run, team.id, 5, 5, 1)])
    with pytest.raises(IntegrityError), transaction.atomic():
        close(closings={run: captured(6, [Share(revenue_account("m"), 6)])})
    assert balance(team.id).available == 4
