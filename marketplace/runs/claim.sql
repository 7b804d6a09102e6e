-- Claim, renew, report, hand back: the lease and the fence.

-- Give a worker up to `p_limit` waiting runs of a queue: those past the fairness deadline first,
-- then by priority, then those whose model it has warm, then the oldest. Runs in lanes come only as
-- far as their lanes have room; laned: whether its end makes room in one. p_warm_only: for a worker
-- that has runs in hand; p_without: adapters that it has no room for. Of those best runs it gets the ones whose model it has warm; so one that is
-- past the fairness deadline lets the worker empty its hands, and is claimed by whoever has.
CREATE OR REPLACE FUNCTION claim_runs(
    p_queue text, p_worker text, p_warm text[], p_limit int, p_lease interval,
    p_warm_only boolean DEFAULT false, p_without text[] DEFAULT '{}'
) RETURNS TABLE (
    run_id uuid, attempt int, release_id bigint, inputs jsonb, ticket jsonb,
    timeout_seconds int, warm boolean, cancel boolean, laned boolean
) LANGUAGE plpgsql AS $$
DECLARE
    in_lanes uuid[] := '{}';
BEGIN
    IF EXISTS (SELECT 1 FROM runs_run r
                WHERE r.queue = p_queue AND r.state = 'queued' AND r.lanes IS NOT NULL) THEN
        in_lanes := choose_in_lanes(p_queue, p_limit);
    END IF;
    RETURN QUERY
    WITH free AS (
        SELECT r.id, r.created_at, r.priority, l.timeout_seconds, l.target = ANY (p_warm) AS warm
          FROM runs_run r JOIN catalog_release l ON l.id = r.release_id
         WHERE r.queue = p_queue AND r.state = 'queued' AND r.lanes IS NULL
           AND (r.start_by > now()) IS NOT FALSE AND l.adapter <> ALL (p_without)
         ORDER BY r.created_at < now() - interval '10 s' DESC, r.priority DESC,
                  l.target = ANY (p_warm) DESC, r.created_at
         LIMIT p_limit FOR UPDATE OF r SKIP LOCKED
    ), chosen AS (
        SELECT b.* FROM (
            SELECT * FROM free
             UNION ALL
            SELECT r.id, r.created_at, r.priority, l.timeout_seconds, l.target = ANY (p_warm)
              FROM runs_run r JOIN catalog_release l ON l.id = r.release_id
             WHERE r.id = ANY (in_lanes) AND (r.start_by > now()) IS NOT FALSE
               AND l.adapter <> ALL (p_without)) AS b
         ORDER BY b.created_at < now() - interval '10 s' DESC, b.priority DESC, b.warm DESC,
                  b.created_at
         LIMIT p_limit
    ), claimed AS (
        UPDATE runs_run r
           SET state = 'running', attempt = r.attempt + 1, worker = p_worker,
               lease_until = now() + p_lease,
               deadline_at = now() + make_interval(secs => c.timeout_seconds),
               started_at = coalesce(r.started_at, now()),
               route = r.route || jsonb_build_object(
                   'worker', p_worker,
                   'reason', CASE WHEN l.adapter <> 'house' THEN 'partner'
                                  WHEN c.warm THEN 'warm' ELSE 'cold' END)
               || CASE WHEN l.adapter = 'house' THEN '{}'::jsonb ELSE coalesce((
                   SELECT jsonb_build_object('lab', h.state) FROM runs_labhealth h
                    WHERE h.lab = l.adapter AND h.seen_at > now() - interval '30 s'
                    ORDER BY h.worker = p_worker DESC LIMIT 1), '{}'::jsonb) END
          FROM chosen c, catalog_release l
         WHERE r.id = c.id AND l.id = r.release_id AND (c.warm OR NOT p_warm_only)
        RETURNING r.id, r.attempt, r.release_id, r.inputs, r.ticket, c.timeout_seconds, c.warm,
                  r.cancel_requested_at IS NOT NULL AS cancel, c.created_at, r.team_id, r.webhooks,
                  r.lanes IS NOT NULL AS laned
    ), noted AS (
        INSERT INTO runs_attempt (run_id, number, worker, claimed_at, outcome)
        SELECT c.id, c.attempt, p_worker, now(), '' FROM claimed c
    ), told AS (
        INSERT INTO runs_outbox (topic, key, created_at)
        SELECT 'run.started', c.id, now() FROM claimed c
         WHERE c.attempt = 1
           AND (c.webhooks @> '[{"events": ["run.started"]}]'
                OR EXISTS (SELECT 1 FROM webhooks_endpoint e
                            WHERE e.team_id = c.team_id AND e.disabled_at IS NULL
                              AND e.event_types ? 'run.started'))
    )
    SELECT c.id, c.attempt, c.release_id, c.inputs, c.ticket, c.timeout_seconds, c.warm, c.cancel,
           c.laned
      FROM claimed c ORDER BY c.created_at;
END $$;

-- Renew the lease of an attempt. Gives whether to cancel, or no row where the fence is lost.
CREATE OR REPLACE FUNCTION renew_run(p_run uuid, p_attempt int, p_lease interval)
RETURNS TABLE (cancel boolean) LANGUAGE sql AS $$
    UPDATE runs_run r SET lease_until = now() + p_lease
     WHERE r.id = p_run AND r.attempt = p_attempt AND r.state = 'running'
    RETURNING r.cancel_requested_at IS NOT NULL OR r.deadline_at < now();
$$;

-- Keep how far an attempt is, and renew its lease with it.
CREATE OR REPLACE FUNCTION report_run(
    p_run uuid, p_attempt int, p_lease interval, p_stage text, p_step int, p_steps int,
    p_preview text
) RETURNS TABLE (cancel boolean) LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY SELECT r.cancel FROM renew_run(p_run, p_attempt, p_lease) r;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    INSERT INTO runs_progress AS p (run_id, attempt, stage, step, steps, preview, updated_at)
    VALUES (p_run, p_attempt, p_stage, p_step, p_steps, coalesce(p_preview, ''), now())
    ON CONFLICT (run_id) DO UPDATE
       SET attempt = excluded.attempt, stage = excluded.stage, step = excluded.step,
           steps = excluded.steps, updated_at = now(),
           preview = CASE WHEN excluded.preview = '' AND p.attempt = excluded.attempt
                          THEN p.preview ELSE excluded.preview END;
    INSERT INTO runs_outbox (topic, key, created_at)
    SELECT 'run.progress', p_run, now() FROM runs_run r
     WHERE r.id = p_run AND r.webhooks @> '[{"events": ["run.progress"]}]'
       AND NOT EXISTS (SELECT 1 FROM runs_outbox o
                        WHERE o.topic = 'run.progress' AND o.key = p_run::text);
END $$;

-- Write down that an attempt is about to hand its job in under a key, or that it surely has not
-- (p_key NULL). The run's row is locked, so that whoever claims the run anew reads of it, or the
-- fence is lost before anything is handed in.
CREATE OR REPLACE FUNCTION mark_submitting(p_run uuid, p_attempt int, p_key text)
RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM runs_run r
      WHERE r.id = p_run AND r.attempt = p_attempt AND r.state = 'running' FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE runs_attempt a
       SET job_key = coalesce(p_key, ''),
           submitting_at = CASE WHEN p_key IS NULL THEN NULL ELSE clock_timestamp() END
     WHERE a.run_id = p_run AND a.number = p_attempt;
    RETURN true;
END $$;

-- Keep the partner's receipt of the job, fenced.
CREATE OR REPLACE FUNCTION keep_ticket(p_run uuid, p_attempt int, p_ticket jsonb)
RETURNS boolean LANGUAGE sql AS $$
    WITH kept AS (
        UPDATE runs_run r SET ticket = p_ticket
         WHERE r.id = p_run AND r.attempt = p_attempt AND r.state = 'running' RETURNING 1)
    SELECT EXISTS (SELECT 1 FROM kept);
$$;

-- Whether a supplier holds the lock that its session ends with, however it ends (`channel.py`).
CREATE OR REPLACE FUNCTION is_present(p_worker text) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (
        SELECT 1 FROM pg_locks l JOIN pg_database d ON d.oid = l.database
         WHERE l.locktype = 'advisory' AND d.datname = current_database() AND l.granted
           AND l.classid = 'runs_run'::regclass AND l.objsubid = 2
           AND l.objid::bigint = hashtext(p_worker)::bigint & 4294967295);
$$;

-- Make runs claimable again whose supplier is gone, without waiting for its lease: its session has
-- ended and it has renewed nothing for so long that less than `p_rest` of the lease is left. Either
-- alone means nothing: a session may be cut off, a renewal may be late. A server that has just
-- come up has seen neither and waits. Workers behind HTTPS have no session, only their lease.
CREATE OR REPLACE FUNCTION requeue_silent_runs(p_rest interval, p_most int)
RETURNS TABLE (run_id uuid, attempt int, exhausted boolean) LANGUAGE plpgsql AS $$
DECLARE
    gone text[];
    silent record;
BEGIN
    IF pg_postmaster_start_time() > now() - interval '15 s' THEN
        RETURN;
    END IF;
    SELECT array_agg(w.worker) INTO gone FROM (
        SELECT DISTINCT r.worker FROM runs_run r
         WHERE r.state = 'running' AND r.lease_until < now() + p_rest
           AND starts_with(r.worker, r.queue || '@')) w
     WHERE NOT is_present(w.worker);
    FOR silent IN
        SELECT r.id, r.attempt FROM runs_run r
         WHERE r.state = 'running' AND r.lease_until < now() + p_rest AND r.worker = ANY (gone)
         ORDER BY r.id LIMIT 500 FOR UPDATE SKIP LOCKED
    LOOP
        RETURN QUERY SELECT q.run_id, q.attempt, q.exhausted
                       FROM requeue_runs(silent.id, silent.attempt, p_most) AS q;
    END LOOP;
END $$;

-- Make runs claimable again whose lease has passed (p_run NULL), or one whose worker gave it up.
-- Runs out of attempts are returned with `exhausted`, still running: the caller settles them.
CREATE OR REPLACE FUNCTION requeue_runs(p_run uuid, p_attempt int, p_most int)
RETURNS TABLE (run_id uuid, attempt int, exhausted boolean) LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY
    WITH lapsed AS (
        SELECT r.id, r.attempt,
               r.attempt >= least(p_most, r.most_attempts) OR r.cancel_requested_at IS NOT NULL AS spent
          FROM runs_run r
         WHERE r.state = 'running'
           AND CASE WHEN p_run IS NULL THEN r.lease_until < now()
                    ELSE r.id = p_run AND r.attempt = p_attempt END
         ORDER BY r.id LIMIT 500 FOR UPDATE SKIP LOCKED
    ), waiting AS (
        UPDATE runs_run r SET state = 'queued', worker = '', lease_until = NULL, start_by = NULL
          FROM lapsed WHERE r.id = lapsed.id AND NOT lapsed.spent
        RETURNING r.id, r.queue
    ), lost AS (
        UPDATE runs_attempt a SET ended_at = now(), outcome = 'lost'
          FROM lapsed WHERE a.run_id = lapsed.id AND a.number = lapsed.attempt
           AND a.ended_at IS NULL
    ), told AS (
        INSERT INTO runs_outbox (topic, key, created_at)
        SELECT 'hint', w.queue, now() FROM waiting w GROUP BY w.queue
    )
    SELECT l.id, l.attempt, l.spent FROM lapsed l;
END $$;
