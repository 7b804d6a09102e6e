"""The ledger's invariants, asked of the database; every answer should be empty.

A sweep runs them and `manage.py check_ledger` prints them.
"""

from django.db import connection

INVARIANTS = {
    "every transfer sums to 0 per currency": """
        SELECT e.transfer_id::text FROM ledger_entry e JOIN ledger_account a ON a.id = e.account_id
         GROUP BY e.transfer_id, a.currency HAVING sum(e.amount) <> 0""",
    "all entries sum to 0 per currency": """
        SELECT a.currency FROM ledger_entry e JOIN ledger_account a ON a.id = e.account_id
         GROUP BY a.currency HAVING sum(e.amount) <> 0""",
    "a team account's posted is the sum of its entries": """
        SELECT a.id::text FROM ledger_account a LEFT JOIN ledger_entry e ON e.account_id = a.id
         WHERE a.team_id IS NOT NULL
         GROUP BY a.id HAVING a.posted <> coalesce(sum(e.amount), 0)""",
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
            OR (state <> 'captured' AND captured <> 0)""",
    "a hold's parts sum to it": """
        SELECT h.run_id::text FROM ledger_hold h LEFT JOIN ledger_holdpart p ON p.hold_id = h.run_id
         GROUP BY h.run_id, h.amount, h.captured
        HAVING coalesce(sum(p.amount), 0) <> h.amount
            OR coalesce(sum(p.captured), 0) <> h.captured""",
    "one charge per captured hold, of its amount": """
        SELECT h.run_id::text FROM ledger_hold h
          LEFT JOIN ledger_transfer t ON t.run_id = h.run_id AND t.kind = 'charge'
          LEFT JOIN ledger_entry e ON e.transfer_id = t.id AND e.amount < 0
         GROUP BY h.run_id, h.captured
        HAVING coalesce(-sum(e.amount), 0) <> h.captured OR count(DISTINCT t.id) > 1""",
    "a hold's refunded is the sum of its refunds": """
        SELECT h.run_id::text FROM ledger_hold h
          LEFT JOIN ledger_transfer t ON t.run_id = h.run_id AND t.kind = 'refund'
          LEFT JOIN ledger_entry e ON e.transfer_id = t.id AND e.amount > 0
         GROUP BY h.run_id, h.refunded HAVING coalesce(sum(e.amount), 0) <> h.refunded""",
    "refunds of a run never exceed its charge, account by account": """
        SELECT t.run_id::text FROM ledger_transfer t
          JOIN ledger_entry e ON e.transfer_id = t.id
          JOIN ledger_account a ON a.id = e.account_id
         WHERE t.run_id IN (SELECT run_id FROM ledger_transfer WHERE kind = 'refund')
         GROUP BY t.run_id, a.id
        HAVING sum(e.amount) * CASE WHEN a.team_id IS NULL THEN 1 ELSE -1 END < 0""",
}


def check() -> list[str]:
    """Each violated invariant with the first rows at fault; an empty list is good."""
    violations = []
    with connection.cursor() as cursor:
        for sentence, sql in INVARIANTS.items():
            cursor.execute(f"{sql} LIMIT 5")
            if rows := [row[0] for row in cursor.fetchall()]:
                violations.append(f"{sentence}: {', '.join(rows)}")
    return violations
