-- T1. Admit many runs in one call and one commit: run, hold, outbox.
--
-- items: [{run_id, team_id, key_id, user_id, release_id, price_id, quote_id, inputs,
--          inputs_digest (hex), idempotency_key, project, end_user, quoted, amount, currency, queue,
--          priority, start_by, cancel_at, most_attempts, route, webhooks, files, media_seconds,
--          record_seconds, model (`lab/model`), waits, window_id (whose price it is)}].
-- Gives per item, by its place from 1: `ok`, `replayed` (same idempotency key and body, the first
-- run's id), `idempotency_conflict`, `insufficient_balance` (what is available), `key_revoked`,
-- `team_locked`, `release_retired` (gone, or not to be known of), `not_yet_open`, `window_over` (its
-- price ended this instant), `window_quota`, or a budget's refusal with its facts (`within.sql`).
-- All but the first write nothing. Repeats safely: an item whose
-- run_id is there already is `replayed`, so a call whose answer was lost can be made again.
-- Lock order: grants with a quota, idempotency keys, accounts, spendings, each sorted; so two calls
-- cannot deadlock.
CREATE OR REPLACE FUNCTION admit_runs(items jsonb)
RETURNS TABLE (place bigint, code text, run_id uuid, available bigint, hint_ids bigint[],
               admitted_at timestamptz, budget jsonb)
LANGUAGE plpgsql AS $$
DECLARE
    entered uuid[];
    held jsonb;
    refused uuid[];
    limited boolean := EXISTS (  -- whether any window has a quota now
        SELECT 1 FROM access_window x WHERE x.quota IS NOT NULL AND x.span @> now());
    beyond uuid[] := '{}';
    hints bigint[];
BEGIN
    IF limited THEN
        beyond := beyond_quota(items);
    END IF;
    WITH wanted AS (
        SELECT w.* FROM ROWS FROM (jsonb_to_recordset(items) AS
            (run_id uuid, team_id uuid, key_id uuid, user_id bigint, release_id bigint,
             price_id bigint, quote_id uuid, inputs jsonb, inputs_digest text,
             idempotency_key text, project text, end_user text, queue text, priority smallint,
             route jsonb, webhooks jsonb, start_by timestamptz, cancel_at timestamptz,
             most_attempts smallint, files jsonb, media_seconds int, record_seconds int,
             window_id bigint)) WITH ORDINALITY
            AS w(run_id, team_id, key_id, user_id, release_id, price_id, quote_id, inputs,
                 inputs_digest, idempotency_key, project, end_user, queue, priority, route,
                 webhooks, start_by, cancel_at, most_attempts, files, media_seconds,
                 record_seconds, window_id, place)
    ), entered_rows AS (
        INSERT INTO runs_run (id, team_id, key_id, user_id, release_id, price_id, quote_id, inputs,
                              inputs_digest, idempotency_key, project, end_user, state, queue,
                              priority, route, attempt, worker, webhooks, start_by, cancel_at,
                              most_attempts, files, media_seconds, forget_at, created_at)
        SELECT w.run_id, w.team_id, w.key_id, w.user_id, w.release_id, w.price_id, w.quote_id,
               w.inputs, decode(w.inputs_digest, 'hex'), w.idempotency_key,
               coalesce(w.project, ''), coalesce(w.end_user, ''), 'queued', w.queue, w.priority,
               w.route, 0, '', coalesce(w.webhooks, '[]'), w.start_by, w.cancel_at,
               w.most_attempts, coalesce(w.files, '{}'), w.media_seconds,
               now() + make_interval(secs => w.record_seconds), now()
          FROM wanted w
          JOIN accounts_team t ON t.id = w.team_id AND t.status = 'active'
          LEFT JOIN accounts_apikey k ON k.id = w.key_id
         CROSS JOIN LATERAL release_access(
               w.release_id, w.team_id, coalesce(w.user_id, k.created_by_id)) AS a
         WHERE (w.key_id IS NULL
            OR (k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())))
           AND a.decision = 'open' AND (w.window_id IS NULL OR w.window_id = a.window_id)
           AND w.run_id <> ALL (beyond)
         ORDER BY w.team_id, w.idempotency_key, w.place
        ON CONFLICT DO NOTHING
        RETURNING id
    )
    SELECT coalesce(array_agg(id), '{}') INTO entered FROM entered_rows;

    SELECT coalesce(jsonb_agg(to_jsonb(h)), '[]') INTO held FROM hold_within_budgets(
        (SELECT coalesce(jsonb_agg(i ORDER BY n), '[]')
           FROM jsonb_array_elements(items) WITH ORDINALITY AS e(i, n)
          WHERE (i ->> 'run_id')::uuid = ANY (entered))) AS h;
    SELECT coalesce(array_agg((h ->> 'run_id')::uuid), '{}') INTO refused
      FROM jsonb_array_elements(held) AS h WHERE h ->> 'code' <> 'ok';
    IF cardinality(refused) > 0 THEN
        DELETE FROM runs_run WHERE id = ANY (refused);
    END IF;
    UPDATE runs_run r SET lanes = h.lanes
      FROM jsonb_to_recordset(held) AS h(run_id uuid, lanes bigint[])
     WHERE r.id = h.run_id AND h.lanes IS NOT NULL;

    IF limited THEN
        PERFORM count_in_windows(items, ARRAY(
            SELECT e FROM unnest(entered) AS e WHERE e <> ALL (refused)));
    END IF;

    WITH told AS (
        INSERT INTO runs_outbox (topic, key, created_at)
        SELECT 'hint', r.queue, now() FROM runs_run r
         WHERE r.id = ANY (entered) GROUP BY r.queue
        RETURNING id
    )
    SELECT coalesce(array_agg(id), '{}') INTO hints FROM told;

    RETURN QUERY
    SELECT w.place,
           CASE WHEN w.run_id = ANY (refused) THEN h.code
                WHEN w.run_id = ANY (entered) THEN 'ok'
                WHEN first.id IS NOT NULL AND first.inputs_digest = decode(w.inputs_digest, 'hex')
                     THEN 'replayed'
                WHEN first.id IS NOT NULL THEN 'idempotency_conflict'
                WHEN t.status IS DISTINCT FROM 'active' THEN 'team_locked'
                WHEN k.id IS NOT NULL AND (k.revoked_at IS NOT NULL OR k.expires_at <= now())
                     THEN 'key_revoked'
                WHEN twin.code IS NOT NULL THEN twin.code
                WHEN w.run_id = ANY (beyond) THEN 'window_quota'
                ELSE (SELECT CASE a.decision WHEN 'shown' THEN 'not_yet_open'
                                  WHEN 'open' THEN 'window_over' ELSE 'release_retired' END
                        FROM release_access(w.release_id, w.team_id,
                                            coalesce(w.user_id, k.created_by_id)) AS a) END,
           CASE WHEN w.run_id = ANY (entered) THEN w.run_id ELSE first.id END,
           coalesce(h.available, twin.available),
           hints, now(), nullif(coalesce(h.budget, twin.budget), 'null')
      FROM ROWS FROM (jsonb_to_recordset(items) AS
            (run_id uuid, team_id uuid, key_id uuid, user_id bigint, release_id bigint,
             inputs_digest text, idempotency_key text)) WITH ORDINALITY
           AS w(run_id, team_id, key_id, user_id, release_id, inputs_digest, idempotency_key,
                place)
      LEFT JOIN jsonb_to_recordset(held) AS
           h(run_id uuid, code text, available bigint, budget jsonb) ON h.run_id = w.run_id
      LEFT JOIN LATERAL (
          SELECT r.id, r.inputs_digest FROM runs_run r
           WHERE r.id = w.run_id AND w.run_id <> ALL (entered)
           UNION ALL
          SELECT r.id, r.inputs_digest FROM runs_run r
           WHERE r.team_id = w.team_id AND r.idempotency_key = w.idempotency_key
             AND w.run_id <> ALL (entered)
           LIMIT 1) first ON true
      LEFT JOIN accounts_team t ON t.id = w.team_id
      LEFT JOIN accounts_apikey k ON k.id = w.key_id
      -- The same key twice in one call, and the first of them was refused: so is the second.
      LEFT JOIN LATERAL (
          SELECT o.code, o.available, o.budget
            FROM jsonb_to_recordset(items) AS s(run_id uuid, team_id uuid, idempotency_key text)
            JOIN jsonb_to_recordset(held) AS
                 o(run_id uuid, code text, available bigint, budget jsonb) ON o.run_id = s.run_id
           WHERE w.run_id <> ALL (entered) AND s.run_id = ANY (refused) AND s.run_id <> w.run_id
             AND s.team_id = w.team_id AND s.idempotency_key = w.idempotency_key
           LIMIT 1) twin ON true
     ORDER BY w.place;
END $$;
