"""What is left of each run: its charge less refunds, the lab's share and what it cost us.

Read from the ledger alone: the teams' and the labs' entries of charges and refunds, and the memo of
the cost. Customer's price − refunded = lab's share + cost + margin, to the nano-unit.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from marketplace.runs.connections import Row, rows

MARGIN_SQL = """
SELECT b.slug || '/' || m.slug AS model, e.version AS release, r.outcome,
       count(*) AS runs, coalesce(sum(x.charged), 0)::bigint AS charged,
       coalesce(sum(x.refunded), 0)::bigint AS refunded, coalesce(sum(x.share), 0)::bigint AS share,
       coalesce(sum(x.cost), 0)::bigint AS cost,
       coalesce(sum(x.charged - x.refunded - x.share - x.cost), 0)::bigint AS margin
  FROM runs_run r
  JOIN catalog_release e ON e.id = r.release_id
  JOIN catalog_model m ON m.id = e.model_id
  JOIN catalog_lab b ON b.id = m.lab_id
 CROSS JOIN LATERAL (
       SELECT coalesce(-sum(n.amount) FILTER (WHERE t.kind = 'charge' AND a.team_id IS NOT NULL),
                       0) AS charged,
              coalesce(sum(n.amount) FILTER (WHERE t.kind = 'refund' AND a.team_id IS NOT NULL),
                       0) AS refunded,
              coalesce(sum(n.amount) FILTER (WHERE t.kind IN ('charge', 'refund')
                       AND a.team_id IS NULL AND starts_with(a.name, 'lab_payable:')), 0) AS share,
              coalesce(-sum(n.amount) FILTER (WHERE a.team_id IS NULL
                       AND starts_with(a.name, 'cogs:')), 0) AS cost
         FROM ledger_transfer t
         JOIN ledger_entry n ON n.transfer_id = t.id
         JOIN ledger_account a ON a.id = n.account_id
        WHERE t.run_id = r.id) x
 WHERE {where}
 GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""


def margins(since: datetime, until: datetime) -> list[Row]:
    """Per release and outcome, of runs admitted in [since, until): nano-units and how many."""
    where = "r.finished_at IS NOT NULL AND r.created_at >= %s AND r.created_at < %s"
    return rows((MARGIN_SQL.format(where=where), [since, until]))


def margin(run: UUID) -> dict[str, Any]:
    """One ended run's charged, refunded, share, cost and margin, nano-units; empty until then."""
    found = rows((MARGIN_SQL.format(where="r.finished_at IS NOT NULL AND r.id = %s"), [run]))
    return dict(found[0]) if found else {}
