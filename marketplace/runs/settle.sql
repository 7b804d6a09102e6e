-- T2. Settle many runs in one call and one commit: terminal state, outputs, meter events, capture
-- or void with entries, outbox.
--
-- items: [{run_id, attempt, state, outcome, error, usage, checks,
--          outputs: [{id, position, kind, content_type, path, bytes, sha256 (hex), width, height,
--                     frames, seconds, sound, expires_at}],
--          events: [{unit, quantity, requested, reported, measured}],
--          hold: {state, amount, shares: [{account, amount}], agreement},
--          cost: {amount, payable, cogs, currency, agreement}, what it cost us; {uncosted}, why
--                nobody could say; or null,
--          fate: {key, evidence} of a job that the lab may have, or null}].
-- The fence: only the present attempt settles. A run whose lease lapsed may still be settled by that
-- attempt as long as nobody has claimed it again. Gives per run `settled`, `replayed` (it had ended under this
-- very attempt) or `stale`; only the first writes.
CREATE OR REPLACE FUNCTION settle_runs(items jsonb)
RETURNS TABLE (run_id uuid, code text, state text) LANGUAGE plpgsql AS $$
DECLARE
    passed uuid[];
    mine jsonb;
BEGIN
    PERFORM 1 FROM runs_run r
      WHERE r.id IN (SELECT i.run_id FROM jsonb_to_recordset(items) AS i(run_id uuid))
      ORDER BY r.id FOR UPDATE;

    WITH ended AS (
        UPDATE runs_run r
           SET state = i.state, outcome = i.outcome, error = nullif(i.error, 'null'),
               usage = nullif(i.usage, 'null'),
               checks = nullif(i.checks, 'null'), finished_at = now(), lease_until = NULL
          FROM jsonb_to_recordset(items) AS
               i(run_id uuid, attempt int, state text, outcome text, error jsonb, usage jsonb,
                 checks jsonb)
         WHERE r.id = i.run_id AND r.attempt = i.attempt
           AND r.state IN ('queued', 'running')
        RETURNING r.id
    )
    SELECT coalesce(array_agg(id), '{}') INTO passed FROM ended;

    SELECT coalesce(jsonb_agg(i), '[]') INTO mine FROM jsonb_array_elements(items) AS i
     WHERE (i ->> 'run_id')::uuid = ANY (passed);

    INSERT INTO runs_output (id, run_id, position, kind, content_type, path, bytes, sha256, width,
                             height, frames, seconds, sound, created_at, expires_at)
    SELECT o.id, (i ->> 'run_id')::uuid, o.position, o.kind, o.content_type, o.path, o.bytes,
           decode(o.sha256, 'hex'), o.width, o.height, o.frames, o.seconds, o.sound, now(),
           o.expires_at
      FROM jsonb_array_elements(mine) AS i,
           jsonb_to_recordset(i -> 'outputs') AS
               o(id uuid, position smallint, kind text, content_type text, path text, bytes bigint,
                 sha256 text, width int, height int, frames int, seconds numeric, sound boolean,
                 expires_at timestamptz);

    INSERT INTO metering_meterevent (identifier, run_id, team_id, release_id, unit, quantity,
                                     requested, reported, measured, timestamp)
    SELECT r.id || ':' || e.unit, r.id, r.team_id, r.release_id, e.unit, e.quantity, e.requested,
           e.reported, e.measured, now()
      FROM jsonb_array_elements(mine) AS i
      JOIN runs_run r ON r.id = (i ->> 'run_id')::uuid,
           jsonb_to_recordset(i -> 'events') AS
               e(unit text, quantity numeric, requested numeric, reported numeric,
                 measured numeric);

    UPDATE runs_attempt a SET ended_at = now(), outcome = i.state
      FROM jsonb_to_recordset(mine) AS i(run_id uuid, attempt int, state text)
     WHERE a.run_id = i.run_id AND a.number = i.attempt AND a.ended_at IS NULL;

    PERFORM close_holds((SELECT coalesce(jsonb_agg(
        (i -> 'hold') || jsonb_build_object('run_id', i -> 'run_id')), '[]')
        FROM jsonb_array_elements(mine) AS i));

    PERFORM book_costs((SELECT coalesce(jsonb_agg(
        (i -> 'cost') || jsonb_build_object('run_id', i -> 'run_id')), '[]')
        FROM jsonb_array_elements(mine) AS i WHERE i #> '{cost,amount}' IS NOT NULL));

    INSERT INTO runs_uncosted (run_id, why, at)
    SELECT (i ->> 'run_id')::uuid, i #>> '{cost,uncosted}', now()
      FROM jsonb_array_elements(mine) AS i WHERE i #> '{cost,uncosted}' IS NOT NULL
    ON CONFLICT DO NOTHING;

    -- A job that its attempt says nobody knows of, and one that a lost attempt was handing in when
    -- it left no receipt: however the run ends, that is found out.
    INSERT INTO runs_fate (run_id, adapter, job_key, state, evidence, at, ask_at)
    SELECT r.id, l.adapter, coalesce(i #>> '{fate,key}', d.job_key), 'open',
           coalesce(d.evidence, '[]') || coalesce(i #> '{fate,evidence}', '[]'),
           now(), now() + interval '30 s'
      FROM jsonb_array_elements(mine) AS i
      JOIN runs_run r ON r.id = (i ->> 'run_id')::uuid
      JOIN catalog_release l ON l.id = r.release_id
      LEFT JOIN LATERAL (
          SELECT max(a.job_key) AS job_key, jsonb_agg(jsonb_build_object(
                     'at', a.submitting_at, 'attempt', a.number,
                     'what', 'its process ended before the lab had answered') ORDER BY a.number)
                 AS evidence
            FROM runs_attempt a
           WHERE a.run_id = r.id AND a.outcome = 'lost' AND a.submitting_at IS NOT NULL
             AND r.ticket IS NULL) d ON true
     WHERE i #>> '{fate,key}' IS NOT NULL OR d.evidence IS NOT NULL
    ON CONFLICT DO NOTHING;

    INSERT INTO runs_outbox (topic, key, created_at)
    SELECT 'run.finished', p::text, now() FROM unnest(passed) AS p;

    -- A hint to the watchers of waiting clients. One per commit, however many runs it settles:
    -- commits that notify wait for one another. It holds 8,000 bytes, so many runs go unnamed.
    IF cardinality(passed) > 0 THEN
        PERFORM pg_notify('kinora_runs', CASE WHEN cardinality(passed) <= 200
                                              THEN array_to_string(passed, ',') ELSE '' END);
    END IF;

    RETURN QUERY
    SELECT i.run_id,
           CASE WHEN i.run_id = ANY (passed) THEN 'settled'
                WHEN r.finished_at IS NOT NULL AND r.attempt = i.attempt THEN 'replayed'
                ELSE 'stale' END,
           r.state::text
      FROM jsonb_to_recordset(items) AS i(run_id uuid, attempt int)
      LEFT JOIN runs_run r ON r.id = i.run_id;
END $$;

-- Ask for a cancel. A queued run ends here and its hold is voided; a running one is flagged and its
-- worker told with the next renewal. Gives the run's state afterwards, or no row.
CREATE OR REPLACE FUNCTION cancel_run(p_run uuid, p_team uuid)
RETURNS TABLE (state text) LANGUAGE plpgsql AS $$
DECLARE
    present record;
BEGIN
    SELECT r.id, r.state, r.attempt INTO present FROM runs_run r
     WHERE r.id = p_run AND r.team_id = p_team FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF present.state = 'queued' THEN
        PERFORM settle_runs(jsonb_build_array(jsonb_build_object(
            'run_id', p_run, 'attempt', present.attempt, 'state', 'cancelled',
            'outcome', 'cancelled_before', 'outputs', '[]'::jsonb, 'events', '[]'::jsonb,
            'hold', jsonb_build_object('state', 'voided', 'amount', 0, 'shares', '[]'::jsonb))));
    ELSIF present.state = 'running' THEN
        UPDATE runs_run r SET cancel_requested_at = coalesce(r.cancel_requested_at, now())
         WHERE r.id = p_run;
    END IF;
    RETURN QUERY SELECT r.state::text FROM runs_run r WHERE r.id = p_run;
END $$;

-- End runs at no cost that were to have begun by now. Gives them.
CREATE OR REPLACE FUNCTION end_late_runs(p_limit int)
RETURNS TABLE (run_id uuid) LANGUAGE plpgsql AS $$
DECLARE
    late jsonb;
BEGIN
    SELECT jsonb_agg(jsonb_build_object(
               'run_id', r.id, 'attempt', r.attempt, 'state', 'cancelled',
               'outcome', 'cancelled_before', 'outputs', '[]'::jsonb, 'events', '[]'::jsonb,
               'error', jsonb_build_object(
                   'code', 'start_timeout',
                   'message', 'The run did not start in the time that was asked for.'),
               'hold', jsonb_build_object('state', 'voided', 'amount', 0, 'shares', '[]'::jsonb)))
      INTO late FROM (
          SELECT q.id, q.attempt FROM runs_run q
           WHERE q.state = 'queued' AND q.start_by < now()
           ORDER BY q.id LIMIT p_limit FOR UPDATE SKIP LOCKED) AS r;
    IF late IS NULL THEN
        RETURN;
    END IF;
    RETURN QUERY SELECT s.run_id FROM settle_runs(late) AS s;
END $$;

ALTER TABLE runs_progress SET UNLOGGED;
ALTER TABLE runs_run SET (fillfactor = 70);
