-- How runs of each release ended and how long they ran, folded by day out of committed rows as
-- usage is (`usage.sql`), so that counting them costs the same after ten runs and ten million.
--
-- A run is a fact once its hold is closed, on that day; a realtime session lasts as long as its
-- client likes and says nothing of pace. Days hold the facts of transactions before
-- `runs_pacefold.upto`, the tail is the rest; read in one statement they are exact.

-- Ten buckets to each doubling of the seconds, so that a median from them is within 4 %.
CREATE OR REPLACE FUNCTION pace_bucket(ran interval) RETURNS int LANGUAGE sql IMMUTABLE AS $$
    SELECT floor(10 * ln(greatest(extract(epoch FROM ran), 0.001)) / ln(2.0))::int;
$$;

CREATE OR REPLACE FUNCTION pace_facts(since xid8, upto xid8)
RETURNS TABLE (release_id bigint, day date, outcome text, bucket int, runs bigint)
LANGUAGE sql STABLE AS $$
    SELECT r.release_id, (h.closed_at AT TIME ZONE 'UTC')::date, r.outcome::text,
           coalesce(pace_bucket(r.finished_at - r.started_at), -1000), count(*)
      FROM ledger_hold h
      JOIN runs_run r ON r.id = h.run_id AND r.outcome IS NOT NULL
     WHERE h.closed_xid >= since AND h.closed_xid < upto
       AND NOT EXISTS (SELECT 1 FROM runs_session s WHERE s.run_id = r.id)
     GROUP BY 1, 2, 3, 4
$$;

-- Days and tail from a day on. PL/pgSQL, so that the tail's plan knows how few its facts are.
CREATE OR REPLACE FUNCTION pace_since(p_day date)
RETURNS TABLE (release_id bigint, outcome text, bucket int, runs bigint)
LANGUAGE plpgsql STABLE AS $$
DECLARE
    since xid8 := coalesce((SELECT max(f.upto) FROM runs_pacefold f), '0');
BEGIN
    RETURN QUERY
    SELECT p.release_id, p.outcome, p.bucket, sum(p.runs)::bigint
      FROM (SELECT d.release_id, d.outcome::text, d.bucket, d.runs FROM runs_paceday d
             WHERE d.day >= p_day
             UNION ALL
            SELECT t.release_id, t.outcome, t.bucket, t.runs
              FROM pace_facts(since, '18446744073709551615') t WHERE t.day >= p_day) p
     GROUP BY 1, 2, 3;
END $$;

-- Bring the days up to the last settled transaction; gives the number of rows written. After forty
-- days a month becomes one row per outcome. One at a time; a database restored into a server that
-- counts transactions anew waits for `rebuild_usage`, which stamps its holds, and begins again.
CREATE OR REPLACE FUNCTION fold_pace() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    since xid8;
    settled xid8;
    written bigint;
BEGIN
    IF NOT pg_try_advisory_xact_lock('runs_paceday'::regclass::oid::bigint) THEN
        RETURN 0;
    END IF;
    since := coalesce((SELECT max(f.upto) FROM runs_pacefold f), '0');
    settled := pg_snapshot_xmin(pg_current_snapshot());
    IF since > pg_snapshot_xmax(pg_current_snapshot()) THEN
        IF EXISTS (SELECT 1 FROM runs_usagefold f WHERE f.upto >= since) THEN
            RETURN 0;
        END IF;
        DELETE FROM runs_paceday;
        since := '0';
    END IF;
    INSERT INTO runs_paceday AS d (release_id, day, outcome, bucket, runs)
    SELECT f.release_id, f.day, f.outcome, f.bucket, f.runs FROM pace_facts(since, settled) f
    ON CONFLICT (release_id, day, outcome, bucket) DO UPDATE SET runs = d.runs + excluded.runs;
    GET DIAGNOSTICS written = ROW_COUNT;
    WITH old AS (
        DELETE FROM runs_paceday d
         WHERE d.day < current_date - 40 AND (d.bucket, d.day) <> (-1000, date_trunc('month', d.day))
        RETURNING d.release_id, date_trunc('month', d.day)::date AS month, d.outcome, d.runs
    )
    INSERT INTO runs_paceday AS d (release_id, day, outcome, bucket, runs)
    SELECT o.release_id, o.month, o.outcome, -1000, sum(o.runs) FROM old o GROUP BY 1, 2, 3
    ON CONFLICT (release_id, day, outcome, bucket) DO UPDATE SET runs = d.runs + excluded.runs;
    INSERT INTO runs_pacefold AS f (id, upto) VALUES (1, settled)
    ON CONFLICT (id) DO UPDATE SET upto = excluded.upto;
    RETURN written;
END $$;
