-- What a lab has earned and no statement has told yet.

-- The charges, refunds, costs and adjustments of a lab's models from before `p_end`, oldest first.
-- gross: what customers paid; owed: what the lab has of it; credits: funder → what their credits
-- paid; borne: what of that the lab pays for by its agreement. All nano-units, of a refund below 0.
--
-- Reads from the last fold before the last statement's end on: what is older was told by it.
CREATE OR REPLACE FUNCTION untold_lines(p_lab bigint, p_currency text, p_end timestamptz)
RETURNS TABLE (transfer_id bigint, kind text, run_id uuid, model text, agreement_id bigint,
               at timestamptz, gross bigint, owed bigint, credits jsonb, borne jsonb)
LANGUAGE sql STABLE AS $$
    WITH theirs AS (
        SELECT DISTINCT e.transfer_id
          FROM catalog_lab l
          JOIN ledger_account a ON a.team_id IS NULL AND a.currency = p_currency
               AND (a.name = 'lab_payable:' || l.slug
                    OR starts_with(a.name, 'revenue:' || l.slug || '/'))
          JOIN ledger_entry e ON e.account_id = a.id
         WHERE l.id = p_lab AND e.xid >= coalesce(
               (SELECT max(f.horizon) FROM ledger_fold f
                 WHERE f.folded_at < (SELECT max(s.end) - interval '1 hour'
                                        FROM payouts_statement s
                                       WHERE s.lab_id = p_lab AND s.currency = p_currency)), '0')
    )
    SELECT t.id, t.kind::text, t.run_id, coalesce(named.model, ''), t.agreement_id, t.event_at,
           sums.gross, sums.owed, coalesce(paid.credits, '{}'), coalesce(paid.borne, '{}')
      FROM theirs
      JOIN ledger_transfer t ON t.id = theirs.transfer_id
      JOIN catalog_lab l ON l.id = p_lab
      LEFT JOIN payouts_agreement g ON g.id = t.agreement_id
      LEFT JOIN ledger_hold h ON h.run_id = t.run_id
      LEFT JOIN LATERAL (
           SELECT l.slug || '/' || m.slug AS model
             FROM metering_price p
             JOIN catalog_release r ON r.id = p.release_id
             JOIN catalog_model m ON m.id = r.model_id
            WHERE p.id = h.price_id) named ON true
     CROSS JOIN LATERAL (
           SELECT coalesce(-sum(e.amount) FILTER (WHERE a.team_id IS NOT NULL), 0)::bigint AS gross,
                  coalesce(sum(e.amount) FILTER (WHERE a.team_id IS NULL
                           AND a.name = 'lab_payable:' || l.slug), 0)::bigint AS owed
             FROM ledger_entry e JOIN ledger_account a ON a.id = e.account_id
            WHERE e.transfer_id = t.id) sums
     CROSS JOIN LATERAL (
           SELECT jsonb_object_agg(c.funder, c.amount) AS credits,
                  jsonb_object_agg(c.funder, c.amount) FILTER (WHERE g.basis <> 'net'
                      AND (g.promotions = 'lab'
                           OR (g.promotions = 'giver' AND c.funder = l.slug))) AS borne
             FROM (SELECT coalesce(nullif(a.funder, ''), 'kinora') AS funder,
                          -sum(e.amount) AS amount
                     FROM ledger_entry e JOIN ledger_account a ON a.id = e.account_id
                    WHERE e.transfer_id = t.id AND a.kind = 'promo' GROUP BY 1) c) paid
     WHERE t.kind IN ('charge', 'refund', 'cost', 'adjustment') AND t.event_at < p_end
       AND NOT EXISTS (SELECT 1 FROM payouts_statementline x WHERE x.transfer_id = t.id)
     ORDER BY t.id;
$$;

-- Move `p_amount` into what we owe a lab from another system account, or below 0 out of it. Once
-- per reference; 0 moves nothing. Gives whether it was done now.
CREATE OR REPLACE FUNCTION book_owed(
    p_reference text, p_kind text, p_lab text, p_other text, p_currency text, p_amount bigint,
    p_run uuid, p_agreement bigint, p_note text
) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    moved bigint;
BEGIN
    IF p_amount = 0 THEN
        RETURN false;
    END IF;
    INSERT INTO ledger_transfer (kind, reference, run_id, agreement_id, note, event_at)
    VALUES (p_kind, p_reference, p_run, p_agreement, p_note, now())
    ON CONFLICT (reference) DO NOTHING RETURNING id INTO moved;
    IF moved IS NULL THEN
        RETURN false;
    END IF;
    INSERT INTO ledger_entry (transfer_id, account_id, amount, balance_after)
    VALUES (moved, system_account('lab_payable:' || p_lab, p_currency), p_amount, NULL),
           (moved, system_account(p_other, p_currency), -p_amount, NULL);
    RETURN true;
END $$;
