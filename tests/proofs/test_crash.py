"""A backend that is killed at any statement leaves nothing, and the call made again does it once.

For each scenario: every gate that the call passes, inside COMMIT too, is a place to die. After
each death all rows are as before, byte for byte, and a second call gives what the first should
have. At the end it is made for good, and made again: nothing more happens.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import orjson
import pytest
from django.db import connection

from marketplace import ids
from marketplace.access import budget as budgets
from marketplace.catalog.models import Release
from marketplace.ledger import check
from marketplace.ledger.capture import Share, captured, voided
from marketplace.ledger.transfer import grant_credit
from marketplace.metering.sale import load_offers
from marketplace.runs.invariants import INVARIANTS as OF_RUNS
from marketplace.runs.submit import ADMIT_SQL, prepare, to_item
from tests.conftest import Person
from tests.proofs import figures, gates

Call = tuple[str, list[Any]]
TABLES = (
    "ledger_account", "ledger_hold", "ledger_holdpart", "ledger_transfer", "ledger_entry",
    "ledger_fold", "runs_run", "runs_output", "runs_outbox", "runs_attempt", "metering_meterevent",
    "access_spending", "access_budgetalert",
)  # fmt: skip
SETTLE_SQL = "SELECT run_id, code FROM settle_runs(%s::jsonb)"
REFUND_SQL = "SELECT code, refunded, refundable FROM refund_run(%s, %s, %s, 'wrong')"
COVERED = (
    "admit_runs", "hold_within_budgets", "hold_one_by_one", "enter_budgets", "hold_from",
    "settle_runs", "close_holds", "book_costs", "spendings_follow", "entries_balance",
    "refund_run", "grant_money", "void_credit", "expire_credits", "empty_credit", "fold_entries",
    "system_account",
)  # fmt: skip

pytestmark = [pytest.mark.proofs, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def labels() -> Iterator[set[str]]:
    with gates.installed() as found:
        yield found


def state() -> list[str]:
    """All rows of all tables that money touches."""
    with connection.cursor() as cursor:
        digests = [
            f"SELECT '{table}' || coalesce(md5(string_agg(t::text, ',' ORDER BY t::text)), '')"
            f" FROM {table} t"
            for table in TABLES
        ]
        cursor.execute(" UNION ALL ".join(digests))
        return [row[0] for row in cursor.fetchall()]


def sound() -> bool:
    found = check.findings(check.INVARIANTS | OF_RUNS)
    assert [f.said for f in found if f.count] == []
    return True


def item(person: Person, **more: Any) -> dict[str, Any]:
    admission = prepare(
        offer=load_offers()["rehearsal/still"],
        body={"model": "rehearsal/still", "inputs": {"prompt": "red heart"}},
        team_id=person.team.id,
        key_id=person.key.id,
        user_id=None,
        idempotency_key=more.pop("idempotency_key", None),
        quote=None,
        max_cost=None,
    )
    return to_item(admission) | more


def admission(*items: dict[str, Any]) -> Call:
    return ADMIT_SQL, [orjson.dumps(list(items)).decode()]


def made(call: Call) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(*call)
        return cursor.fetchall()


def admitted(person: Person, many: int) -> list[UUID]:
    items = [item(person) for _ in range(many)]
    assert {row[1] for row in made(admission(*items))} == {"ok"}
    return [one["run_id"] for one in items]


def settlement(closings: dict[UUID, dict[str, Any]]) -> Call:
    output = {
        "position": 0, "kind": "image", "content_type": "image/png", "path": "x", "bytes": 1,
        "sha256": "00" * 32, "width": 1, "height": 1, "expires_at": "2030-01-01T00:00:00Z",
        "sound": False,
    }  # fmt: skip
    event = {"unit": "image", "quantity": 1, "requested": 1, "reported": 1, "measured": 1}
    items = [
        {
            "run_id": run, "attempt": 0, "hold": closing,
            "state": "succeeded" if closing["amount"] else "failed",
            "outcome": "succeeded" if closing["amount"] else "our_error",
            "outputs": [output | {"id": ids.uuid7()}] if closing["amount"] else [],
            "events": [event] if closing["amount"] else [],
            "cost": {"amount": 7, "payable": "lab:rehearsal", "cogs": "cogs:x", "currency": "USD"},
        }
        for run, closing in closings.items()
    ]  # fmt: skip
    return SETTLE_SQL, [orjson.dumps(items).decode()]


def charged(person: Person, amount: int = 2_000_000) -> UUID:
    [run] = admitted(person, 1)
    shares = [Share("lab:rehearsal", amount // 3), Share("revenue:x", amount - amount // 3)]
    made(settlement({run: captured(amount, shares)}))
    return run


def small_credits(ada: Person) -> None:
    """Two that a run spans, one for its model; the team's budget admits one run more."""
    for name, scope in (("Launch", ["rehearsal/still"]), ("Other", ["kinora"])):
        grant_credit(
            team=ada.team, amount=1_500_000, name=name, reference=name, expires_at=None,
            scope=scope, funder="rehearsal",
        )  # fmt: skip


def one_after_another(ada: Person) -> Call:
    small_credits(ada)
    budgets.create(team=ada.team, data={"kind": "team", "limit": "0.003"}, created_by=ada.user)
    twin = item(ada, idempotency_key="k")
    return admission(
        item(ada, amount=10**15, quoted=10**15), twin, item(ada, idempotency_key="k"), item(ada)
    )


def within_a_budget(ada: Person) -> Call:
    budgets.create(
        team=ada.team, data={"kind": "team", "limit": "9", "concurrency": 1}, created_by=None
    )
    return admission(item(ada), item(ada))


def beyond_the_balance(ada: Person) -> Call:
    small_credits(ada)
    return admission(item(ada), item(ada, amount=10**15, quoted=10**15))


def mixed_settlement(ada: Person) -> Call:
    budgets.create(team=ada.team, data={"kind": "team", "limit": "0.004"}, created_by=None)
    first, second = admitted(ada, 2)
    shares = [Share("lab:new", 600_000), Share("revenue:x", 900_000)]
    return settlement({first: captured(1_500_000, shares), second: voided()})


def partial_refund(ada: Person) -> Call:
    budgets.create(team=ada.team, data={"kind": "team", "limit": "1"}, created_by=None)
    return REFUND_SQL, [charged(ada), 700_001, "part"]


def taken_back(ada: Person) -> Call:
    small_credits(ada)
    return "SELECT taken FROM void_credit('Launch', 'x')", []


def expired(ada: Person) -> Call:
    small_credits(ada)
    made(
        (
            "UPDATE ledger_account SET expires_at = now() WHERE name IN ('Launch', 'Other')"
            " RETURNING id",
            [],
        )
    )
    return "SELECT expire_credits()", []


def granted(ada: Person) -> Call:
    return (
        "SELECT grant_money('new', %s, 'promo', 'C', 'promo_funding:new', 'USD', 5, 10::smallint,"
        " NULL, '', '[]', 'new') > 0",
        [ada.team.id],
    )


def refunded(ada: Person) -> Call:
    call = partial_refund(ada)
    assert codes(made(call)) == [("ok", 700_001)]
    return call


def granted_again(ada: Person) -> Call:
    made(granted(ada))
    return granted(ada)


def folded(ada: Person) -> Call:
    charged(ada)
    return "SELECT fold_entries()", []


SCENARIOS: dict[str, Callable[[Person], Call]] = {
    "admit: two that fit the first credit": lambda ada: admission(item(ada), item(ada)),
    "admit: one by one, within a budget that refuses": one_after_another,
    "admit: within a budget with lanes": within_a_budget,
    "admit: several credits, then too little": beyond_the_balance,
    "settle: one captured in shares, one voided, with costs": mixed_settlement,
    "refund: a part": partial_refund,
    "refund: the rest": lambda ada: (REFUND_SQL, [charged(ada), None, "rest"]),
    "refund: too much": lambda ada: (REFUND_SQL, [charged(ada), 10**12, "much"]),
    "refund: by a reference that is taken": lambda ada: (
        REFUND_SQL,
        [charged(ada), 1, "tests:ada"],
    ),
    "refund: of nothing": lambda ada: (REFUND_SQL, [admitted(ada, 1)[0], 1, "none"]),
    "refund: the same again": refunded,
    "credit: granted": granted,
    "credit: granted again": granted_again,
    "credit: taken back": taken_back,
    "credit: expired": expired,
    "fold": folded,
}
# Another run takes the reference of a refund in the moment between two statements of it.
UNREACHED = ["refund_run:40", "refund_run:41"]
deaths: dict[str, int] = {}
at_commit: dict[str, int] = {}
passed: set[str] = set()


@pytest.mark.parametrize("scenario", list(SCENARIOS))
def test_death_at_any_statement_leaves_nothing(
    scenario: str, ada: Person, still: Release, labels: set[str]
) -> None:
    call, begun = SCENARIOS[scenario](ada), time.monotonic()
    before = state()
    answer, gates_before_commit = gates.traced(call)
    assert state() == before
    gate = 0
    with gates.session() as killer:
        killer.autocommit = True
        killer.execute("SELECT pg_advisory_lock(%s)", [gates.LOCK])
        while gates.killed_at(gate + 1, call, killer):
            gate += 1
            assert state() == before
            assert codes(gates.traced(call)[0]) == codes(answer)
    after = state()  # the last one found no gate to die at and committed
    assert gate >= len(gates_before_commit) > 1
    assert sound()
    told = codes(made(call))
    assert state() == after, "the call made again did more"
    assert sound()
    deaths[scenario] = gate
    at_commit[scenario] = gate - len(gates_before_commit)
    passed.update(gates_before_commit)
    took = time.monotonic() - begun
    print(f"{scenario}: {gate} deaths, {took:.1f} s; gives {codes(answer)}, again {told}")


def codes(rows: list[tuple[Any, ...]]) -> list[Any]:
    """The words and amounts of an answer."""
    return [tuple(v for v in row if isinstance(v, str | int))[:2] for row in rows]


def test_every_statement_of_the_money_functions_was_a_place_to_die(labels: set[str]) -> None:
    if deaths.keys() != SCENARIOS.keys():
        pytest.skip("some scenarios were left out")
    of_money = {label for label in labels if label.split(":")[0] in COVERED}
    figures.keep(
        "crash: killed at every statement, nothing left, once when repeated",
        {
            "scenarios": len(deaths),
            "functions": len(COVERED),
            "statements": len(of_money & passed),
            "deaths": sum(deaths.values()),
            "of them inside COMMIT": sum(at_commit.values()),
        },
    )
    assert sorted(of_money - passed) == UNREACHED
