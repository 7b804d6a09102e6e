-- Close many holds in one call: capture up to the held amount, void, or leave for review.
--
-- items: [{run_id, state: captured | voided | expired | in_review, amount,
--          shares: [{account, amount}], agreement: the version that they follow, or null}].
-- shares name system accounts and sum to amount (the entries' guard checks it). Takes from the accounts that the hold itself
-- named, in their order, and gives back the rest; writes one balanced transfer per captured hold
-- (none for an amount of 0). Locks holds by id, then accounts by id. Runs inside the caller's
-- transaction. A hold that is already closed is left as it is and not returned.
CREATE OR REPLACE FUNCTION close_holds(items jsonb)
RETURNS TABLE (run_id uuid, state text, captured bigint, transfer_id bigint)
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM ledger_hold h
      WHERE h.run_id IN (SELECT i.run_id FROM jsonb_to_recordset(items) AS i(run_id uuid))
      ORDER BY h.run_id FOR UPDATE;
    PERFORM 1 FROM ledger_account a
      WHERE a.id IN (SELECT p.account_id FROM ledger_holdpart p
                       JOIN jsonb_to_recordset(items) AS i(run_id uuid) ON p.hold_id = i.run_id)
      ORDER BY a.id FOR UPDATE;
    PERFORM system_account(s.account, s.currency) FROM (
        SELECT DISTINCT s.account, h.currency::text AS currency
          FROM jsonb_to_recordset(items) AS i(run_id uuid, shares jsonb)
          JOIN ledger_hold h ON h.run_id = i.run_id,
               jsonb_to_recordset(i.shares) AS s(account text)
         ORDER BY 1, 2) s;

    RETURN QUERY
    WITH wanted AS (
        SELECT w.run_id, w.state, w.amount, w.shares, w.agreement, w.place, h.price_id, h.currency
          FROM ROWS FROM (jsonb_to_recordset(items) AS
            (run_id uuid, state text, amount bigint, shares jsonb, agreement bigint))
            WITH ORDINALITY AS w(run_id, state, amount, shares, agreement, place)
          JOIN ledger_hold h ON h.run_id = w.run_id
         WHERE h.state = 'open' OR (h.state = 'in_review' AND w.state <> 'in_review')
    ), part AS (
        SELECT p.id, p.account_id, p.amount, w.run_id, w.place, p.position,
               least(p.amount, greatest(0, w.amount
                   - (sum(p.amount) OVER (PARTITION BY p.hold_id ORDER BY p.position)
                      - p.amount)))::bigint AS taken
          FROM wanted w JOIN ledger_holdpart p ON p.hold_id = w.run_id
         WHERE w.state <> 'in_review'
    ), moved AS (
        UPDATE ledger_account a SET posted = a.posted - s.taken, held = a.held - s.amount
          FROM (SELECT part.account_id, sum(part.taken) AS taken, sum(part.amount) AS amount
                  FROM part GROUP BY 1) s
         WHERE a.id = s.account_id
    ), parted AS (
        UPDATE ledger_holdpart p SET captured = part.taken
          FROM part WHERE p.id = part.id AND part.taken > 0
    ), closed AS (
        UPDATE ledger_hold h
           SET state = w.state, captured = w.amount,
               closed_at = CASE WHEN w.state = 'in_review' THEN NULL ELSE now() END,
               closed_xid = CASE WHEN w.state = 'in_review' THEN NULL ELSE pg_current_xact_id() END
          FROM wanted w WHERE h.run_id = w.run_id
        RETURNING h.run_id, h.state, h.captured
    ), transfer AS (
        INSERT INTO ledger_transfer (kind, reference, run_id, price_id, agreement_id, note,
                                     event_at)
        SELECT 'charge', 'charge:' || w.run_id, w.run_id, w.price_id, w.agreement, '', now()
          FROM wanted w WHERE w.state = 'captured' AND w.amount > 0
        RETURNING id, ledger_transfer.run_id
    ), entry AS (
        INSERT INTO ledger_entry (transfer_id, account_id, amount, balance_after)
        SELECT t.id, part.account_id, -part.taken,
               a.posted - sum(part.taken) OVER (PARTITION BY part.account_id
                                                ORDER BY part.place, part.position)
          FROM part
          JOIN transfer t ON t.run_id = part.run_id
          JOIN ledger_account a ON a.id = part.account_id
         WHERE part.taken > 0
        UNION ALL
        SELECT t.id, a.id, s.amount, NULL
          FROM transfer t
          JOIN wanted w ON w.run_id = t.run_id
         CROSS JOIN jsonb_to_recordset(w.shares) AS s(account text, amount bigint)
          JOIN ledger_account a ON a.name = s.account AND a.currency = w.currency
               AND a.team_id IS NULL
         WHERE s.amount <> 0
    )
    SELECT c.run_id, c.state::text, c.captured, t.id
      FROM closed c LEFT JOIN transfer t ON t.run_id = c.run_id;
END $$;
