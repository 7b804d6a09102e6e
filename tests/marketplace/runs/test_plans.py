"""What is done for every run finds its rows by key, also while the tables are small."""

import json
from typing import Any

import pytest
from django.db import connection, transaction

from marketplace.catalog.models import Release
from marketplace.ledger.balance import balance
from marketplace.runs.claim import claim
from marketplace.runs.connections import rows
from marketplace.sql import BY_KEY, PLANNING
from tests.conftest import Person
from tests.marketplace.supply import SMALL, admit

GROWING = ["runs_run", "runs_attempt", "runs_output", "ledger_hold", "ledger_holdpart",
           "ledger_transfer", "ledger_entry", "metering_meterevent"]  # fmt: skip
SCANS_SQL = """SELECT relname AS name, seq_scan AS scans FROM pg_stat_xact_user_tables
                WHERE relname = ANY (%s)"""


def scans() -> dict[str, int]:
    """How often this transaction has read each of the growing tables from end to end."""
    return {row["name"]: row["scans"] for row in rows((SCANS_SQL, [GROWING]))}


def end(run: dict[str, Any], cost: int) -> list[dict[str, Any]]:
    hold = {"state": "captured", "amount": cost,
            "shares": [{"account": "revenue:rehearsal", "amount": cost}]}  # fmt: skip
    item = {"run_id": str(run["run_id"]), "attempt": run["attempt"], "state": "succeeded",
            "outcome": "succeeded", "outputs": [], "hold": hold,
            "events": [{"unit": "image", "quantity": "1"}]}  # fmt: skip
    return rows(("SELECT code FROM settle_runs(%s::jsonb)", [json.dumps([item])]))


@pytest.mark.django_db(transaction=True)
def test_a_run_costs_no_scan_from_its_admission_to_its_capture(ada: Person, still: Release) -> None:
    admit(ada, **SMALL)
    [first] = rows(claim(queue="labs", worker="w", warm=[], limit=1))
    assert end(first, 500) == [{"code": "settled"}]
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")  # so that the planner knows how small they are
    had = balance(ada.team).available
    with transaction.atomic():
        runs = [admit(ada, **SMALL) for _ in range(3)]
        [first, second] = rows(claim(queue="labs", worker="w", warm=[], limit=2))
        assert [end(first, 700), end(second, 300)] == [[{"code": "settled"}]] * 2
        rows(("SELECT * FROM cancel_run(%s, %s)", [runs[2], ada.team.id]))
        assert scans() == dict.fromkeys(GROWING, 0)
    assert balance(ada.team).available == had - 1_000


@pytest.mark.django_db
def test_each_of_these_functions_is_planned_by_key() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT proname, proconfig FROM pg_proc WHERE proname = ANY (%s)", [[*BY_KEY]]
        )
        found = {name: set(config or ()) for name, config in cursor.fetchall()}
    assert found == {name: {f"{knob}=off" for knob in PLANNING} for name in BY_KEY}
