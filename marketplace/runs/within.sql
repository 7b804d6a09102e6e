-- Hold money for many runs within their budgets: a run that either refuses touches neither.
--
-- items: those of `admit_runs`; waits: whether a caller waits for the run's end. Gives per run what
-- `hold_money` gives, or a code of `budget_refusals` or `lane_full` with the budget's facts, and the
-- lanes that a held run waits in.
--
-- Teams without open budgets go the way of `hold_money` unchanged. So do all others as long as the
-- whole call fits its budgets; else their runs are decided one by one, in their order.
-- Locks accounts, then spendings, each by id. Budgets are read once the accounts are locked: who
-- sets a concurrency waits for that lock, then finds the runs that were admitted without it.
CREATE OR REPLACE FUNCTION hold_within_budgets(items jsonb)
RETURNS TABLE (run_id uuid, code text, available bigint, budget jsonb, lanes bigint[])
LANGUAGE plpgsql AS $$
DECLARE
    accounts bigint[];
    limited uuid[];
    bounded jsonb;
    entered jsonb;
    answers jsonb;
BEGIN
    accounts := lock_accounts(ARRAY(
        SELECT i.team_id FROM jsonb_to_recordset(items) AS i(team_id uuid)));
    SELECT array_agg(DISTINCT b.team_id) INTO limited FROM access_budget b
     WHERE b.closed_at IS NULL
       AND b.team_id IN (SELECT i.team_id FROM jsonb_to_recordset(items) AS i(team_id uuid));
    IF limited IS NULL THEN
        RETURN QUERY SELECT h.run_id, h.code, h.available, NULL::jsonb, NULL::bigint[]
                       FROM hold_from(items, accounts) AS h;
        RETURN;
    END IF;

    SELECT jsonb_agg(i ORDER BY n) INTO bounded
      FROM jsonb_array_elements(items) WITH ORDINALITY AS e(i, n)
     WHERE (i ->> 'team_id')::uuid = ANY (limited);
    entered := enter_budgets(bounded);

    IF budgets_fit(entered) AND NOT EXISTS (SELECT 1 FROM full_lanes(entered)) THEN
        SELECT jsonb_agg(to_jsonb(h)) INTO answers FROM hold_from(items, accounts) AS h;
        PERFORM count_in_budgets(entered, ARRAY(
            SELECT (h ->> 'run_id')::uuid FROM jsonb_array_elements(answers) AS h
             WHERE h ->> 'code' = 'ok'));
    ELSE
        SELECT jsonb_agg(to_jsonb(h)) INTO answers FROM (
            SELECT f.run_id, f.code, f.available, NULL::jsonb AS budget FROM hold_from((
                SELECT coalesce(jsonb_agg(i ORDER BY n), '[]')
                  FROM jsonb_array_elements(items) WITH ORDINALITY AS e(i, n)
                 WHERE (i ->> 'team_id')::uuid <> ALL (limited)), accounts) AS f
             UNION ALL
            SELECT * FROM hold_one_by_one(bounded, entered, accounts)) AS h;
    END IF;

    RETURN QUERY
    SELECT h.run_id, h.code, h.available, h.budget,
           (SELECT array_agg(DISTINCT o.lane ORDER BY o.lane)
              FROM jsonb_to_recordset(entered) AS o(run_id uuid, lane bigint)
             WHERE o.run_id = h.run_id AND o.lane IS NOT NULL AND h.code = 'ok')
      FROM jsonb_to_recordset(answers) AS
           h(run_id uuid, code text, available bigint, budget jsonb);
END $$;

-- Each run by itself, in the order of the items, after those before it were held.
CREATE OR REPLACE FUNCTION hold_one_by_one(items jsonb, entered jsonb, accounts bigint[])
RETURNS TABLE (run_id uuid, code text, available bigint, budget jsonb) LANGUAGE plpgsql AS $$
DECLARE
    item jsonb;
    own jsonb;
    crossed bigint;
BEGIN
    FOR item IN SELECT i FROM jsonb_array_elements(items) WITH ORDINALITY AS e(i, n) ORDER BY n LOOP
        run_id := (item ->> 'run_id')::uuid;
        available := NULL;
        SELECT coalesce(jsonb_agg(o), '[]') INTO own FROM jsonb_array_elements(entered) AS o
         WHERE (o ->> 'run_id')::uuid = hold_one_by_one.run_id;
        SELECT r.code, r.budget, r.spending INTO code, budget, crossed FROM (
            SELECT b.code, b.budget, b.spending FROM budget_refusals(own) AS b
             UNION ALL
            SELECT 'lane_full', l.budget, NULL FROM full_lanes(own) AS l) AS r
         LIMIT 1;
        IF code IS NULL THEN
            SELECT h.code, h.available INTO code, available
              FROM hold_from(jsonb_build_array(item), accounts) AS h;
            IF code = 'ok' THEN
                PERFORM count_in_budgets(own, ARRAY[hold_one_by_one.run_id]);
            END IF;
        ELSIF code = 'budget_exceeded' THEN
            PERFORM note_refusal(crossed);
        END IF;
        RETURN NEXT;
    END LOOP;
END $$;
