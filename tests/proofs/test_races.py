"""Sixteen processes on shared books: nothing is overspent, lost or made, and nothing deadlocks."""

import os
import time
from collections import Counter
from typing import Any

import pytest
from django.db import connection

from marketplace.access import budget as budgets
from marketplace.accounts.models import Team
from marketplace.ledger.balance import balance
from marketplace.ledger.check import check
from marketplace.ledger.fold import fold, lag
from marketplace.ledger.models import Entry, Hold
from marketplace.ledger.transfer import grant_credit
from tests.proofs import figures, hands

PROCESSES = 16
OPERATIONS = int(os.environ.get("PROOF_OPERATIONS", "1500"))
HOLDS = int(os.environ.get("PROOF_HOLDS", "100000"))
SEEN = (
    "ok", "insufficient_balance", "budget_exceeded", "captured", "voided", "in_review", "expired",
    "refund ok", "refund too_much", "refund reference_used", "credits emptied", "entries folded",
)  # fmt: skip

pytestmark = [pytest.mark.proofs, pytest.mark.django_db(transaction=True)]


def conninfo() -> dict[str, Any]:
    known = connection.get_connection_params()
    return {name: known[name] for name in ("dbname", "user", "password", "host")}


def funded(name: str, amount: int) -> Team:
    team = Team.objects.create(name=name)
    grant_credit(team=team, amount=amount, name="C", reference=f"funded:{name}", expires_at=None)
    return team


def test_sixteen_processes_leave_sound_books() -> None:
    teams = [funded(f"T{n}", 20_000) for n in range(6)]
    for team in teams[:3]:
        data = {"kind": "team", "limit": "0.000015", "period": "total"}
        budgets.create(team=team, data=data, created_by=None)
    begun = time.monotonic()
    plan = hands.Plan(conninfo(), [str(team.id) for team in teams], OPERATIONS, seed=7)
    done: Counter[str] = Counter()
    for each in hands.at_once(hands.hand, plan, PROCESSES):
        done.update(each)
    took = time.monotonic() - begun
    fold()
    assert lag().waiting == 0
    violations = [said for said in check() if not said.startswith("no hold has expired")]
    assert violations == []
    assert [answer for answer in SEEN if done[answer] == 0] == []
    figures.keep(
        f"{PROCESSES} processes at random on {len(teams)} teams: all invariants afterwards",
        {
            "operations": PROCESSES * OPERATIONS,
            "holds": Hold.objects.count(),
            "entries": Entry.objects.count(),
            "violations": len(violations),
            "seconds": round(took),
        },
    )
    print(dict(done))


def test_a_hundred_thousand_contended_holds_overspend_nothing() -> None:
    amount, share = 10, 0.3
    limit = int(HOLDS * share) * amount
    team = funded("Ada", limit)
    known: dict[str, Any] = {"conninfo": conninfo(), "team": str(team.id), "amount": amount}
    known |= {"limit": limit, "holds": HOLDS // PROCESSES}
    begun = time.monotonic()
    race = hands.Race(**known, batches=(1, 2, 5, 20, 50), begin=time.time() + 8)
    admitted = sum(hands.at_once(hands.racer, race, PROCESSES))
    took = time.monotonic() - begun - 8
    assert admitted * amount == limit  # all that fits, and not one more
    assert (balance(team.id).available, balance(team.id).held) == (0, limit)
    assert Hold.objects.count() == admitted
    assert check() == []
    over, wanted = overspent_by_reading_first(known)
    assert over > 0, "this proof could not fail"
    figures.keep(
        f"overspend race: {PROCESSES} processes on one balance",
        {
            "contended holds": HOLDS // PROCESSES * PROCESSES,
            "admitted": admitted,
            "overspent": admitted * amount - limit,
            "seconds": round(took),
            "read-then-write instead: wanted": wanted,
            "read-then-write instead: overspent": over,
        },
    )


def overspent_by_reading_first(known: dict[str, Any]) -> tuple[int, int]:
    """By how many holds the naive variant overspends, of how many wanted; five races."""
    over, wanted, limit, amount = 0, 0, 100 * known["amount"], known["amount"]
    for _ in range(5):
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE IF EXISTS proof_naive")
            cursor.execute("CREATE TABLE proof_naive AS SELECT 0::bigint AS spent")
        race = hands.Race(
            **known | {"limit": limit, "holds": 40}, batches=(1,), begin=time.time() + 8
        )
        admitted = sum(hands.at_once(hands.naive, race, PROCESSES))
        over += admitted - limit // amount
        wanted += 40 * PROCESSES
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE proof_naive")
    return over, wanted
