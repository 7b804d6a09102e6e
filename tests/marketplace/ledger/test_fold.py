"""System balances follow their entries, whatever the order in which transactions commit."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction

from marketplace import ids
from marketplace.accounts.models import Team
from marketplace.ledger.capture import Share, captured, close
from marketplace.ledger.check import check
from marketplace.ledger.fold import fold, fold_restored, lag
from marketplace.ledger.hold import Want, hold
from marketplace.ledger.models import Account, Entry, Fold
from marketplace.ledger.transfer import grant_credit
from tests.marketplace.ledger.test_race import at_once
from tests.marketplace.quiet import quiet

pytestmark = pytest.mark.django_db(transaction=True)  # what a transaction sees is the subject


def give(amount: int, reference: str) -> None:
    team = Team.objects.create(name="Ada")
    grant_credit(team=team, amount=amount, name="C", reference=reference, expires_at=None)


def fold_all() -> int:
    """Fold what is committed, all of it."""
    quiet()
    return fold()


def funding() -> int:
    return Account.objects.get(name="promo_funding:kinora").posted


@contextmanager
def another_session() -> Iterator["psycopg.Connection[Any]"]:
    parameters = connection.get_connection_params()
    kept = {name: parameters[name] for name in ("dbname", "user", "password", "host")}
    with psycopg.connect(**kept) as session:
        yield session


GRANT = (
    "SELECT grant_money(%s, %s, 'promo', 'C', 'promo_funding:kinora', 'USD', %s, 10::smallint,"
    " NULL, '', '[]', 'kinora')"
)


def test_a_fold_takes_each_entry_once() -> None:
    give(5, "a")
    assert fold_all() == 1
    assert funding() == -5
    assert fold_all() == 0
    give(7, "b")
    assert check() == []  # an entry that waits is no fault
    assert lag().waiting == 1
    assert fold_all() == 1
    assert funding() == -12
    assert [f.entries for f in Fold.objects.order_by("id")] == [1, 1]
    assert (lag().waiting, lag().hour) == (0, 2)
    assert check() == []


def test_an_entry_that_commits_after_a_fold_is_in_the_next_although_its_id_is_lower() -> None:
    give(1, "first")
    team = Team.objects.create(name="Slow")
    with another_session() as slow:
        slow.execute(GRANT, ["slow", team.id, 100])
        give(10, "later")
        assert Entry.objects.filter(amount=-10).exists()
        fold()
        assert funding() == -1  # what began after the slow one waits with it
        assert lag().waiting == 1
        give(1_000, "latest")
        fold()
        assert funding() == -1
        slow.commit()
    slow_id = Entry.objects.get(amount=-100).id
    assert slow_id < Entry.objects.get(amount=-10).id < Entry.objects.get(amount=-1_000).id
    assert fold_all() == 3
    assert funding() == -1_111
    assert check() == []


def test_a_transaction_that_never_commits_keeps_nothing_back_for_long() -> None:
    give(1, "first")
    assert fold_all() == 1
    with another_session() as slow:
        slow.execute(GRANT, ["slow", Team.objects.create(name="Slow").id, 100])
        give(10, "later")
        assert fold() == 0
        slow.rollback()
    assert fold_all() == 1
    assert funding() == -11


def test_a_fold_that_dies_before_its_commit_has_folded_nothing() -> None:
    give(5, "a")
    with another_session() as dying:
        assert dying.execute("SELECT fold_entries()").fetchone() == (1,)
        [pid] = dying.execute("SELECT pg_backend_pid()").fetchone() or [0]
        connection.cursor().execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
        with pytest.raises(psycopg.OperationalError):
            dying.commit()
    assert funding() == 0
    assert fold_all() == 1
    assert funding() == -5


def test_folds_at_once_fold_once() -> None:
    for number in range(20):
        give(1, str(number))
    counts: list[int] = []
    at_once([lambda: counts.append(fold())] * 6)
    counts.append(fold_all())
    assert sum(counts) == 20
    assert funding() == -20


def test_folds_beside_captures_lose_nothing() -> None:
    team = Team.objects.create(name="Ada")
    grant_credit(team=team, amount=10_000, name="C", reference="r", expires_at=None)
    done = threading.Event()

    def spend() -> None:
        for _ in range(25):
            with transaction.atomic():
                run = ids.uuid7()
                hold(wants=[Want(run, team.id, 3, 3, 1)])
                close(closings={run: captured(3, [Share("lab:x", 2), Share("revenue:x", 1)])})

    def keep_folding() -> None:
        while not done.is_set():
            fold()

    folding = threading.Thread(target=lambda: (keep_folding(), connection.close()))
    folding.start()
    at_once([spend] * 4)
    done.set()
    folding.join()
    fold_all()
    assert Account.objects.get(name="lab:x").posted == 200
    assert Account.objects.get(name="revenue:x").posted == 100
    assert Fold.objects.count() > 1
    assert check() == []


def test_a_restored_database_is_told_apart_and_begins_anew() -> None:
    give(5, "a")
    fold_all()
    Fold.objects.update(horizon="9000000000")  # a cluster whose transactions were counted further
    with pytest.raises(DatabaseError, match=r"manage\.py fold --restored"), transaction.atomic():
        fold()
    assert funding() == -5
    give(6, "b")
    quiet()
    assert fold_restored() == 2
    assert funding() == -11
    give(7, "c")
    quiet()
    call_command("fold")
    assert funding() == -18
    assert lag().waiting == 0
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        connection.cursor().execute("UPDATE ledger_entry SET amount = 1")
    assert check() == []
