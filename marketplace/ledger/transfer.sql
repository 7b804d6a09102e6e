-- Move money between accounts once per reference, outside of runs: credits and their expiry.

-- Open an account of kind `kind` for a team and put `amount` into it from a system account.
-- Repeats safely: the same reference gives the account made first.
CREATE OR REPLACE FUNCTION grant_money(
    p_reference text, p_team uuid, p_kind text, p_name text, p_source text, p_currency text,
    p_amount bigint, p_priority smallint, p_expires_at timestamptz, p_note text,
    p_scope jsonb DEFAULT '[]', p_funder text DEFAULT ''
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
                                priority, scope, funder, expires_at, created_at)
    VALUES (p_kind, p_name, p_team, p_currency, p_amount, 0, 0, p_priority, p_scope, p_funder,
            p_expires_at, now())
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

-- Move what is left of expired promotional credits to `breakage`, of voided ones back to who gave
-- them; what is held stays until its hold closes and goes with a later call, as does what a refund
-- puts back. The last entry before it names the transfer: amounts may come twice. Gives the number
-- of accounts emptied.
CREATE OR REPLACE FUNCTION expire_credits() RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    past record;
    emptied int := 0;
BEGIN
    FOR past IN
        SELECT id, voided_at IS NOT NULL AS voided FROM ledger_account
         WHERE kind = 'promo' AND expires_at <= now() AND posted > held
         ORDER BY id FOR UPDATE SKIP LOCKED
    LOOP
        PERFORM empty_credit(past.id, CASE WHEN past.voided THEN 'void' ELSE 'expiry' END,
                             CASE WHEN past.voided THEN 'Credit taken back'
                                  ELSE 'Credit expired' END);
        emptied := emptied + 1;
    END LOOP;
    RETURN emptied;
END $$;

-- Take back what is unspent of the credit granted under `p_reference`: from now on nothing of it
-- can be spent, and what runs hold or refunds return follows with `expire_credits`. Gives no row
-- where there is no such credit; taken is 0 where it was all spent, expired or taken back before.
CREATE OR REPLACE FUNCTION void_credit(p_reference text, p_note text)
RETURNS TABLE (taken bigint, currency text)
LANGUAGE plpgsql AS $$
DECLARE
    credit record;
BEGIN
    SELECT a.id, a.posted, a.held, a.currency INTO credit FROM ledger_account a
     WHERE a.kind = 'promo' AND a.id = (
        SELECT e.account_id FROM ledger_transfer t
          JOIN ledger_entry e ON e.transfer_id = t.id AND e.amount > 0
         WHERE t.reference = p_reference AND t.kind = 'grant') FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    UPDATE ledger_account a
       SET voided_at = coalesce(a.voided_at, now()),
           expires_at = least(coalesce(a.expires_at, now()), now())
     WHERE a.id = credit.id;
    IF credit.posted > credit.held THEN
        PERFORM empty_credit(credit.id, 'void', p_note);
    END IF;
    RETURN QUERY SELECT credit.posted - credit.held, credit.currency::text;
END $$;

-- Move what a locked credit has beyond its holds to where it goes.
CREATE OR REPLACE FUNCTION empty_credit(p_account bigint, p_kind text, p_note text)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    credit record;
    moved bigint;
BEGIN
    SELECT a.posted, a.held, a.currency, CASE p_kind WHEN 'void'
                THEN 'promo_funding:' || a.funder ELSE 'breakage' END AS receiver
      INTO credit FROM ledger_account a WHERE a.id = p_account;
    INSERT INTO ledger_transfer (kind, reference, note, event_at)
    SELECT p_kind, p_kind || ':' || p_account || ':' || max(e.id), p_note, now()
      FROM ledger_entry e WHERE e.account_id = p_account
    RETURNING id INTO moved;
    UPDATE ledger_account SET posted = credit.held WHERE id = p_account;
    INSERT INTO ledger_entry (transfer_id, account_id, amount, balance_after)
    VALUES (moved, p_account, credit.held - credit.posted, credit.held),
           (moved, system_account(credit.receiver, credit.currency), credit.posted - credit.held,
            NULL);
END $$;
