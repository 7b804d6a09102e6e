"""What must hold between agreements and the ledger; the audit asks it beside the ledger's own."""

INVARIANTS = {
    "a lab's share is what its pinned agreement says, rounded down": """
        SELECT s.run_id::text FROM (
            SELECT t.run_id, g.basis, g.millionths,
                   -sum(e.amount) FILTER (WHERE a.team_id IS NOT NULL) AS gross,
                   coalesce(-sum(e.amount) FILTER (WHERE a.kind = 'promo' AND (g.promotions = 'lab'
                       OR (g.promotions = 'giver' AND a.funder = l.slug))), 0) AS funded,
                   coalesce(sum(e.amount) FILTER (WHERE a.name = 'lab_payable:' || l.slug
                       AND a.team_id IS NULL), 0) AS got,
                   bool_or(a.currency <> g.currency) AS foreign_money
              FROM ledger_transfer t
              JOIN payouts_agreement g ON g.id = t.agreement_id
              JOIN catalog_lab l ON l.id = g.lab_id
              JOIN ledger_entry e ON e.transfer_id = t.id
              JOIN ledger_account a ON a.id = e.account_id
             WHERE t.kind = 'charge'
             GROUP BY t.id, g.id, l.slug) s
         WHERE s.foreign_money OR s.got <> CASE s.basis
               WHEN 'gross' THEN div(s.gross * s.millionths, 1000000)
               WHEN 'net' THEN div((s.gross - s.funded) * s.millionths, 1000000)
               ELSE 0 END""",
    "a charge pins the agreement of its lab and of its hold's instant": """
        SELECT t.run_id::text
          FROM ledger_transfer t
          JOIN ledger_hold h ON h.run_id = t.run_id
          JOIN metering_price p ON p.id = t.price_id
          JOIN catalog_release r ON r.id = p.release_id
          JOIN catalog_model m ON m.id = r.model_id
          LEFT JOIN payouts_agreement g ON g.lab_id = m.lab_id AND g.currency = h.currency
               AND g.effective_from <= h.created_at
               AND (g.effective_to IS NULL OR g.effective_to > h.created_at)
         WHERE t.kind = 'charge' AND t.agreement_id IS DISTINCT FROM g.id
           AND (t.agreement_id IS NOT NULL OR g.made_at < h.created_at - interval '1 minute')""",
    "no lab has a share without an agreement, nor another's": """
        SELECT t.id::text
          FROM ledger_transfer t
          JOIN ledger_entry e ON e.transfer_id = t.id
          JOIN ledger_account a ON a.id = e.account_id AND starts_with(a.name, 'lab_payable:')
               AND a.team_id IS NULL
          LEFT JOIN payouts_agreement g ON g.id = t.agreement_id
          LEFT JOIN catalog_lab l ON l.id = g.lab_id
         WHERE t.kind IN ('charge', 'refund')
           AND a.name IS DISTINCT FROM 'lab_payable:' || l.slug""",
    "refunds take back at most what a lab earned, and all of it with the last": """
        SELECT t.run_id::text
          FROM ledger_transfer t
          JOIN ledger_entry e ON e.transfer_id = t.id
          JOIN ledger_account a ON a.id = e.account_id
         WHERE t.kind IN ('charge', 'refund') AND t.agreement_id IS NOT NULL
         GROUP BY t.run_id
        HAVING coalesce(sum(e.amount) FILTER (WHERE starts_with(a.name, 'lab_payable:')), 0) < 0
            OR (sum(e.amount) FILTER (WHERE a.team_id IS NOT NULL) = 0
                AND sum(e.amount) FILTER (WHERE starts_with(a.name, 'lab_payable:')) <> 0)""",
    "a statement's line is what its transfer says": """
        SELECT x.transfer_id::text
          FROM payouts_statementline x
          JOIN payouts_statement s ON s.id = x.statement_id
          JOIN catalog_lab l ON l.id = s.lab_id
          JOIN ledger_transfer t ON t.id = x.transfer_id
          JOIN ledger_entry e ON e.transfer_id = t.id
          JOIN ledger_account a ON a.id = e.account_id
         GROUP BY x.id, t.id, s.currency
        HAVING x.kind <> t.kind OR bool_or(a.currency <> s.currency)
            OR x.gross <> coalesce(-sum(e.amount) FILTER (WHERE a.team_id IS NOT NULL), 0)
            OR x.owed <> coalesce(sum(e.amount) FILTER (WHERE a.team_id IS NULL
                   AND starts_with(a.name, 'lab_payable:')), 0)""",
    "a statement's figures are its lines', and it opens where the one before ended": """
        SELECT s.id::text
          FROM (SELECT s.*, coalesce(sum(s.payable) OVER (PARTITION BY s.lab_id, s.currency
                       ORDER BY s."end" ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0)
                       AS before,
                       lag(s."end") OVER (PARTITION BY s.lab_id, s.currency ORDER BY s."end")
                       AS follows
                  FROM payouts_statement s) s
          LEFT JOIN (SELECT x.statement_id, count(*) AS lines, sum(x.owed) AS owed,
                            sum(x.gross) AS gross FROM payouts_statementline x GROUP BY 1) x
            ON x.statement_id = s.id
          LEFT JOIN LATERAL (SELECT sum(b.value::bigint) AS borne
                               FROM jsonb_each_text(s.borne) b) b ON true
         WHERE s.opening <> s.before OR s.start <> s.follows
            OR s.lines_count <> coalesce(x.lines, 0)
            OR s.gross - s.refunded <> coalesce(x.gross, 0)
            OR s.share + s.cost + s.adjustments <> coalesce(x.owed, 0)
            OR s.payable <> s.share + s.cost + s.adjustments - coalesce(b.borne, 0) - s.burned""",
    "what statements told and what they moved is all that the ledger owes a lab but the untold": """
        SELECT a.name
          FROM ledger_account a
          JOIN catalog_lab l ON a.name = 'lab_payable:' || l.slug
          JOIN ledger_entry e ON e.account_id = a.id
          JOIN ledger_transfer t ON t.id = e.transfer_id
          LEFT JOIN payouts_statementline x ON x.transfer_id = t.id
         WHERE a.team_id IS NULL
         GROUP BY a.id, l.id
        HAVING coalesce(sum(e.amount) FILTER (WHERE x.id IS NOT NULL
                   OR t.kind IN ('promotion', 'guarantee')), 0) <> (
               SELECT coalesce(sum(s.payable), 0) FROM payouts_statement s
                WHERE s.lab_id = l.id AND s.currency = a.currency)
            OR bool_or(t.kind NOT IN ('charge', 'refund', 'cost', 'adjustment', 'promotion',
                                      'guarantee'))""",
}
