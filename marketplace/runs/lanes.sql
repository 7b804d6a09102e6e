-- Lanes: the runs of a budget with a concurrency wait for one another, and for nobody else.
--
-- What runs is counted from the running runs themselves. There is no counter that a killed worker
-- could leave wrong: its run counts until the lease lapses and the run is taken back.

-- How many more runs each lane may have running; a closed or lifted concurrency has room for any.
CREATE OR REPLACE FUNCTION lane_rooms(p_lanes bigint[])
RETURNS TABLE (lane bigint, room bigint) LANGUAGE sql STABLE AS $$
    SELECT l.id, CASE WHEN b.closed_at IS NULL AND b.concurrency IS NOT NULL
                      THEN greatest(0, b.concurrency - coalesce(n.running, 0))
                      ELSE 1000000 END
      FROM access_lane l
      JOIN access_budget b ON b.id = l.budget_id
      LEFT JOIN (SELECT x.lane, count(*) AS running
                   FROM runs_run r, unnest(r.lanes) AS x(lane)
                  WHERE r.state = 'running' AND r.lanes IS NOT NULL GROUP BY 1) n ON n.lane = l.id
     WHERE l.id = ANY (p_lanes);
$$;

-- The sets of lanes in which runs of a queue wait. Each costs one step of the index, however many
-- runs wait in it, so that a saturated team's long line slows nobody's claim.
CREATE OR REPLACE FUNCTION waiting_lanes(p_queue text)
RETURNS TABLE (lanes bigint[]) LANGUAGE sql STABLE AS $$
    WITH RECURSIVE waiting AS (
        (SELECT r.lanes FROM runs_run r
          WHERE r.queue = p_queue AND r.state = 'queued' AND r.lanes IS NOT NULL
          ORDER BY r.lanes LIMIT 1)
        UNION ALL
        SELECT (SELECT r.lanes FROM runs_run r
                 WHERE r.queue = p_queue AND r.state = 'queued' AND r.lanes IS NOT NULL
                   AND r.lanes > w.lanes
                 ORDER BY r.lanes LIMIT 1)
          FROM waiting w WHERE w.lanes IS NOT NULL)
    SELECT w.lanes FROM waiting w WHERE w.lanes IS NOT NULL;
$$;

-- The first waiting runs of these sets of lanes, at most `p_most` and the room of each set.
CREATE OR REPLACE FUNCTION first_in_lanes(p_queue text, p_most int)
RETURNS TABLE (run_id uuid, lanes bigint[], priority smallint, created_at timestamptz)
LANGUAGE sql STABLE AS $$
    WITH waiting AS (
        SELECT w.lanes FROM waiting_lanes(p_queue) AS w
    ), rooms AS (
        SELECT * FROM lane_rooms(ARRAY(SELECT DISTINCT x FROM waiting w, unnest(w.lanes) AS x))
    ), open AS (
        SELECT w.lanes, min(m.room) AS room
          FROM waiting w JOIN rooms m ON m.lane = ANY (w.lanes)
         GROUP BY w.lanes HAVING min(m.room) > 0
    )
    SELECT f.id, o.lanes, f.priority, f.created_at
      FROM open o CROSS JOIN LATERAL (
           SELECT r.id, r.priority, r.created_at FROM runs_run r
            WHERE r.queue = p_queue AND r.state = 'queued' AND r.lanes = o.lanes
              AND (r.start_by > now()) IS NOT FALSE
            ORDER BY r.priority DESC, r.created_at
            LIMIT least(o.room, p_most)) AS f;
$$;

-- Runs of a queue that may start now without passing a concurrency, at most `p_limit`, locked.
--
-- The lanes' rows are locked by id, then everything is counted anew: of claimers at one time the
-- second sees what the first started. Locks no run that it would have to wait for.
CREATE OR REPLACE FUNCTION choose_in_lanes(p_queue text, p_limit int)
RETURNS uuid[] LANGUAGE plpgsql AS $$
DECLARE
    mine bigint[];
    rooms jsonb;
    first record;
    chosen uuid[] := '{}';
BEGIN
    SELECT array_agg(DISTINCT x) INTO mine FROM (
        SELECT f.lanes FROM first_in_lanes(p_queue, 1) AS f
         ORDER BY f.priority DESC, f.created_at LIMIT p_limit) AS s, unnest(s.lanes) AS x;
    IF mine IS NULL THEN
        RETURN chosen;
    END IF;
    PERFORM 1 FROM access_lane l WHERE l.id = ANY (mine) ORDER BY l.id FOR UPDATE;
    SELECT jsonb_object_agg(m.lane, m.room) INTO rooms FROM lane_rooms(mine) AS m;
    FOR first IN
        SELECT f.run_id, f.lanes FROM first_in_lanes(p_queue, p_limit) AS f
         WHERE f.lanes <@ mine ORDER BY f.priority DESC, f.created_at
    LOOP
        EXIT WHEN cardinality(chosen) = p_limit;
        CONTINUE WHEN EXISTS (
            SELECT 1 FROM unnest(first.lanes) AS x WHERE (rooms ->> x::text)::bigint < 1);
        PERFORM 1 FROM runs_run r WHERE r.id = first.run_id AND r.state = 'queued'
            FOR UPDATE SKIP LOCKED;
        CONTINUE WHEN NOT FOUND;
        chosen := chosen || first.run_id;
        SELECT rooms || jsonb_object_agg(x, (rooms ->> x::text)::bigint - 1) INTO rooms
          FROM unnest(first.lanes) AS x;
    END LOOP;
    RETURN chosen;
END $$;

-- The runs whose callers would wait behind as many waiting runs as may run at once.
CREATE OR REPLACE FUNCTION full_lanes(entered jsonb)
RETURNS TABLE (run_id uuid, budget jsonb) LANGUAGE sql STABLE AS $$
    SELECT o.run_id, jsonb_build_object('id', b.id, 'kind', b.kind, 'subject', o.subject,
                                        'concurrency', b.concurrency)
      FROM jsonb_to_recordset(entered) AS
           o(run_id uuid, waits boolean, budget_id uuid, subject text, lane bigint)
      JOIN access_budget b ON b.id = o.budget_id
     WHERE o.waits AND b.concurrency <= (
           SELECT count(*) FROM (
               SELECT 1 FROM runs_run r
                WHERE r.team_id = b.team_id AND r.state = 'queued' AND r.lanes @> ARRAY[o.lane]
                LIMIT b.concurrency) AS waiting);
$$;
