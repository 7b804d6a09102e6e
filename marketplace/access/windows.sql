-- Windows: the one decision about a release, asked by everything that shows or calls one.

-- What a team and a person may do with a release now; one row, or none where there is no release.
--   open     see and call it
--   shown    see it, with the instant at which it opens; not call it
--   hidden   nothing: it does not exist
--   retired  it was open once
-- window_id: the window that decides, if one does. left_over: how many runs the team's quota has
-- left; NULL where there is none. p_team: NULL is a stranger; p_user: a person, as admins are.
--
-- Half-open, by the database's clock. The planner inlines it, so it costs two look-ups by index.
CREATE OR REPLACE FUNCTION release_access(p_release bigint, p_team uuid, p_user bigint)
RETURNS TABLE (decision text, window_id bigint, grant_id bigint, left_over int)
LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN r.retired_at <= now() AND r.published_at <= r.retired_at THEN 'retired'
                WHEN r.retired_at <= now() OR r.stage IN ('draft', 'conformance') THEN 'hidden'
                WHEN w.id IS NULL AND r.stage = 'staged' AND r.published_at <= now() THEN 'open'
                WHEN EXISTS (SELECT 1 FROM catalog_model m
                               JOIN catalog_lab_teams t ON t.lab_id = m.lab_id
                              WHERE m.id = r.model_id AND t.team_id = p_team)
                  OR EXISTS (SELECT 1 FROM accounts_user u
                              WHERE u.id = p_user AND u.is_staff AND u.is_active) THEN 'open'
                WHEN w.kind = 'early_access' AND r.stage = 'staged'
                     THEN CASE WHEN g.id IS NULL THEN 'shown' ELSE 'open' END
                ELSE 'hidden' END,
           w.id, g.id, CASE WHEN g.id IS NOT NULL THEN w.quota - g.used END
      FROM catalog_release r
      LEFT JOIN access_window w ON w.release_id = r.id AND w.kind <> 'exclusive'
           AND w.withdrawn_at IS NULL AND w.span @> now()
      LEFT JOIN access_grant g ON g.window_id = w.id AND g.team_id = p_team
           AND g.granted_at IS NOT NULL AND g.revoked_at IS NULL
     WHERE r.id = p_release;
$$;

-- {release: decision} of these releases for one team and person.
CREATE OR REPLACE FUNCTION accesses(p_releases bigint[], p_team uuid, p_user bigint)
RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT coalesce(jsonb_object_agg(x.id, a.decision), '{}')
      FROM unnest(p_releases) AS x(id) CROSS JOIN LATERAL release_access(x.id, p_team, p_user) AS a;
$$;

-- Seconds until the next instant at which anything on sale may be seen, called or priced otherwise;
-- NULL where none is known. What is remembered of offers must not outlast it.
CREATE OR REPLACE FUNCTION seconds_to_boundary() RETURNS float8 LANGUAGE sql STABLE AS $$
    SELECT extract(epoch FROM min(b.at) - now())::float8 FROM (
        SELECT lower(w.span) AS at FROM access_window w WHERE w.withdrawn_at IS NULL
         UNION ALL
        SELECT upper(w.span) FROM access_window w WHERE w.withdrawn_at IS NULL
         UNION ALL
        SELECT v.at FROM catalog_release r
         CROSS JOIN LATERAL (VALUES (r.published_at), (r.deprecated_at), (r.retired_at)) AS v(at)
         UNION ALL
        SELECT v.at FROM metering_price p
         CROSS JOIN LATERAL (VALUES (p.effective_from), (p.effective_to)) AS v(at)
         WHERE p.effective_from > now() OR p.effective_to > now()) b
     WHERE b.at > now();
$$;

-- Of items of `admit_runs`, those beyond what the quota of their team's window has left. Locks the
-- grants that have one, by id, before anything else that admission locks.
CREATE OR REPLACE FUNCTION beyond_quota(items jsonb) RETURNS uuid[] LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM access_grant g JOIN access_window w ON w.id = g.window_id
      WHERE w.quota IS NOT NULL AND w.span @> now()
        AND (w.release_id, g.team_id) IN (
            SELECT i.release_id, i.team_id
              FROM jsonb_to_recordset(items) AS i(release_id bigint, team_id uuid))
      ORDER BY g.id FOR UPDATE OF g;
    RETURN ARRAY(
        SELECT n.run_id FROM (
            SELECT i.run_id, a.left_over,
                   row_number() OVER (PARTITION BY a.grant_id ORDER BY i.place) AS nth
              FROM ROWS FROM (jsonb_to_recordset(items) AS
                   (run_id uuid, team_id uuid, release_id bigint)) WITH ORDINALITY
                   AS i(run_id, team_id, release_id, place)
             CROSS JOIN LATERAL release_access(i.release_id, i.team_id, NULL) AS a
             WHERE a.left_over IS NOT NULL) n
         WHERE n.nth > n.left_over);
END $$;

-- Count admitted runs in the quotas of their windows.
CREATE OR REPLACE FUNCTION count_in_windows(items jsonb, runs uuid[]) RETURNS void LANGUAGE sql AS $$
    UPDATE access_grant g SET used = g.used + n.runs
      FROM (SELECT a.grant_id, count(*) AS runs
              FROM jsonb_to_recordset(items) AS i(run_id uuid, team_id uuid, release_id bigint)
             CROSS JOIN LATERAL release_access(i.release_id, i.team_id, NULL) AS a
             WHERE i.run_id = ANY (runs) AND a.left_over IS NOT NULL
             GROUP BY 1) n
     WHERE g.id = n.grant_id;
$$;
