-- Add to open holds, slice by slice, for work whose length nobody knows before.

-- What could still be set aside of these accounts for a model, nano-units.
CREATE OR REPLACE FUNCTION spendable_for(accounts bigint[], p_currency text, p_model text)
RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT coalesce(sum(a.posted - a.held + a.credit_limit), 0)::bigint FROM ledger_account a
     WHERE a.id = ANY (accounts) AND a.currency = p_currency
       AND a.posted - a.held + a.credit_limit > 0
       AND (a.expires_at IS NULL OR a.expires_at > now())
       AND scope_rank(a.scope, p_model) IS NOT NULL;
$$;

-- Set `p_amount` more aside for an open hold, in burn order as `hold_money` does. The caller has
-- locked the hold and then these accounts (`lock_accounts`), and knows that there is as much in
-- them. An account that the hold stands on already gets no second part.
CREATE OR REPLACE FUNCTION extend_hold(
    p_run uuid, p_model text, p_amount bigint, accounts bigint[]
)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    source record;
    part bigint;
    missing bigint := p_amount;
BEGIN
    FOR source IN
        SELECT a.id, a.posted - a.held + a.credit_limit AS free
          FROM ledger_hold h
          JOIN ledger_account a ON a.team_id = h.team_id AND a.currency = h.currency
         WHERE h.run_id = p_run AND a.id = ANY (accounts) AND a.posted - a.held + a.credit_limit > 0
           AND (a.expires_at IS NULL OR a.expires_at > now())
           AND scope_rank(a.scope, p_model) IS NOT NULL
         ORDER BY scope_rank(a.scope, p_model), a.priority, a.expires_at NULLS LAST, a.id
    LOOP
        EXIT WHEN missing = 0;
        part := least(source.free, missing);
        UPDATE ledger_account a SET held = a.held + part WHERE a.id = source.id;
        UPDATE ledger_holdpart p SET amount = p.amount + part
         WHERE p.hold_id = p_run AND p.account_id = source.id;
        IF NOT FOUND THEN
            INSERT INTO ledger_holdpart (hold_id, account_id, position, amount, captured)
            SELECT p_run, source.id, coalesce(max(p.position) + 1, 0), part, 0
              FROM ledger_holdpart p WHERE p.hold_id = p_run;
        END IF;
        missing := missing - part;
    END LOOP;
    IF missing > 0 THEN
        RAISE EXCEPTION 'hold % lacks % nano-units', p_run, missing
            USING ERRCODE = 'check_violation';
    END IF;
    UPDATE ledger_hold h SET amount = h.amount + p_amount WHERE h.run_id = p_run;
END $$;
