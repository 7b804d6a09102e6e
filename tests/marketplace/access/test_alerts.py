"""Owners are told of a crossing once, by e-mail, after it stands."""

import smtplib
from datetime import timedelta
from typing import Any
from unittest import mock

import pytest
from django.core import mail
from django.db.models import F

from marketplace.access import budget as budgets
from marketplace.access.alerts import tell_owners
from marketplace.access.models import BudgetAlert, Spending
from marketplace.catalog.models import Release
from tests.conftest import Person, join
from tests.marketplace.access.test_budgets import PRICE, admit, capture, item, limit

pytestmark = pytest.mark.django_db(transaction=True)


def test_owners_are_told_once_of_the_highest_line(ada: Person, ben: Person, still: Release) -> None:
    join("eve", team=ada.team, role="owner")
    budget = limit(ada, "0.002", kind="end_user", subject="u-7")
    wish = item(ada, end_user="u-7")
    admit(wish)
    assert tell_owners() == 0
    capture(wish["run_id"], PRICE)
    assert (tell_owners(), tell_owners()) == (1, 0)
    [letter] = mail.outbox
    assert sorted(letter.to) == ["ada@example.test", "eve@example.test"]
    assert letter.subject == "The budget of end user u-7 is 100 % spent"
    assert "Limit  0.002 USD\nSpent  0.002 USD\nHeld   0.00 USD\n" in letter.body
    assert letter.body.rstrip().endswith(f"/budgets/{budget.public_id}")
    told = BudgetAlert.objects.exclude(told_at=None).values_list("percent", flat=True)
    assert set(told) == {50, 80, 100}


def spend(person: Person) -> None:
    wish = item(person)
    assert admit(wish) == ["ok"]
    capture(wish["run_id"], PRICE)


def subjects() -> list[str]:
    """What the owners are told now."""
    mail.outbox.clear()
    tell_owners()
    return [letter.subject for letter in mail.outbox]


def test_a_raised_limit_arms_the_lines_that_are_ahead(ada: Person, still: Release) -> None:
    budget = limit(ada, "0.002")
    spend(ada)
    assert subjects() == ["The budget of the team is 100 % spent"]
    assert admit(item(ada)) == ["budget_exceeded"]
    assert subjects() == ["The budget of the team refused a run"]
    budgets.change(budget=budget, data={"limit": "0.004"})
    assert subjects() == []  # half of it was spent when the owner set it
    spend(ada)
    assert subjects() == ["The budget of the team is 100 % spent"]
    assert admit(item(ada)) == ["budget_exceeded"]
    assert admit(item(ada)) == ["budget_exceeded"]
    assert subjects() == ["The budget of the team refused a run"]
    budgets.change(budget=budget, data={"limit": "0.002"})
    assert subjects() == []  # of this limit they were told
    shown = BudgetAlert.objects.filter(cause="spent").order_by("amount", "percent")
    assert list(shown.values_list("amount", "percent")) == [
        (amount, percent) for amount in (PRICE, 2 * PRICE) for percent in (50, 80, 100)
    ]


def test_a_lowered_limit_that_is_passed_already_is_told(ada: Person, still: Release) -> None:
    budget = limit(ada, "0.02")
    spend(ada)
    assert subjects() == []
    budgets.change(budget=budget, data={"limit": "0.0025"})
    assert subjects() == ["The budget of the team is 80 % spent"]
    budgets.change(budget=budget, data={"limit": None, "concurrency": 3})
    budgets.change(budget=budget, data={"limit": "0.001"})
    assert subjects() == ["The budget of the team is 100 % spent"]


def test_a_new_period_begins_with_every_line_ahead(ada: Person, still: Release) -> None:
    limit(ada, "0.002", period="day")
    spend(ada)
    assert subjects() == ["The budget of the team is 100 % spent"]
    day = timedelta(days=1)
    Spending.objects.update(starts_at=F("starts_at") - day, ends_at=F("ends_at") - day)
    spend(ada)
    assert subjects() == ["The budget of the team is 100 % spent"]


def test_a_refusal_at_the_limit_is_told(ada: Person, still: Release) -> None:
    limit(ada, "0.001")
    assert admit(item(ada)) == ["budget_exceeded"]
    assert tell_owners() == 1
    assert mail.outbox[0].subject == "The budget of the team refused a run"
    assert "It was not charged." in mail.outbox[0].body


def test_a_mail_server_that_is_away_only_delays(ada: Person, still: Release) -> None:
    limit(ada, "0.001")
    admit(item(ada))

    def away(*_: Any, **__: Any) -> None:
        raise smtplib.SMTPConnectError(421, "away")

    with mock.patch("marketplace.access.alerts.send_mail", away):
        assert tell_owners() == 0
    assert BudgetAlert.objects.get().told_at is None
    assert tell_owners() == 1
