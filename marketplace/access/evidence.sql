-- Evidence: one chain per lab of what was decided about its releases. Each row's digest is over the
-- digest before it and its own text, so that no row can be changed, removed or put in unnoticed.

CREATE OR REPLACE FUNCTION instant(p_at timestamptz) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT to_char(p_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"');
$$;

-- Append one row. p_at: when it came about; p_once: what is noted but once. Gives its number, or
-- NULL where it was noted before. One writer of a lab's chain at a time, until its commit.
CREATE OR REPLACE FUNCTION note_evidence(
    p_lab bigint, p_kind text, p_at timestamptz, p_facts jsonb, p_once text DEFAULT NULL
) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    before bytea;
    place bigint;
    said text;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('access_evidence'), p_lab::int);
    IF p_once IS NOT NULL AND EXISTS (
        SELECT 1 FROM access_evidence e WHERE e.lab_id = p_lab AND e.once = p_once) THEN
        RETURN NULL;
    END IF;
    SELECT e.number, e.digest INTO place, before FROM access_evidence e
     WHERE e.lab_id = p_lab ORDER BY e.number DESC LIMIT 1;
    place := coalesce(place, 0) + 1;
    said := jsonb_build_object(
        'number', place, 'lab', (SELECT l.slug FROM catalog_lab l WHERE l.id = p_lab),
        'kind', p_kind, 'at', instant(p_at), 'noted_at', instant(clock_timestamp()),
        'facts', p_facts)::text;
    INSERT INTO access_evidence (lab_id, number, body, digest, once)
    VALUES (p_lab, place, said, sha256(convert_to(
        coalesce(encode(before, 'hex'), repeat('0', 64)) || E'\n' || said, 'UTF8')), p_once);
    RETURN place;
END $$;

CREATE OR REPLACE FUNCTION evidence_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'evidence is only ever added' USING ERRCODE = 'restrict_violation';
END $$;

CREATE OR REPLACE TRIGGER evidence_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON access_evidence
    FOR EACH STATEMENT EXECUTE FUNCTION evidence_kept();

CREATE OR REPLACE FUNCTION release_named(p_release bigint)
RETURNS TABLE (lab_id bigint, name text) LANGUAGE sql STABLE AS $$
    SELECT l.id, l.slug || '/' || m.slug || '@' || r.version
      FROM catalog_release r JOIN catalog_model m ON m.id = r.model_id
      JOIN catalog_lab l ON l.id = m.lab_id WHERE r.id = p_release;
$$;

CREATE OR REPLACE FUNCTION window_facts(w access_window) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object(
        'window', w.id, 'release', n.name, 'kind', w.kind, 'begins', instant(lower(w.span)),
        'ends', instant(upper(w.span)), 'audience', w.audience, 'quota', w.quota,
        'terms', w.terms, 'by', w.created_by_id)
      FROM release_named(w.release_id) AS n;
$$;

-- Whoever makes, changes, closes or withdraws a window has it noted in the same commit.
CREATE OR REPLACE FUNCTION window_noted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM note_evidence(n.lab_id, CASE
                WHEN TG_OP = 'INSERT' THEN 'window_made'
                WHEN NEW.withdrawn_at IS NOT NULL THEN 'window_withdrawn'
                WHEN upper(NEW.span) = now() THEN 'window_closed'
                ELSE 'window_changed' END, now(), window_facts(NEW))
       FROM release_named(NEW.release_id) AS n;
    RETURN NULL;
END $$;

CREATE OR REPLACE TRIGGER window_noted AFTER INSERT OR UPDATE ON access_window
    FOR EACH ROW EXECUTE FUNCTION window_noted();

-- The same of a grant; a quota that is used up is no decision.
CREATE OR REPLACE FUNCTION grant_noted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM note_evidence(n.lab_id, CASE
                WHEN NEW.revoked_at IS NOT NULL THEN 'grant_revoked'
                WHEN NEW.granted_at IS NOT NULL THEN 'grant_made'
                WHEN NEW.invited_at IS NOT NULL THEN 'grant_invited'
                ELSE 'grant_waiting' END, now(), jsonb_build_object(
                'window', w.id, 'release', n.name, 'team', NEW.team_id, 'reason', NEW.reason,
                'position', NEW.position))
       FROM access_window w CROSS JOIN LATERAL release_named(w.release_id) AS n
      WHERE w.id = NEW.window_id;
    RETURN NULL;
END $$;

CREATE OR REPLACE TRIGGER grant_noted AFTER INSERT OR UPDATE OF invited_at, granted_at, revoked_at
    ON access_grant FOR EACH ROW EXECUTE FUNCTION grant_noted();

-- Who moves a release's instants has that noted too.
CREATE OR REPLACE FUNCTION life_noted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM note_evidence(n.lab_id, 'release_scheduled', now(), jsonb_build_object(
                'release', n.name, 'stage', NEW.stage, 'published_at', instant(NEW.published_at),
                'deprecated_at', instant(NEW.deprecated_at), 'retired_at', instant(NEW.retired_at)))
       FROM release_named(NEW.id) AS n;
    RETURN NULL;
END $$;

CREATE OR REPLACE TRIGGER life_noted AFTER UPDATE OF stage, published_at, deprecated_at, retired_at
    ON catalog_release FOR EACH ROW WHEN (
        (OLD.stage, OLD.published_at, OLD.deprecated_at, OLD.retired_at)
        IS DISTINCT FROM (NEW.stage, NEW.published_at, NEW.deprecated_at, NEW.retired_at))
    EXECUTE FUNCTION life_noted();

-- Add calls that were denied: [{release, decision, calls}].
CREATE OR REPLACE FUNCTION note_denials(items jsonb) RETURNS void LANGUAGE sql AS $$
    INSERT INTO access_deniedcalls AS d (release_id, hour, decision, calls)
    SELECT i.release, date_trunc('hour', now()), i.decision, sum(i.calls)
      FROM jsonb_to_recordset(items) AS i(release bigint, decision text, calls bigint)
      JOIN catalog_release r ON r.id = i.release
     GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
    ON CONFLICT (release_id, hour, decision) DO UPDATE SET calls = d.calls + excluded.calls;
$$;

-- What the clock has brought about and nobody has noted yet: windows that opened and closed,
-- releases that went live, the first call inside a window, calls denied in hours that are over.
CREATE OR REPLACE FUNCTION unnoted(p_lab bigint)
RETURNS TABLE (kind text, at timestamptz, facts jsonb, once text) LANGUAGE sql STABLE AS $$
    WITH mine AS (
        SELECT r.id, r.published_at, n.name FROM catalog_release r
          JOIN catalog_model m ON m.id = r.model_id CROSS JOIN LATERAL release_named(r.id) AS n
         WHERE m.lab_id = p_lab AND r.stage = 'staged'
    ), windows AS (
        SELECT w.*, window_facts(w) AS facts FROM access_window w
          JOIN catalog_release r ON r.id = w.release_id JOIN catalog_model m ON m.id = r.model_id
         WHERE m.lab_id = p_lab AND w.withdrawn_at IS NULL
    ), happened AS (
        SELECT 'window_opened' AS kind, lower(w.span) AS at, w.facts, 'opened:' || w.id AS once
          FROM windows w WHERE lower(w.span) <= now()
         UNION ALL
        SELECT 'window_over', upper(w.span), w.facts, 'over:' || w.id
          FROM windows w WHERE upper(w.span) <= now()
         UNION ALL
        SELECT 'release_published', r.published_at, jsonb_build_object('release', r.name),
               'published:' || r.id
          FROM mine r WHERE r.published_at <= now()
         UNION ALL
        SELECT 'first_call', f.created_at, jsonb_build_object(
                   'window', w.id, 'run', f.id, 'release', w.facts ->> 'release'), 'first:' || w.id
          FROM windows w CROSS JOIN LATERAL (
               SELECT q.id, q.created_at FROM runs_run q
                WHERE q.release_id = w.release_id AND w.span @> q.created_at
                ORDER BY q.created_at LIMIT 1) f
          WHERE w.kind = 'early_access'
         UNION ALL
        SELECT 'calls_denied', d.hour + interval '1 hour', jsonb_build_object(
                   'release', r.name, 'decision', d.decision, 'calls', d.calls,
                   'hour', instant(d.hour)),
               concat_ws(':', 'denied', d.release_id, d.decision, extract(epoch FROM d.hour)::bigint)
          FROM access_deniedcalls d JOIN mine r ON r.id = d.release_id
         WHERE d.hour < date_trunc('hour', now())
    )
    SELECT h.* FROM happened h
     WHERE NOT EXISTS (SELECT 1 FROM access_evidence e WHERE e.lab_id = p_lab AND e.once = h.once)
     ORDER BY h.at, h.once;
$$;

-- Note it. Repeats safely; gives how many rows are new.
CREATE OR REPLACE FUNCTION catch_up_evidence(p_lab bigint) RETURNS bigint LANGUAGE sql AS $$
    SELECT count(note_evidence(p_lab, u.kind, u.at, u.facts, u.once)) FROM unnoted(p_lab) AS u;
$$;
