-- Give back what a run was charged, in whole or in part, by a transfer that reverses its charge.
--
-- p_amount: nano-units, NULL for all that is left. The team's accounts get it back last taken
-- first, each at most what was taken from it, also where a credit has expired since. The system
-- accounts give it in proportion to what they still have of the charge, rounded down; what the
-- rounding leaves comes from the platform's revenue, and from the others by id once that is spent.
-- So no account ever gives more than it got, and refunds that reach the whole reverse each entry.
--
-- Locks the run's hold, then the team's accounts by id: one run per transaction. Repeats safely:
-- the same reference gives the transfer made first. Gives `ok`, or `not_charged`,
-- `reference_used` (for another run or amount) or `too_much` with what is left; a refusal writes
-- nothing.
CREATE OR REPLACE FUNCTION refund_run(
    p_run uuid, p_amount bigint, p_reference text, p_note text
) RETURNS TABLE (code text, transfer_id bigint, refunded bigint, refundable bigint)
LANGUAGE plpgsql AS $$
DECLARE
    earlier record;
BEGIN
    code := 'not_charged';
    PERFORM 1 FROM ledger_hold h WHERE h.run_id = p_run AND h.captured > 0 FOR UPDATE;
    IF NOT FOUND THEN
        RETURN NEXT;
        RETURN;
    END IF;
    SELECT coalesce(-sum(e.amount), 0) INTO refundable
      FROM ledger_transfer t
      JOIN ledger_entry e ON e.transfer_id = t.id
      JOIN ledger_account a ON a.id = e.account_id AND a.team_id IS NOT NULL
     WHERE t.run_id = p_run AND t.kind IN ('charge', 'refund');

    SELECT t.id, t.kind, t.run_id, sum(e.amount) FILTER (WHERE e.amount > 0) AS amount
      INTO earlier
      FROM ledger_transfer t JOIN ledger_entry e ON e.transfer_id = t.id
     WHERE t.reference = p_reference GROUP BY t.id;
    IF FOUND THEN
        code := 'reference_used';
        IF earlier.kind = 'refund' AND earlier.run_id = p_run
           AND earlier.amount = coalesce(p_amount, earlier.amount) THEN
            code := 'ok';
            transfer_id := earlier.id;
            refunded := earlier.amount;
        END IF;
        RETURN NEXT;
        RETURN;
    END IF;

    refunded := coalesce(p_amount, refundable);
    IF refunded < 1 OR refunded > refundable THEN
        code := 'too_much';
        RETURN NEXT;
        RETURN;
    END IF;
    INSERT INTO ledger_transfer (kind, reference, run_id, price_id, agreement_id, note, event_at)
    SELECT 'refund', p_reference, p_run, h.price_id,
           (SELECT c.agreement_id FROM ledger_transfer c
             WHERE c.run_id = p_run AND c.kind = 'charge'), p_note, now()
      FROM ledger_hold h WHERE h.run_id = p_run
    ON CONFLICT (reference) DO NOTHING RETURNING id INTO transfer_id;
    IF transfer_id IS NULL THEN  -- another run took the reference in this moment
        code := 'reference_used';
        RETURN NEXT;
        RETURN;
    END IF;

    PERFORM 1 FROM ledger_account a
      WHERE a.id IN (SELECT p.account_id FROM ledger_holdpart p WHERE p.hold_id = p_run)
      ORDER BY a.id FOR UPDATE;
    WITH outstanding AS (
        SELECT a.id, a.name, a.team_id, abs(sum(e.amount)) AS remaining
          FROM ledger_transfer t
          JOIN ledger_entry e ON e.transfer_id = t.id
          JOIN ledger_account a ON a.id = e.account_id
         WHERE t.run_id = p_run AND t.kind IN ('charge', 'refund')
         GROUP BY a.id
    ), receiver AS (
        SELECT o.id, least(o.remaining, greatest(0, refunded
                   - (sum(o.remaining) OVER (ORDER BY p.position DESC) - o.remaining)))::bigint
                   AS amount
          FROM outstanding o
          JOIN ledger_holdpart p ON p.hold_id = p_run AND p.account_id = o.id
         WHERE o.team_id IS NOT NULL
    ), giver AS (
        SELECT o.id, o.name, div(refunded * o.remaining, refundable) AS amount,
               o.remaining - div(refunded * o.remaining, refundable) AS room
          FROM outstanding o WHERE o.team_id IS NULL
    ), rounded AS (
        SELECT g.id, g.amount + least(g.room, greatest(0,
                   refunded - sum(g.amount) OVER ()
                   - (sum(g.room) OVER (ORDER BY g.name NOT LIKE 'revenue:%', g.id) - g.room)))
                   AS amount
          FROM giver g
    ), returned AS (
        UPDATE ledger_account a SET posted = a.posted + r.amount
          FROM receiver r WHERE a.id = r.id AND r.amount > 0
        RETURNING a.id, r.amount, a.posted
    )
    INSERT INTO ledger_entry (transfer_id, account_id, amount, balance_after)
    SELECT refund_run.transfer_id, r.id, r.amount, r.posted FROM returned r
    UNION ALL
    SELECT refund_run.transfer_id, g.id, -g.amount, NULL FROM rounded g WHERE g.amount > 0;
    UPDATE ledger_hold h SET refunded = h.refunded + refund_run.refunded WHERE h.run_id = p_run;
    code := 'ok';
    refundable := refundable - refunded;
    RETURN NEXT;
END $$;
