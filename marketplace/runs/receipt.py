"""A run's receipt: what was asked, what the three witnesses counted, what was charged and whence.

Anybody can redo its arithmetic: quantities times unit prices, rounded once, are the charge.
"""

from datetime import datetime
from decimal import Decimal
from itertools import groupby
from operator import itemgetter
from typing import Any
from uuid import UUID

import orjson
from django.db import connection

from marketplace import ids
from marketplace.errors import NotFound
from marketplace.metering.quote import priced_lines
from marketplace.money import Money
from marketplace.runs import view
from marketplace.runs.view import RUN_SQL, Row, as_json

EXACTNESS = {
    "E0": "the same bits",
    "E1": "rounded otherwise",
    "E2": "approximate",
    "E3": "another model",
}
RECEIPT_SQL = RUN_SQL.format(where="WHERE r.id = %s AND r.team_id = %s")
MONEY_SQL = """
WITH asked AS (SELECT %s::uuid AS run_id)
SELECT json_build_object('entries', (
    SELECT coalesce(json_agg(json_build_object(
               'transfer', t.reference, 'kind', t.kind, 'note', t.note,
               'account', e.account, 'amount', e.amount,
               'currency', e.currency, 'at', t.event_at) ORDER BY t.id, e.place), '[]')
      FROM ledger_transfer t
     CROSS JOIN LATERAL shown_entries(t.id) WITH ORDINALITY
           AS e(account, yours, currency, amount, place)
     WHERE t.run_id = asked.run_id AND t.kind IN ('charge', 'refund')), 'credits', (
    SELECT coalesce(json_agg(json_build_object(
               'name', a.name, 'kind', a.kind, 'scope', a.scope, 'funder', a.funder,
               'held', p.amount, 'captured', p.captured, 'currency', a.currency)
               ORDER BY p.position), '[]')
      FROM ledger_holdpart p JOIN ledger_account a ON a.id = p.account_id
     WHERE p.hold_id = asked.run_id), 'requests', (
    SELECT coalesce(json_agg(json_build_object(
               'id', q.id, 'reason', q.reason, 'note', q.note, 'state', q.state,
               'amount', q.amount, 'decided_by', q.decided_by, 'answer', q.answer,
               'created_at', q.created_at, 'looked_at', q.looked_at, 'deadline_at', q.deadline_at,
               'decided_at', q.decided_at) ORDER BY q.id), '[]')
      FROM runs_refundrequest q WHERE q.run_id = asked.run_id), 'decisions', (
    SELECT coalesce(json_agg(json_build_object(
               'act', d.act, 'amount', d.amount, 'words', d.words, 'at', d.at) ORDER BY d.id), '[]')
      FROM runs_decision d
     WHERE d.run_id = asked.run_id AND d.act IN ('charge', 'void')), 'plan', (
    SELECT r.usage -> 'plan' FROM runs_run r WHERE r.id = asked.run_id))::text
  FROM asked
"""


def receipt(run_id: UUID, team_id: UUID) -> dict[str, Any]:
    """The receipt of a team's run. Raises NotFound, also for another team's."""
    with connection.cursor() as cursor:
        cursor.execute(RECEIPT_SQL, [run_id, team_id])
        if (found := cursor.fetchone()) is None:
            raise NotFound("There is no such run.")
        cursor.execute(MONEY_SQL, [run_id])
        return drawn(view.read(found[0]), orjson.loads(cursor.fetchone()[0]))


def drawn(row: Row, money: dict[str, Any]) -> dict[str, Any]:
    """The receipt from a run's row and what MONEY_SQL says of it: the ledger entries of its charge
    and refunds, the credits that its hold stands on, what was asked for and decided since, and
    what our own worker computed it with."""
    entries = money["entries"]
    run = as_json(row)
    currency, cost = row["currency"] or "USD", run["cost"]
    before, captured = row["available_before"] or 0, row["captured"] or 0
    kept = ("model", "release", "state", "outcome", "inputs", "project", "end_user")
    times = (
        "created_at",
        "started_at",
        "finished_at",
        "waiting_seconds",
        "running_seconds",
        "attempts",
        "route",
    )
    return {
        "run": run["id"],
        **{name: run[name] for name in kept + times},
        "price": {
            "version": row["price_version"],
            "segment": row["price_segment"],
            "digest": row["price_digest"],
            "currency": currency,
            "lines": row["price_lines"],
        },
        "usage": run["usage"],
        "checks": run["checks"],
        "plan": computed(money["plan"]),
        "lines": charged_lines(row, run["usage"]),
        "cost": cost,
        "session": run["session"],
        "credits": [spent(credit) for credit in money["credits"]],
        "balance_before": Money(before, currency).as_json(),
        "balance_after": Money(before - captured, currency).as_json(),
        "entries": [
            {
                "transfer": entry["transfer"],
                "account": entry["account"],
                "amount": Money(entry["amount"], entry["currency"]).as_json(),
                "at": entry["at"],
            }
            for entry in entries
        ],
        "refunds": refunds(entries),
        "refund_requests": [requested(found, currency) for found in money["requests"]],
        "decisions": [priced(found, currency) for found in money["decisions"]],
        "outputs": run["outputs"],
        "error": run["error"],
    }


def computed(plan: Any) -> dict[str, str] | None:
    """What computed a run and how near that is to eager; nothing where no worker of ours said."""
    if not isinstance(plan, dict) or plan.get("exactness") not in EXACTNESS:
        return None
    exactness = str(plan["exactness"])
    told = {"name": str(plan.get("name", ""))[:40], "exactness": exactness}
    return told | {"means": EXACTNESS[exactness]}


def spent(credit: dict[str, Any]) -> dict[str, Any]:
    """What one credit held for the run and gave, in the order they were spent."""
    amounts = {n: Money(credit[n], credit["currency"]).as_json() for n in ("held", "captured")}
    named = {name: credit[name] for name in ("name", "kind", "scope")}
    return named | {"funder": credit["funder"] or None} | amounts


def requested(found: dict[str, Any], currency: str) -> dict[str, Any]:
    """A request for a refund as the API shows it."""
    run_ids = {"id": ids.public("rfr", UUID(found["id"]))}
    return priced(found, currency) | run_ids | {"decided_by": found["decided_by"] or None}


def priced(found: dict[str, Any], currency: str) -> dict[str, Any]:
    return found | {"amount": Money(found["amount"], currency).as_json()}


def refunds(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What was given back after the charge, oldest first."""
    back = [e for e in entries if e["kind"] == "refund" and e["amount"] > 0]
    return [
        {
            "amount": Money(sum(e["amount"] for e in parts), parts[0]["currency"]).as_json(),
            "at": parts[0]["at"],
            "note": parts[0]["note"],
        }
        for _, (*parts,) in groupby(back, key=itemgetter("transfer"))
    ]


def charged_lines(row: Row, usage: list[dict[str, Any]]) -> list[dict[str, str | None]]:
    """Quantity × unit price of what was charged; empty while nothing was."""
    if not row["captured"]:
        return []
    used = {event["unit"]: Decimal(event["charged"]) for event in usage}
    at = datetime.fromisoformat(row["created_at"])
    return [line.as_json() for line in priced_lines(row["price_lines"], used, row["inputs"], at)]
