-- Set money aside for many runs in one call.
--
-- items: [{run_id, team_id, currency, quoted, amount, price_id, model}], amounts in nano-units;
-- each run once; model: `lab/model`, without which no credit with a scope is spent. Locks the
-- teams' accounts in id order and spends them in burn order: scope match (the model, its lab,
-- anything), priority, earliest expiry, oldest. Items are served in their order. Runs inside the
-- caller's transaction. Gives per run `ok`, or `insufficient_balance` with what is available for
-- its model; a refusal writes nothing.
CREATE OR REPLACE FUNCTION hold_money(items jsonb)
RETURNS TABLE (run_id uuid, code text, available bigint) LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY SELECT h.run_id, h.code, h.available FROM hold_from(items, lock_accounts(ARRAY(
        SELECT i.team_id FROM jsonb_to_recordset(items) AS i(team_id uuid)))) AS h;
END $$;

-- Lock all accounts of these teams, in id order; gives their ids.
CREATE OR REPLACE FUNCTION lock_accounts(p_teams uuid[]) RETURNS bigint[] LANGUAGE plpgsql AS $$
BEGIN
    RETURN ARRAY(SELECT a.id FROM ledger_account a
                  WHERE a.team_id = ANY (p_teams) ORDER BY a.id FOR UPDATE);
END $$;

-- `hold_money` from accounts that the caller has locked, those of `lock_accounts`.
--
-- An account that was opened since is not one of them and is left alone, although it can be seen
-- by now: whoever holds its lock may wait for what the caller has locked in between.
--
-- Most items fit into the first account of their team: those are written by one set-based
-- statement (a prefix sum finds them); the rest goes one by one and may span several accounts, as
-- do all items of a team with a credit that has a scope, since each may have another first.
CREATE OR REPLACE FUNCTION hold_from(items jsonb, accounts bigint[])
RETURNS TABLE (run_id uuid, code text, available bigint) LANGUAGE plpgsql AS $$
DECLARE
    served uuid[];
    item record;
    source record;
    before bigint;
    missing bigint;
    slot smallint;
BEGIN
    WITH wanted AS (
        SELECT w.* FROM ROWS FROM (jsonb_to_recordset(items) AS
            (run_id uuid, team_id uuid, currency text, quoted bigint, amount bigint,
             price_id bigint)) WITH ORDINALITY
            AS w(run_id, team_id, currency, quoted, amount, price_id, place)
    ), spendable AS (
        SELECT a.id, a.team_id, a.currency, a.posted - a.held + a.credit_limit AS free,
               row_number() OVER burn AS rank,
               sum(a.posted - a.held + a.credit_limit) OVER team AS total,
               bool_or(a.scope <> '[]') OVER team AS scoped
          FROM ledger_account a
         WHERE a.id = ANY (accounts)
           AND a.posted - a.held + a.credit_limit > 0
           AND (a.expires_at IS NULL OR a.expires_at > now())
        WINDOW team AS (PARTITION BY a.team_id, a.currency),
               burn AS (team ORDER BY a.priority, a.expires_at NULLS LAST, a.id)
    ), fitting AS (
        SELECT w.*, s.id AS account_id, s.total - (w.upto - w.amount) AS before
          FROM (SELECT wanted.*, sum(wanted.amount)
                       OVER (PARTITION BY wanted.team_id, wanted.currency ORDER BY wanted.place)
                       AS upto
                  FROM wanted) w
          JOIN spendable s USING (team_id, currency)
         WHERE s.rank = 1 AND NOT s.scoped AND w.upto <= s.free
    ), set_aside AS (
        UPDATE ledger_account a SET held = a.held + f.total
          FROM (SELECT account_id, sum(fitting.amount) AS total FROM fitting GROUP BY 1) f
         WHERE a.id = f.account_id AND f.total > 0
    ), written AS (
        INSERT INTO ledger_hold (run_id, team_id, currency, quoted, amount, captured, state,
                                 price_id, available_before, created_at)
        SELECT f.run_id, f.team_id, f.currency, f.quoted, f.amount, 0, 'open', f.price_id,
               f.before, now()
          FROM fitting f
    ), parted AS (
        INSERT INTO ledger_holdpart (hold_id, account_id, position, amount, captured)
        SELECT f.run_id, f.account_id, 0, f.amount, 0 FROM fitting f WHERE f.amount > 0
    )
    SELECT coalesce(array_agg(f.run_id), '{}') INTO served FROM fitting f;

    RETURN QUERY SELECT s, 'ok', NULL::bigint FROM unnest(served) AS s;

    FOR item IN
        SELECT w.* FROM ROWS FROM (jsonb_to_recordset(items) AS
            (run_id uuid, team_id uuid, currency text, quoted bigint, amount bigint,
             price_id bigint, model text)) WITH ORDINALITY
            AS w(run_id, team_id, currency, quoted, amount, price_id, model, place)
         WHERE w.run_id <> ALL (served) ORDER BY w.place
    LOOP
        run_id := item.run_id;
        SELECT coalesce(sum(a.posted - a.held + a.credit_limit), 0),
               coalesce(sum(a.posted - a.held + a.credit_limit)
                        FILTER (WHERE scope_rank(a.scope, item.model) IS NOT NULL), 0)
          INTO before, available
          FROM ledger_account a
         WHERE a.id = ANY (accounts)
           AND a.team_id = item.team_id AND a.currency = item.currency
           AND a.posted - a.held + a.credit_limit > 0
           AND (a.expires_at IS NULL OR a.expires_at > now());
        IF available < item.amount THEN
            code := 'insufficient_balance';
            RETURN NEXT;
            CONTINUE;
        END IF;
        INSERT INTO ledger_hold (run_id, team_id, currency, quoted, amount, captured, state,
                                 price_id, available_before, created_at)
        VALUES (item.run_id, item.team_id, item.currency, item.quoted, item.amount, 0, 'open',
                item.price_id, before, now());
        missing := item.amount;
        slot := 0;
        FOR source IN
            SELECT a.id, a.posted - a.held + a.credit_limit AS free FROM ledger_account a
             WHERE a.id = ANY (accounts)
               AND a.team_id = item.team_id AND a.currency = item.currency
               AND a.posted - a.held + a.credit_limit > 0
               AND (a.expires_at IS NULL OR a.expires_at > now())
               AND scope_rank(a.scope, item.model) IS NOT NULL
             ORDER BY scope_rank(a.scope, item.model), a.priority, a.expires_at NULLS LAST, a.id
        LOOP
            EXIT WHEN missing = 0;
            UPDATE ledger_account a SET held = a.held + least(source.free, missing)
             WHERE a.id = source.id;
            INSERT INTO ledger_holdpart (hold_id, account_id, position, amount, captured)
            VALUES (item.run_id, source.id, slot, least(source.free, missing), 0);
            missing := missing - least(source.free, missing);
            slot := slot + 1;
        END LOOP;
        code := 'ok';
        RETURN NEXT;
    END LOOP;
END $$;

-- How closely a credit's scope fits a model: 0 names it, 1 names its lab, 2 is for everything;
-- NULL: it cannot be spent on that model.
CREATE OR REPLACE FUNCTION scope_rank(p_scope jsonb, p_model text)
RETURNS int LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN p_scope ? p_model THEN 0
                WHEN p_scope ? split_part(p_model, '/', 1) THEN 1
                WHEN p_scope = '[]' THEN 2 END;
$$;
