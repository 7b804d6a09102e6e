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
}
