"""What must hold between runs and their money; the audit asks it beside the ledger's own."""

INVARIANTS = {
    "an ended run has no open hold": """
        SELECT r.id::text FROM runs_run r JOIN ledger_hold h ON h.run_id = r.id
         WHERE r.finished_at IS NOT NULL AND h.state = 'open'""",
    "a run under way has an open hold": """
        SELECT r.id::text FROM runs_run r LEFT JOIN ledger_hold h ON h.run_id = r.id
         WHERE r.finished_at IS NULL AND h.state IS DISTINCT FROM 'open'""",
    "an open hold has a run of the same team and price": """
        SELECT h.run_id::text FROM ledger_hold h LEFT JOIN runs_run r ON r.id = h.run_id
         WHERE h.state IN ('open', 'in_review')
           AND (r.id IS NULL OR r.team_id <> h.team_id OR r.price_id <> h.price_id)""",
}
