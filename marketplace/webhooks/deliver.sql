-- Deliveries: queue, take, record. What a courier does in between is outside any transaction.

-- Queue many deliveries in one call. Repeats safely: an event is queued once for an address.
-- items: [{id, team_id, endpoint_id, run_id, target, url, host, scheme, event_id, event_type, rank,
--          body}]. Gives how many were new.
CREATE OR REPLACE FUNCTION queue_deliveries(items jsonb) RETURNS bigint LANGUAGE sql AS $$
    WITH queued AS (
        INSERT INTO webhooks_delivery (id, team_id, endpoint_id, run_id, target, url, host, scheme,
                                       event_id, event_type, rank, body, state, tries, pardoned,
                                       next_at, created_at)
        SELECT i.id, i.team_id, i.endpoint_id, i.run_id, i.target, i.url, i.host, i.scheme,
               i.event_id, i.event_type, i.rank, i.body, 'pending', 0, 0, now(), now()
          FROM jsonb_to_recordset(items) AS
               i(id uuid, team_id uuid, endpoint_id uuid, run_id uuid, target text, url text,
                 host text, scheme text, event_id text, event_type text, rank smallint, body text)
         WHERE i.endpoint_id IS NULL
            OR EXISTS (SELECT 1 FROM webhooks_endpoint e WHERE e.id = i.endpoint_id)
        ON CONFLICT (event_id, target) DO NOTHING RETURNING 1)
    SELECT count(*) FROM queued;
$$;

-- Take up to `p_limit` due deliveries, of each host no more than `p_per_host` less what of it is in
-- hand (`p_busy`: {host: count}), so that a slow host holds up no other. Each is taken for
-- `p_lease`: a courier that dies leaves it due again. A delivery waits for those of its run and
-- address that come before it. The try is on record before it is made.
CREATE OR REPLACE FUNCTION take_deliveries(
    p_limit int, p_per_host int, p_busy jsonb, p_lease interval
) RETURNS TABLE (
    id uuid, url text, host text, scheme text, event_id text, rank smallint, run_id uuid,
    team_id uuid, endpoint_id uuid, generation int, turning boolean, body text, number int,
    pardoned int
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH RECURSIVE hosts AS (
        (SELECT d.host FROM webhooks_delivery d WHERE d.state = 'pending'
          ORDER BY d.host LIMIT 1)
         UNION ALL
        SELECT (SELECT d.host FROM webhooks_delivery d
                 WHERE d.state = 'pending' AND d.host > h.host ORDER BY d.host LIMIT 1)
          FROM hosts h WHERE h.host IS NOT NULL
    ), due AS (
        SELECT d.id FROM (SELECT hosts.host FROM hosts ORDER BY random()) h CROSS JOIN LATERAL (
            SELECT c.id FROM webhooks_delivery c
             WHERE c.state = 'pending' AND c.host = h.host AND c.next_at <= now()
               AND NOT EXISTS (
                   SELECT 1 FROM webhooks_delivery b
                    WHERE b.run_id = c.run_id AND b.target = c.target AND b.state = 'pending'
                      AND (b.rank, b.id) < (c.rank, c.id))
             ORDER BY c.next_at
             LIMIT greatest(p_per_host - coalesce((p_busy ->> h.host)::int, 0), 0)
               FOR UPDATE SKIP LOCKED) d
         LIMIT p_limit
    ), taken AS (
        UPDATE webhooks_delivery d SET tries = d.tries + 1, next_at = now() + p_lease
          FROM due WHERE d.id = due.id RETURNING d.*
    ), noted AS (
        INSERT INTO webhooks_deliveryattempt (delivery_id, number, at, error, answer)
        SELECT t.id, t.tries, now(), '', '' FROM taken t
    )
    SELECT t.id, t.url::text, t.host::text, t.scheme::text, t.event_id::text, t.rank, t.run_id,
           t.team_id, t.endpoint_id, coalesce(e.generation, s.generation, 1),
           coalesce(coalesce(e.rotated_at, s.rotated_at) > now() - interval '24 h', false),
           t.body, t.tries, t.pardoned
      FROM taken t
      LEFT JOIN webhooks_endpoint e ON e.id = t.endpoint_id
      LEFT JOIN webhooks_teamsecret s ON s.team_id = t.team_id AND t.endpoint_id IS NULL;
END $$;

-- Record how tries went and what follows. items: [{id, number, state, wait (seconds, of pending),
-- status, latency_ms, error, answer}]. Only the last try decides; but a try that was delivered
-- counts even where it was thought lost. An endpoint that has failed for `p_patience` without a
-- success between, or that says it is gone (410), is disabled and what waits for it is dead.
CREATE OR REPLACE FUNCTION record_deliveries(items jsonb, p_patience interval)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    working uuid[];
    broken uuid[];
    gone uuid[];
    disabled uuid[];
BEGIN
    UPDATE webhooks_deliveryattempt a
       SET ended_at = now(), status = i.status, latency_ms = i.latency_ms, error = i.error,
           answer = i.answer
      FROM jsonb_to_recordset(items) AS
           i(id uuid, number int, status smallint, latency_ms int, error text, answer text)
     WHERE a.delivery_id = i.id AND a.number = i.number AND a.ended_at IS NULL;

    WITH heard AS (
        UPDATE webhooks_delivery d
           SET state = i.state,
               ended_at = CASE WHEN i.state = 'pending' THEN NULL ELSE now() END,
               next_at = CASE WHEN i.state = 'pending' THEN now() + make_interval(secs => i.wait)
                              ELSE d.next_at END
          FROM jsonb_to_recordset(items) AS
               i(id uuid, number int, state text, wait float8, status smallint)
         WHERE d.id = i.id
           AND (d.state = 'pending' AND d.tries = i.number
                OR d.state <> 'delivered' AND i.state = 'delivered')
        RETURNING d.endpoint_id, i.state, i.status
    )
    SELECT coalesce(array_agg(DISTINCT h.endpoint_id) FILTER (WHERE h.state = 'delivered'), '{}'),
           coalesce(array_agg(DISTINCT h.endpoint_id) FILTER (WHERE h.state <> 'delivered'), '{}'),
           coalesce(array_agg(DISTINCT h.endpoint_id) FILTER (WHERE h.status = 410), '{}')
      INTO working, broken, gone FROM heard h WHERE h.endpoint_id IS NOT NULL;

    PERFORM 1 FROM webhooks_endpoint e
      WHERE e.id = ANY (working) AND e.failing_since IS NOT NULL OR e.id = ANY (broken)
      ORDER BY e.id FOR UPDATE;
    UPDATE webhooks_endpoint e SET failing_since = NULL
     WHERE e.id = ANY (working) AND e.failing_since IS NOT NULL;
    UPDATE webhooks_endpoint e SET failing_since = now()
     WHERE e.id = ANY (broken) AND e.id <> ALL (working) AND e.failing_since IS NULL;

    WITH ended AS (
        UPDATE webhooks_endpoint e
           SET disabled_at = now(), notified_at = NULL,
               disabled_reason = CASE WHEN e.id = ANY (gone) THEN 'gone' ELSE 'failing' END
         WHERE e.id = ANY (broken) AND e.disabled_at IS NULL
           AND (e.id = ANY (gone) OR e.failing_since < now() - p_patience)
        RETURNING e.id
    )
    SELECT coalesce(array_agg(e.id), '{}') INTO disabled FROM ended e;
    UPDATE webhooks_delivery d SET state = 'dead', ended_at = now()
     WHERE d.endpoint_id = ANY (disabled) AND d.state = 'pending';
END $$;
