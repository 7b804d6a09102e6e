-- What teams used, folded by day out of committed rows, so that settlement pays nothing for it.
--
-- Facts are closed holds with their meter events, and refunds. Each carries the id of the
-- transaction that made it a fact. Ids below the least one still running are settled: every later
-- snapshot sees those facts, and no new ones can come. The days hold the facts below
-- `runs_usagefold.upto`; the tail is the rest. Days and tail read in one statement are exact to the
-- last commit, whatever order commits came in.

-- The facts of transactions from `since` up to but without `upto`. A run with units has a row for
-- each, the first of which (by name) counts the run and its money; a run without has one without.
CREATE OR REPLACE FUNCTION usage_facts(since xid8, upto xid8)
RETURNS TABLE (team_id uuid, day date, key_id uuid, price_id bigint, project text, currency text,
               unit text, runs bigint, charged_runs bigint, charged bigint, given_back bigint,
               refunded bigint, quantity numeric)
LANGUAGE sql STABLE AS $$
    SELECT h.team_id, (h.closed_at AT TIME ZONE 'UTC')::date, r.key_id, h.price_id,
           coalesce(r.project, '')::text, h.currency::text, coalesce(e.unit, '')::text,
           f.first::bigint, f.first * (h.captured > 0)::int::bigint, f.first * h.captured,
           f.first * (h.amount - h.captured), 0::bigint, coalesce(e.quantity, 0)
      FROM ledger_hold h
      LEFT JOIN runs_run r ON r.id = h.run_id
      LEFT JOIN metering_meterevent e
             ON e.run_id = h.run_id AND e.quantity > 0 AND h.captured > 0
     CROSS JOIN LATERAL (
           SELECT (NOT EXISTS (SELECT 1 FROM metering_meterevent o
                                WHERE o.run_id = e.run_id AND o.quantity > 0
                                  AND o.unit < e.unit))::int AS first) f
     WHERE h.closed_xid >= since AND h.closed_xid < upto
    UNION ALL
    SELECT h.team_id, (t.event_at AT TIME ZONE 'UTC')::date, r.key_id, h.price_id,
           coalesce(r.project, '')::text, h.currency::text, '', 0, 0, 0, 0, n.amount, 0
      FROM ledger_transfer t
      JOIN ledger_hold h ON h.run_id = t.run_id
      LEFT JOIN runs_run r ON r.id = t.run_id
      JOIN ledger_entry n ON n.transfer_id = t.id
      JOIN ledger_account a ON a.id = n.account_id AND a.team_id = h.team_id
     WHERE t.kind = 'refund' AND t.xid >= since AND t.xid < upto
$$;

-- A team's facts that are not in its days yet. PL/pgSQL, so that its plan knows how few they are.
CREATE OR REPLACE FUNCTION usage_tail(p_team uuid)
RETURNS TABLE (team_id uuid, day date, key_id uuid, price_id bigint, project text, currency text,
               unit text, runs bigint, charged_runs bigint, charged bigint, given_back bigint,
               refunded bigint, quantity numeric)
LANGUAGE plpgsql STABLE AS $$
DECLARE
    since xid8 := coalesce((SELECT max(f.upto) FROM runs_usagefold f), '0');
BEGIN
    RETURN QUERY SELECT f.* FROM usage_facts(since, '18446744073709551615') f
     WHERE f.team_id = p_team;
END $$;

-- Bring the days up to the last settled transaction; gives the number of rows written. One at a
-- time: where another fold is under way there is nothing to do.
CREATE OR REPLACE FUNCTION fold_usage() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    since xid8;
    settled xid8;
    written bigint;
BEGIN
    IF NOT pg_try_advisory_xact_lock('runs_usageday'::regclass::oid::bigint) THEN
        RETURN 0;
    END IF;
    since := coalesce((SELECT max(f.upto) FROM runs_usagefold f), '0');
    settled := pg_snapshot_xmin(pg_current_snapshot());
    IF since > pg_snapshot_xmax(pg_current_snapshot()) THEN
        RETURN rebuild_usage();  -- restored into a server that counts transactions anew
    END IF;
    INSERT INTO runs_usageday AS u
           (team_id, day, key_id, price_id, project, currency, unit, runs, charged_runs, charged,
            given_back, refunded, quantity)
    SELECT f.team_id, f.day, f.key_id, f.price_id, f.project, f.currency, f.unit, sum(f.runs),
           sum(f.charged_runs), sum(f.charged), sum(f.given_back), sum(f.refunded), sum(f.quantity)
      FROM usage_facts(since, settled) f
     GROUP BY 1, 2, 3, 4, 5, 6, 7
     ORDER BY 1, 2, 3, 4, 5, 6, 7  -- neighbours in the index are written together
    ON CONFLICT (team_id, day, key_id, price_id, project, currency, unit) DO UPDATE
       SET runs = u.runs + excluded.runs, charged_runs = u.charged_runs + excluded.charged_runs,
           charged = u.charged + excluded.charged, given_back = u.given_back + excluded.given_back,
           refunded = u.refunded + excluded.refunded, quantity = u.quantity + excluded.quantity;
    GET DIAGNOSTICS written = ROW_COUNT;
    INSERT INTO runs_usagefold AS f (id, upto) VALUES (1, settled)
    ON CONFLICT (id) DO UPDATE SET upto = excluded.upto WHERE f.upto < excluded.upto;
    RETURN written;
END $$;

-- Forget the days and fold everything again; gives the number of rows. Holds that a restored
-- database brought along with ids of the future are stamped anew.
CREATE OR REPLACE FUNCTION rebuild_usage() RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock('runs_usageday'::regclass::oid::bigint);
    UPDATE ledger_hold SET closed_xid = '3'
     WHERE closed_xid > pg_snapshot_xmax(pg_current_snapshot());
    DELETE FROM runs_usageday;
    DELETE FROM runs_usagefold;
    RETURN fold_usage();
END $$;

ALTER TABLE runs_usageday SET (fillfactor = 70);
