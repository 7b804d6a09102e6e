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

-- Put a team's runs that have not ended into the lanes that its budgets have now, those admitted
-- before a budget was made or changed too. Running ones count at once; waiting ones wait from now.
--
-- Locks the team's lanes, then the runs, each by id, as claimers and settlers do.
CREATE OR REPLACE FUNCTION put_in_lanes(p_team uuid) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    mine uuid[];
    entered jsonb;
BEGIN
    PERFORM 1 FROM access_lane l JOIN access_budget b ON b.id = l.budget_id
      WHERE b.team_id = p_team ORDER BY l.id FOR UPDATE OF l;
    SELECT array_agg(x.id) INTO mine FROM (
        SELECT r.id FROM runs_run r WHERE r.team_id = p_team AND r.state = 'queued' AND r.lanes IS NULL
         UNION ALL
        SELECT r.id FROM runs_run r
         WHERE r.team_id = p_team AND r.state = 'queued' AND r.lanes IS NOT NULL
         UNION ALL
        SELECT r.id FROM runs_run r WHERE r.team_id = p_team AND r.state = 'running') AS x;
    PERFORM 1 FROM runs_run r WHERE r.id = ANY (mine) ORDER BY r.id FOR UPDATE;
    SELECT coalesce(jsonb_agg(to_jsonb(o)), '[]') INTO entered
      FROM budgets_over((
           SELECT jsonb_agg(jsonb_build_object(
                      'run_id', r.id, 'team_id', r.team_id, 'key_id', r.key_id,
                      'user_id', r.user_id, 'project', r.project, 'end_user', r.end_user))
             FROM runs_run r WHERE r.id = ANY (mine))) AS o
      JOIN access_budget b ON b.id = o.budget_id AND b.concurrency IS NOT NULL;
    INSERT INTO access_lane (budget_id, subject)
    SELECT DISTINCT o.budget_id, o.subject
      FROM jsonb_to_recordset(entered) AS o(budget_id uuid, subject text)
     ORDER BY 1, 2
    ON CONFLICT DO NOTHING;
    UPDATE runs_run r SET lanes = n.lanes
      FROM (SELECT w.id, (SELECT array_agg(DISTINCT l.id ORDER BY l.id)
                            FROM jsonb_to_recordset(entered) AS
                                 o(run_id uuid, budget_id uuid, subject text)
                            JOIN access_lane l ON l.budget_id = o.budget_id AND l.subject = o.subject
                           WHERE o.run_id = w.id) AS lanes
              FROM unnest(mine) AS w(id)) AS n
     WHERE r.id = n.id AND r.state IN ('queued', 'running') AND r.lanes IS DISTINCT FROM n.lanes;
END $$;

-- Whoever makes, changes, closes or reopens a budget has the runs follow in the same commit.
CREATE OR REPLACE FUNCTION lanes_follow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM access_budget b
                WHERE b.team_id = NEW.team_id AND b.concurrency IS NOT NULL)
       OR EXISTS (SELECT 1 FROM access_lane l WHERE l.budget_id = NEW.id) THEN
        PERFORM put_in_lanes(NEW.team_id);
    END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE TRIGGER lanes_follow AFTER INSERT OR UPDATE OF concurrency, closed_at
    ON access_budget FOR EACH ROW EXECUTE FUNCTION lanes_follow();

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
