"""Locks are taken in one order, also when accounts and budgets are made in between."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.db import connection
from django.utils import timezone

from marketplace.access.models import Budget
from marketplace.catalog.models import Release
from marketplace.ledger.models import HoldPart
from marketplace.ledger.transfer import grant_credit
from marketplace.runs.connections import parameters, rows
from marketplace.runs.models import Run
from tests.conftest import Person
from tests.marketplace.access.test_budgets import admit, check, item, limit
from tests.marketplace.runs.test_sessions import extend, opened
from tests.marketplace.supply import until

pytestmark = pytest.mark.django_db(transaction=True)
WAITING_SQL = """SELECT count(*) AS backends FROM pg_stat_activity
                  WHERE datname = current_database() AND wait_event_type = 'Lock'"""


class Locked:
    """All rows of a table, locked by another connection until `let_go`."""

    def __init__(self, table: str) -> None:
        self.link = psycopg.connect(**parameters())
        self.link.execute(f"SELECT 1 FROM {table} FOR UPDATE".encode())
        self.let_go = self.link.close


@contextmanager
def beside(work: Callable[[], Any]) -> Iterator[list[Any]]:
    """Work in a thread that waits for a lock by now; has what it gives once the block is left."""
    given: list[Any] = []

    def body() -> None:
        try:
            given.append(work())
        except Exception as fault:
            given.append(fault)
        finally:
            connection.close()

    thread = threading.Thread(target=body)
    thread.start()
    until(lambda: rows((WAITING_SQL, []))[0]["backends"])
    yield given
    thread.join(20)


def taken_since(person: Person, settlement: psycopg.Connection) -> None:
    """An account that would be spent first is opened, and a settlement locks it."""
    soon = timezone.now() + timedelta(days=1)
    new = grant_credit(
        team=person.team, amount=5_000_000_000, name="New", reference="new", expires_at=soon
    )
    settlement.execute("SELECT 1 FROM ledger_account WHERE id = %s FOR UPDATE", [new])


def stood_on() -> set[str]:
    """The names of the accounts that holds stand on."""
    return set(HoldPart.objects.values_list("account__name", flat=True))


def test_an_admission_takes_no_account_that_was_opened_after_its_locks(
    ada: Person, still: Release
) -> None:
    """Whoever settles from the new account may wait for the spending that this one has."""
    limit(ada, "1")
    assert admit(item(ada)) == ["ok"]
    before = stood_on()
    spendings = Locked("access_spending")
    with psycopg.connect(**parameters()) as settlement:
        with beside(lambda: admit(item(ada))) as given:
            taken_since(ada, settlement)
            spendings.let_go()
        assert given == [["ok"]]
    assert stood_on() == before
    assert check() == []
    assert admit(item(ada)) == ["ok"]
    assert stood_on() == before | {"New"}


def test_a_slice_of_a_session_takes_none_either(ada: Person, glyph: Release) -> None:
    limit(ada, "1")
    run = opened(ada, 10)
    before = stood_on()
    spendings = Locked("access_spending")
    with psycopg.connect(**parameters()) as settlement:
        with beside(lambda: extend(run, 20)) as given:
            taken_since(ada, settlement)
            spendings.let_go()
        assert given == [("ok", 2_000_000)]
    assert stood_on() == before
    assert check() == []


def test_a_budget_that_is_made_before_the_accounts_are_locked_is_kept(
    ada: Person, still: Release
) -> None:
    """Who makes it finds no run to put into its lane yet, so the admission has to."""
    accounts = Locked("ledger_account")
    with beside(lambda: admit(item(ada))) as given:
        Budget.objects.create(team=ada.team, kind="team", period="month", concurrency=1)
        accounts.let_go()
    assert given == [["ok"]]
    assert len(Run.objects.get().lanes or []) == 1
    assert check() == []
