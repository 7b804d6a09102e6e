-- Bring the system accounts' balances up to date with their entries, which runs only insert.
--
-- Ids and times come out of order with commits, so neither tells which entries a fold has seen. A
-- transaction's id does: all below the oldest one under way have ended, so what they wrote is
-- there or never will be. Takes the entries from the last fold's horizon up to that. Gives how
-- many; 0 where another fold is at work. What it counts is committed with the balances, so a crash
-- folds nothing twice. System entries are those without a balance after them.
CREATE OR REPLACE FUNCTION fold_entries() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    since xid8;
    oldest xid8 := pg_snapshot_xmin(pg_current_snapshot());
    folded bigint;
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtext('ledger_fold')) THEN
        RETURN 0;
    END IF;
    SELECT coalesce((SELECT f.horizon FROM ledger_fold f ORDER BY f.id DESC LIMIT 1), '0')
      INTO since;
    IF oldest < since THEN
        RAISE EXCEPTION 'transactions are counted from % again, the last fold went to %: after a '
            'restore run manage.py fold --restored', oldest, since;
    END IF;
    WITH waiting AS (
        SELECT e.account_id, sum(e.amount)::bigint AS amount, count(*) AS entries
          FROM ledger_entry e
         WHERE e.balance_after IS NULL AND e.xid >= since AND e.xid < oldest
         GROUP BY e.account_id
    ), moved AS (
        UPDATE ledger_account a SET posted = a.posted + w.amount
          FROM waiting w WHERE a.id = w.account_id
    )
    SELECT coalesce(sum(w.entries), 0) INTO folded FROM waiting w;
    IF folded > 0 THEN
        INSERT INTO ledger_fold (since, horizon, entries, folded_at)
        VALUES (since, oldest, folded, now());
    END IF;
    RETURN folded;
END $$;

-- Begin anew in a database that was restored from a dump, where transactions are counted from
-- another number: everything that is there counts as folded. Nothing may write meanwhile.
CREATE OR REPLACE FUNCTION fold_restored() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    first_id CONSTANT xid8 := '3';  -- below every transaction's
    folded bigint;
BEGIN
    LOCK TABLE ledger_entry, ledger_account, ledger_fold IN ACCESS EXCLUSIVE MODE;
    ALTER TABLE ledger_entry DISABLE TRIGGER entries_kept;
    UPDATE ledger_entry SET xid = first_id;
    ALTER TABLE ledger_entry ENABLE TRIGGER entries_kept;
    UPDATE ledger_account a SET posted = coalesce(
        (SELECT sum(e.amount) FROM ledger_entry e WHERE e.account_id = a.id), 0)
     WHERE a.team_id IS NULL;
    SELECT count(*) INTO folded FROM ledger_entry e WHERE e.balance_after IS NULL;
    DELETE FROM ledger_fold;
    INSERT INTO ledger_fold (since, horizon, entries, folded_at)
    VALUES ('0', '4', folded, now());
    RETURN folded;
END $$;
