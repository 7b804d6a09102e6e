"""The ledger against plain Python that counts along, and what its guards refuse."""

from datetime import timedelta

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.utils import timezone
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from marketplace import ids
from marketplace.accounts.models import Team
from marketplace.ledger.accounts import revenue_account
from marketplace.ledger.balance import balance
from marketplace.ledger.capture import Share, captured, close
from marketplace.ledger.check import check
from marketplace.ledger.hold import Want, hold
from marketplace.ledger.models import Account, Entry
from marketplace.ledger.transfer import expire_credits, grant_credit
from tests.marketplace.ledger.machine import Ledger


@pytest.mark.django_db
def test_the_ledger_agrees_with_plain_python_that_counts_along() -> None:
    run_state_machine_as_test(
        Ledger,
        settings=settings(
            max_examples=30,
            stateful_step_count=25,
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
