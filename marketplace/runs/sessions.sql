-- A realtime session is one run. Its worker opens it, it is witnessed while it lasts, its hold grows
-- by slices, and it is closed once. All its seconds are the database's own.

-- Begin to count, once; gives nothing where the worker does not hold this attempt.
CREATE OR REPLACE FUNCTION open_session(p_run uuid, p_attempt int, p_worker text, p_lease interval)
RETURNS TABLE (opened_at timestamptz) LANGUAGE plpgsql AS $$
BEGIN
    UPDATE runs_run r SET lease_until = now() + p_lease, deadline_at = NULL
     WHERE r.id = p_run AND r.attempt = p_attempt AND r.worker = p_worker AND r.state = 'running';
    IF NOT FOUND THEN
        RETURN;
    END IF;
    INSERT INTO runs_session (run_id, attempt, opened_at, seen_at, reported, frames, reason)
    VALUES (p_run, p_attempt, clock_timestamp(), clock_timestamp(), 0, 0, '')
    ON CONFLICT (run_id) DO NOTHING;
    RETURN QUERY SELECT s.opened_at FROM runs_session s WHERE s.run_id = p_run;
END $$;

-- Note of many sessions that they go on, renew their leases, and tell what has become of each.
--
-- items: [{run_id, attempt, age (seconds since its worker was heard), reported, frames}]; age: null
-- where it is not open yet. Gives per run its state, its attempt, its seconds so far, whether its
-- team wants it no more (`cancel`) and whether its key or team may no longer run (`barred`).
CREATE OR REPLACE FUNCTION witness_sessions(items jsonb, p_lease interval, p_silent interval)
RETURNS TABLE (run_id uuid, state text, attempt int, seconds float8, cancel boolean,
               barred boolean)
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM runs_run r
      WHERE r.id IN (SELECT i.run_id FROM jsonb_to_recordset(items) AS i(run_id uuid))
      ORDER BY r.id FOR UPDATE;
    UPDATE runs_run r SET lease_until = now() + p_lease
      FROM jsonb_to_recordset(items) AS i(run_id uuid, attempt int, age float8)
     WHERE r.id = i.run_id AND r.attempt = i.attempt AND r.state = 'running'
       AND make_interval(secs => i.age) < p_silent;
    UPDATE runs_session s
       SET seen_at = greatest(s.seen_at, clock_timestamp() - make_interval(secs => i.age)),
           reported = greatest(s.reported, i.reported), frames = greatest(s.frames, i.frames)
      FROM jsonb_to_recordset(items) AS
           i(run_id uuid, attempt int, age float8, reported numeric, frames int)
     WHERE s.run_id = i.run_id AND s.attempt = i.attempt AND s.closed_at IS NULL
       AND i.age IS NOT NULL;
    RETURN QUERY
    SELECT r.id, r.state::text, r.attempt,
           extract(epoch FROM clock_timestamp() - s.opened_at)::float8,
           r.cancel_requested_at IS NOT NULL,
           t.status <> 'active' OR k.revoked_at IS NOT NULL OR k.expires_at <= now()
      FROM jsonb_to_recordset(items) AS i(run_id uuid)
      JOIN runs_run r ON r.id = i.run_id
      JOIN accounts_team t ON t.id = r.team_id
      LEFT JOIN accounts_apikey k ON k.id = r.key_id
      LEFT JOIN runs_session s ON s.run_id = r.id;
END $$;

-- Hold what a session may cost until further: up to `p_target` nano-units in all, within the quote,
-- the balance and the budgets that it counts in, and what there is where that is less.
--
-- Gives what is held now, and `ok`, or why it is not more: `insufficient_balance`, or a budget's
-- `budget_exceeded` or `run_above_limit` with its facts; `ended` where there is no such session.
-- Repeats safely. Locks the hold, the team's accounts by id, then the spendings by id.
CREATE OR REPLACE FUNCTION extend_session(p_run uuid, p_attempt int, p_target bigint)
RETURNS TABLE (code text, held bigint, budget jsonb) LANGUAGE plpgsql AS $$
DECLARE
    mine record;
    tight record;
    accounts bigint[];
    wanted bigint;
    free bigint;
    granted bigint;
BEGIN
    SELECT h.team_id, h.currency, h.amount, h.quoted, h.spendings,
           l.slug || '/' || m.slug AS model
      INTO mine
      FROM ledger_hold h
      JOIN runs_run r ON r.id = h.run_id AND r.attempt = p_attempt AND r.state = 'running'
      JOIN catalog_release e ON e.id = r.release_id
      JOIN catalog_model m ON m.id = e.model_id
      JOIN catalog_lab l ON l.id = m.lab_id
     WHERE h.run_id = p_run AND h.state = 'open' FOR UPDATE OF h;
    IF NOT FOUND THEN
        RETURN QUERY SELECT 'ended', 0::bigint, NULL::jsonb;
        RETURN;
    END IF;
    wanted := least(p_target, mine.quoted) - mine.amount;
    IF wanted <= 0 THEN
        RETURN QUERY SELECT 'ok', mine.amount, NULL::jsonb;
        RETURN;
    END IF;
    accounts := lock_accounts(ARRAY[mine.team_id]);
    PERFORM 1 FROM access_spending s
      WHERE s.id = ANY (mine.spendings) ORDER BY s.id FOR UPDATE;
    free := spendable_for(accounts, mine.currency, mine.model);
    SELECT * INTO tight FROM tightest_budget(mine.spendings, mine.amount);
    granted := greatest(0, least(wanted, free, tight.room));
    IF granted > 0 THEN
        PERFORM extend_hold(p_run, mine.model, granted, accounts);
    END IF;
    IF granted = wanted THEN
        RETURN QUERY SELECT 'ok', mine.amount + granted, NULL::jsonb;
    ELSIF tight.room <= free THEN
        IF tight.code = 'budget_exceeded' THEN
            PERFORM note_refusal(tight.spending);
        END IF;
        RETURN QUERY SELECT tight.code, mine.amount + granted, tight.budget;
    ELSE
        RETURN QUERY SELECT 'insufficient_balance', mine.amount + granted, NULL::jsonb;
    END IF;
END $$;

-- Close a session as of `p_age` seconds ago, once. Later calls change nothing, nor does one that
-- comes after its settlement.
CREATE OR REPLACE FUNCTION close_session(
    p_run uuid, p_attempt int, p_age float8, p_reason text, p_reported numeric, p_frames int
) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    UPDATE runs_session s
       SET closed_at = greatest(s.opened_at, clock_timestamp() - make_interval(secs => p_age)),
           reason = p_reason, reported = greatest(s.reported, p_reported),
           frames = greatest(s.frames, p_frames)
     WHERE s.run_id = p_run AND s.attempt = p_attempt AND s.closed_at IS NULL
       AND EXISTS (SELECT 1 FROM runs_run r WHERE r.id = p_run AND r.finished_at IS NULL);
    RETURN FOUND;
END $$;
