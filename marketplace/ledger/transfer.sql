-- Move money between accounts once per reference, outside of runs: credits and their expiry.

-- Open an account of kind `kind` for a team and put `amount` into it from a system account.
-- Repeats safely: the same reference gives the account made first.
CREATE OR REPLACE FUNCTION grant_money(
    p_reference text, p_team uuid, p_kind text, p_name text, p_source text, p_currency text,
    p_amount bigint, p_priority smallint, p_expires_at timestamptz, p_note text
) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    moved bigint;
    receiver bigint;
BEGIN
    INSERT INTO ledger_transfer (kind, reference, note, event_at)
    VALUES ('grant', p_reference, p_note, now())
    ON CONFLICT (reference) DO NOTHING RETURNING id INTO moved;
    IF moved IS NULL THEN
        SELECT e.account_id INTO receiver FROM ledger_transfer t
          JOIN ledger_entry e ON e.transfer_id = t.id AND e.amount > 0
         WHERE t.reference = p_reference;
        RETURN receiver;
    END IF;
    INSERT INTO ledger_account (kind, name, team_id, currency, posted, held, credit_limit,
                                priority, expires_at, created_at)
    VALUES (p_kind, p_name, p_team, p_currency, p_amount, 0, 0, p_priority, p_expires_at, now())
    RETURNING id INTO receiver;
    INSERT INTO ledger_entry (transfer_id, account_id, amount, balance_after)
    VALUES (moved, system_account(p_source, p_currency), -p_amount, NULL),
           (moved, receiver, p_amount, p_amount);
    RETURN receiver;
END $$;

-- The id of a system account, made on first use.
CREATE OR REPLACE FUNCTION system_account(p_name text, p_currency text)
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    found bigint;
BEGIN
    SELECT id INTO found FROM ledger_account
     WHERE name = p_name AND currency = p_currency AND team_id IS NULL;
    IF found IS NULL THEN
        INSERT INTO ledger_account (kind, name, currency, posted, held, credit_limit, priority,
                                    created_at)
        VALUES ('system', p_name, p_currency, 0, 0, 0, 100, now())
        ON CONFLICT (name, currency) WHERE team_id IS NULL DO NOTHING;
        SELECT id INTO found FROM ledger_account
         WHERE name = p_name AND currency = p_currency AND team_id IS NULL;
    END IF;
    RETURN found;
END $$;

-- Move what is left of expired promotional credits to `breakage`; what is held stays until its
-- hold closes and goes with a later call, as does what a refund puts back. The last entry before
-- it names the transfer: amounts may come twice. Gives the number of accounts emptied.
CREATE OR REPLACE FUNCTION expire_credits() RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    past record;
    moved bigint;
    emptied int := 0;
BEGIN
    FOR past IN
        SELECT id, currency, posted, held FROM ledger_account
         WHERE kind = 'promo' AND expires_at <= now() AND posted > held
         ORDER BY id FOR UPDATE SKIP LOCKED
    LOOP
        INSERT INTO ledger_transfer (kind, reference, note, event_at)
        SELECT 'expiry', 'expiry:' || past.id || ':' || max(e.id), 'Credit expired', now()
          FROM ledger_entry e WHERE e.account_id = past.id
        RETURNING id INTO moved;
        UPDATE ledger_account SET posted = past.held WHERE id = past.id;
        INSERT INTO ledger_entry (transfer_id, account_id, amount, balance_after)
        VALUES (moved, past.id, past.held - past.posted, past.held),
               (moved, system_account('breakage', past.currency), past.posted - past.held, NULL);
        emptied := emptied + 1;
    END LOOP;
    RETURN emptied;
END $$;
