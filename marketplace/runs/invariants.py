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
    "days and tail of pace count every run whose hold is closed": """
        SELECT c.release_id::text FROM (
            SELECT p.release_id, p.runs FROM pace_since('-infinity') p
             UNION ALL
            SELECT r.release_id, -count(*) FROM runs_run r JOIN ledger_hold h ON h.run_id = r.id
             WHERE h.closed_xid IS NOT NULL AND r.outcome IS NOT NULL GROUP BY 1) c
         GROUP BY 1 HAVING sum(c.runs) <> 0""",
    "days and tail of usage are what holds and refunds say": """
        SELECT u.team_id::text FROM (
            SELECT d.team_id, 1 AS sign, d.runs, d.charged, d.given_back, d.refunded
              FROM runs_usageday d
             UNION ALL
            SELECT t.team_id, 1, t.runs, t.charged, t.given_back, t.refunded
              FROM usage_facts(coalesce((SELECT max(f.upto) FROM runs_usagefold f), '0'),
                               '18446744073709551615') t
             UNION ALL
            SELECT f.team_id, -1, f.runs, f.charged, f.given_back, f.refunded
              FROM usage_facts('0', '18446744073709551615') f) u
         GROUP BY u.team_id
        HAVING sum(u.sign * u.runs) <> 0 OR sum(u.sign * u.charged) <> 0
            OR sum(u.sign * u.given_back) <> 0 OR sum(u.sign * u.refunded) <> 0""",
}
