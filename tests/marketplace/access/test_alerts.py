"""Owners are told of a crossing once, by e-mail, after it stands."""

import smtplib
from typing import Any
from unittest import mock

import pytest
from django.core import mail

from marketplace.access.alerts import tell_owners
from marketplace.access.models import BudgetAlert
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
