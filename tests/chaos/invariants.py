"""What must hold after the dust has settled; asked of the stack's own database."""

from collections.abc import Sequence

import psycopg

QUESTIONS = {
    "every accepted run exists and ended": """
        SELECT w::text FROM unnest(%(runs)s::uuid[]) w LEFT JOIN runs_run r ON r.id = w
         WHERE r.finished_at IS NULL""",
    "no idempotency key made two runs": """
        SELECT idempotency_key FROM runs_run GROUP BY team_id, idempotency_key
        HAVING count(*) > 1 AND idempotency_key IS NOT NULL""",
    "a run that succeeded is charged once": """
        SELECT r.id::text FROM runs_run r
          LEFT JOIN ledger_transfer t ON t.run_id = r.id AND t.kind = 'charge'
         WHERE r.state = 'succeeded' GROUP BY r.id HAVING count(t.id) <> 1""",
    "a run that failed gave its money back": """
        SELECT r.id::text FROM runs_run r JOIN ledger_hold h ON h.run_id = r.id
         WHERE r.state IN ('failed', 'cancelled') AND h.state <> 'voided'""",
    "no ended run has an open hold": """
        SELECT r.id::text FROM runs_run r JOIN ledger_hold h ON h.run_id = r.id
         WHERE r.finished_at IS NOT NULL AND h.state = 'open'""",
    "a run that succeeded has its outputs": """
        SELECT r.id::text FROM runs_run r LEFT JOIN runs_output o ON o.run_id = r.id
         WHERE r.state = 'succeeded' GROUP BY r.id HAVING count(o.id) = 0""",
    "nothing was charged above its quote": """
        SELECT run_id::text FROM ledger_hold WHERE captured > amount OR amount > quoted""",
    "all entries sum to 0": """
        SELECT sum(amount)::text FROM ledger_entry HAVING sum(amount) <> 0""",
}
REDISPATCH = """
    SELECT coalesce(max(extract(epoch FROM b.claimed_at - to_timestamp(%(killed_at)s))), 0)::float,
           count(*)
      FROM runs_attempt a JOIN runs_attempt b ON b.run_id = a.run_id AND b.number = a.number + 1
     WHERE a.claimed_at < to_timestamp(%(killed_at)s)
       AND b.claimed_at > to_timestamp(%(killed_at)s)"""


def violations(connection: psycopg.Connection, runs: Sequence[str]) -> list[str]:
    """Each broken sentence with the first rows at fault."""
    found = []
    for sentence, sql in QUESTIONS.items():
        rows = connection.execute(sql, {"runs": list(runs)}).fetchmany(5)
        if rows:
            found.append(f"{sentence}: {', '.join(str(row[0]) for row in rows)}")
    return found


def redispatch(connection: psycopg.Connection, killed_at: float) -> tuple[float, int]:
    """Seconds from the kill until the last run that it interrupted was claimed again; how many."""
    row = connection.execute(REDISPATCH, {"killed_at": killed_at}).fetchone()
    assert row is not None
    return row[0], row[1]


def first_claim(connection: psycopg.Connection, queue: str, killed_at: float) -> float:
    """Seconds from the kill until anything of `queue` was claimed; infinite if nothing was."""
    row = connection.execute(
        """SELECT extract(epoch FROM min(a.claimed_at) - to_timestamp(%(killed_at)s))::float
             FROM runs_attempt a JOIN runs_run r ON r.id = a.run_id
            WHERE r.queue = %(queue)s AND a.claimed_at > to_timestamp(%(killed_at)s)""",
        {"queue": queue, "killed_at": killed_at},
    ).fetchone()
    return float("inf") if row is None or row[0] is None else float(row[0])
