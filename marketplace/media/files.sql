-- Keep what a file's bytes turned out to be.
--
-- item: {id, team_id, name, kind, content_type, path, bytes, sha256 (hex), width, height, frames,
--        seconds, sound, media_seconds, record_seconds}; its bytes are at `path` already, which is
-- a leftover until now. most: bytes that a team may keep. An announced file (a row that waits)
-- keeps its own name and clocks.
-- Gives `ok` with the path where the bytes are, which is that of an equal file of the team where
-- there is one; the item's own path then stays a leftover, due at once. Else, with nothing changed:
-- `taken` (the file has other bytes), `gone` (it was deleted), `full`. Repeats safely.
-- Lock order: the advisory lock of team and content, then rows.
CREATE OR REPLACE FUNCTION keep_file(item jsonb, most bigint)
RETURNS TABLE (code text, path text) LANGUAGE plpgsql AS $$
DECLARE
    i record;
    known record;
    twin text;
BEGIN
    SELECT * INTO i FROM jsonb_to_record(item) AS
        x(id uuid, team_id uuid, name text, kind text, content_type text, path text, bytes bigint,
          sha256 text, width int, height int, frames int, seconds numeric, sound boolean,
          media_seconds int, record_seconds int);
    PERFORM pg_advisory_xact_lock(hashtextextended(concat('file', i.team_id, i.sha256), 0));
    SELECT * INTO known FROM media_file f WHERE f.id = i.id FOR UPDATE;
    IF known.ready_at IS NOT NULL THEN
        DELETE FROM media_leftover l WHERE l.path = known.path;
        RETURN QUERY SELECT CASE WHEN known.sha256 <> decode(i.sha256, 'hex') THEN 'taken'
                                 WHEN known.path = '' THEN 'gone' ELSE 'ok' END, known.path::text;
        RETURN;
    ELSIF known.deleted_at IS NOT NULL THEN
        RETURN QUERY SELECT 'gone', '';
        RETURN;
    END IF;
    SELECT f.path INTO twin FROM media_file f
     WHERE f.team_id = i.team_id AND f.sha256 = decode(i.sha256, 'hex') AND f.path <> '' LIMIT 1;
    IF twin IS NULL AND i.bytes + coalesce((
        SELECT sum(b.bytes) FROM (SELECT DISTINCT ON (f.path) f.bytes FROM media_file f
                                   WHERE f.team_id = i.team_id AND f.path <> '') b), 0) > most THEN
        RETURN QUERY SELECT 'full', '';
        RETURN;
    END IF;

    INSERT INTO media_file AS f (id, team_id, name, kind, content_type, path, bytes, sha256, width,
                                 height, frames, seconds, sound, created_at, ready_at, expires_at,
                                 forget_at)
    VALUES (i.id, i.team_id, i.name, i.kind, i.content_type, coalesce(twin, i.path), i.bytes,
            decode(i.sha256, 'hex'), i.width, i.height, i.frames, i.seconds, i.sound, now(), now(),
            now() + make_interval(secs => i.media_seconds),
            now() + make_interval(secs => i.record_seconds))
    ON CONFLICT (id) DO UPDATE
       SET kind = excluded.kind, content_type = excluded.content_type, path = excluded.path,
           bytes = excluded.bytes, sha256 = excluded.sha256, width = excluded.width,
           height = excluded.height, frames = excluded.frames, seconds = excluded.seconds,
           sound = excluded.sound, ready_at = now();
    IF twin IS NULL THEN
        DELETE FROM media_leftover l WHERE l.path = i.path;
    ELSE
        UPDATE media_leftover l SET due_at = now() WHERE l.path = i.path;
    END IF;
    RETURN QUERY SELECT 'ok', coalesce(twin, i.path);
END $$;

-- Let go of the bytes of files whose time has come, but for those that a live run still needs.
-- Bytes that no other file shares become leftovers, due at once. Gives how many files.
-- The ten minutes: a file found good for a run a moment ago stays until that run is there.
CREATE OR REPLACE FUNCTION expire_files(needed uuid[], most int) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    due record;
    done int := 0;
BEGIN
    FOR due IN SELECT f.id, f.path, concat('file', f.team_id, encode(f.sha256, 'hex')) AS content
                 FROM media_file f
                WHERE f.path <> '' AND f.expires_at < now() - interval '10 min'
                  AND f.id <> ALL (needed)
                ORDER BY f.expires_at LIMIT most
    LOOP
        PERFORM pg_advisory_xact_lock(hashtextextended(due.content, 0));
        UPDATE media_file f SET path = '' WHERE f.id = due.id AND f.path <> '';
        CONTINUE WHEN NOT FOUND;
        done := done + 1;
        IF NOT EXISTS (SELECT 1 FROM media_file f WHERE f.path = due.path) THEN
            INSERT INTO media_leftover (path, due_at) VALUES (due.path, now())
            ON CONFLICT (path) DO UPDATE SET due_at = now();
        END IF;
    END LOOP;
    RETURN done;
END $$;
