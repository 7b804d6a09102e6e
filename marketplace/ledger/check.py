"""The ledger's invariants, asked of the database; every answer should be empty.

Rooms above add theirs with `add`, so that one audit asks all. It is kept as a row: the beat makes
one every night, `manage.py check_ledger` and the console at any time.
"""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from django.db import connection, transaction

from marketplace.ledger.models import Audit

# Sentence → a query of one text column that names what breaks it. Each reads a table once.
INVARIANTS: dict[str, str] = {
    "every transfer sums to 0 per currency": """
        SELECT e.transfer_id::text FROM ledger_entry e JOIN ledger_account a ON a.id = e.account_id
         GROUP BY e.transfer_id, a.currency HAVING sum(e.amount) <> 0""",
    "a team account's posted is the sum of its entries": """
        SELECT a.id::text FROM ledger_account a
          LEFT JOIN (SELECT account_id, sum(amount) AS total FROM ledger_entry GROUP BY 1) e
            ON e.account_id = a.id
         WHERE a.team_id IS NOT NULL AND a.posted <> coalesce(e.total, 0)""",
    "a system account's posted is the sum of its folded entries": """
        WITH last AS (
            SELECT coalesce((SELECT horizon FROM ledger_fold ORDER BY id DESC LIMIT 1), '0') AS xid)
        SELECT a.id::text FROM ledger_account a
          LEFT JOIN (SELECT account_id, sum(amount) AS total FROM ledger_entry
                      WHERE xid < (SELECT xid FROM last) GROUP BY 1) e ON e.account_id = a.id
         WHERE a.team_id IS NULL AND a.posted <> coalesce(e.total, 0)""",
    "an entry of a team says what was left, one of the system does not": """
        SELECT e.id::text FROM ledger_entry e JOIN ledger_account a ON a.id = e.account_id
         WHERE (a.team_id IS NULL) <> (e.balance_after IS NULL)""",
    "an account's held is the sum of its open holds": """
        SELECT a.id::text FROM ledger_account a
          LEFT JOIN (SELECT p.account_id, sum(p.amount) AS held FROM ledger_holdpart p
                       JOIN ledger_hold h ON h.run_id = p.hold_id
                      WHERE h.state IN ('open', 'in_review') GROUP BY 1) o ON o.account_id = a.id
         WHERE a.held <> coalesce(o.held, 0)""",
    "no account is overdrawn": """
        SELECT id::text FROM ledger_account
         WHERE team_id IS NOT NULL AND posted - held < -credit_limit""",
    "captured ≤ held ≤ quoted": """
        SELECT run_id::text FROM ledger_hold
         WHERE captured < 0 OR captured > amount OR amount > quoted
            OR (state <> 'captured' AND captured <> 0)
            OR (state IN ('open', 'in_review')) <> (closed_at IS NULL)""",
    "a hold's parts sum to it": """
        SELECT h.run_id::text FROM ledger_hold h
          LEFT JOIN (SELECT hold_id, sum(amount) AS amount, sum(captured) AS captured
                       FROM ledger_holdpart GROUP BY 1) p ON p.hold_id = h.run_id
         WHERE coalesce(p.amount, 0) <> h.amount OR coalesce(p.captured, 0) <> h.captured""",
    "one charge per captured hold, of its amount, and none without a hold": """
        SELECT coalesce(h.run_id, c.run_id)::text FROM ledger_hold h
          FULL JOIN (SELECT t.run_id, count(DISTINCT t.id) AS charges, -sum(e.amount) AS amount
                       FROM ledger_transfer t
                       JOIN ledger_entry e ON e.transfer_id = t.id AND e.amount < 0
                      WHERE t.kind = 'charge' GROUP BY 1) c ON c.run_id = h.run_id
         WHERE h.run_id IS NULL OR coalesce(c.amount, 0) <> h.captured OR c.charges > 1""",
    "a hold's refunded is the sum of its refunds": """
        SELECT coalesce(h.run_id, r.run_id)::text FROM ledger_hold h
          FULL JOIN (SELECT t.run_id, sum(e.amount) AS amount FROM ledger_transfer t
                       JOIN ledger_entry e ON e.transfer_id = t.id AND e.amount > 0
                      WHERE t.kind = 'refund' GROUP BY 1) r ON r.run_id = h.run_id
         WHERE h.run_id IS NULL OR h.refunded <> coalesce(r.amount, 0)""",
    "refunds of a run never exceed its charge, account by account": """
        SELECT t.run_id::text FROM ledger_transfer t
          JOIN ledger_entry e ON e.transfer_id = t.id
          JOIN ledger_account a ON a.id = e.account_id
         WHERE t.kind IN ('charge', 'refund')
           AND t.run_id IN (SELECT run_id FROM ledger_transfer WHERE kind = 'refund')
         GROUP BY t.run_id, a.id
        HAVING sum(e.amount) * CASE WHEN a.team_id IS NULL THEN 1 ELSE -1 END < 0""",
    "a credit is granted once, by its funder, and only voids go back there": """
        SELECT a.id::text FROM ledger_account a
          LEFT JOIN (SELECT e.account_id, t.id, t.kind FROM ledger_transfer t
                       JOIN ledger_entry e ON e.transfer_id = t.id
                      WHERE t.kind IN ('grant', 'void') AND e.balance_after IS NOT NULL) m
            ON m.account_id = a.id
          LEFT JOIN ledger_entry f ON f.transfer_id = m.id AND f.balance_after IS NULL
          LEFT JOIN ledger_account s ON s.id = f.account_id
         WHERE a.kind = 'promo'
         GROUP BY a.id
        HAVING count(*) FILTER (WHERE m.kind = 'grant') <> 1
            OR bool_or(s.name IS DISTINCT FROM 'promo_funding:' || a.funder)""",
    "granted = burned + expired + voided + remaining, credit by credit": """
        SELECT a.id::text FROM ledger_account a
          LEFT JOIN (SELECT e.account_id,
                            sum(e.amount) FILTER (WHERE t.kind = 'grant') AS granted,
                            -sum(e.amount) FILTER (WHERE t.kind IN ('charge', 'refund')) AS burned,
                            -sum(e.amount) FILTER (WHERE t.kind = 'expiry') AS expired,
                            -sum(e.amount) FILTER (WHERE t.kind = 'void') AS voided
                       FROM ledger_transfer t JOIN ledger_entry e ON e.transfer_id = t.id
                      WHERE e.balance_after IS NOT NULL GROUP BY 1) m ON m.account_id = a.id
         WHERE a.kind = 'promo' AND (coalesce(m.granted, 0) <> coalesce(m.burned, 0)
               + coalesce(m.expired, 0) + coalesce(m.voided, 0) + a.posted
               OR m.burned < 0 OR m.expired < 0 OR m.voided < 0)""",
    "no hold has expired this week because its run was gone": """
        SELECT run_id::text FROM ledger_hold
         WHERE state = 'expired' AND closed_at > now() - interval '7 days'""",
}
ELSEWHERE: dict[str, str] = {}  # those of the rooms above
ASKED = "SELECT count(*), (array_agg(at_fault))[1:5] FROM ({}) AS found(at_fault)"
# Sums over all entries sort on disk in the 4 MB that the server gives a short request.
ROOM = "SET LOCAL work_mem = '128MB'"
ABOUT = "SELECT coalesce(max(id), 0) FROM ledger_entry"  # counting them would take long


@dataclass(frozen=True, slots=True)
class Finding:
    """What breaks one invariant: how many, and the first five."""

    sentence: str
    seconds: float
    count: int
    rows: list[str]

    @property
    def said(self) -> str:
        return f"{self.sentence}: {', '.join(self.rows)}"


def add(invariants: Mapping[str, str]) -> None:
    """Have the audit ask these too. Called while Django starts."""
    ELSEWHERE.update(invariants)


@transaction.atomic
def findings(invariants: Mapping[str, str]) -> list[Finding]:
    """Ask these; each is one statement, so it sees one state of the ledger."""
    found = []
    with connection.cursor() as cursor:
        cursor.execute(ROOM)
        for sentence, sql in invariants.items():
            start = time.monotonic()
            cursor.execute(ASKED.format(sql))
            count, rows = cursor.fetchone()
            found.append(Finding(sentence, time.monotonic() - start, count, rows or []))
    return found


def check() -> list[str]:
    """Each of the ledger's own invariants that is violated, with the first rows at fault."""
    return [f.said for f in findings(INVARIANTS) if f.count]


def audit() -> Audit:
    """Ask every invariant, also those of the rooms above, and keep what was found."""
    start = time.monotonic()
    found = findings(INVARIANTS | ELSEWHERE)
    with connection.cursor() as cursor:
        cursor.execute(ABOUT)
        [entries] = cursor.fetchone()
    return Audit.objects.create(
        seconds=time.monotonic() - start,
        entries=entries,
        good=not any(f.count for f in found),
        findings=[asdict(f) for f in found],
    )
