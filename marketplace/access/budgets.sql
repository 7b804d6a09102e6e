-- Budgets: which ones a run counts in, and whether it fits them. Holding the money is the ledger's.

-- The period that an instant lies in, by the clocks of a time zone, as instants.
CREATE OR REPLACE FUNCTION period_bounds(p_period text, p_zone text, p_at timestamptz)
RETURNS TABLE (starts_at timestamptz, ends_at timestamptz) LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN p_period = 'total' THEN 'epoch' ELSE date_trunc(p_period, p_at, p_zone) END,
           CASE WHEN p_period <> 'total'
                THEN (date_trunc(p_period, p_at AT TIME ZONE p_zone)
                      + ('1 ' || p_period)::interval) AT TIME ZONE p_zone END;
$$;

-- The open budgets over each run, and the subject in whose name it counts there.
--
-- items: those of `admit_runs`. A member's runs are those started on a page and those of the keys
-- that the member made.
CREATE OR REPLACE FUNCTION budgets_over(items jsonb)
RETURNS TABLE (run_id uuid, model text, amount bigint, budget_id uuid, subject text,
               counts boolean, waits boolean)
LANGUAGE sql STABLE AS $$
    SELECT w.run_id, w.model, w.amount, b.id, v.subject, b.currency = w.currency, w.waits
      FROM jsonb_to_recordset(items) AS
           w(run_id uuid, team_id uuid, key_id uuid, user_id bigint, project text, end_user text,
             model text, currency text, amount bigint, waits boolean)
      LEFT JOIN accounts_apikey k ON k.id = w.key_id
     CROSS JOIN LATERAL (VALUES
           ('team', ''), ('member', coalesce(w.user_id, k.created_by_id)::text),
           ('key', w.key_id::text), ('project', nullif(w.project, '')),
           ('end_user', nullif(w.end_user, ''))) AS v(kind, subject)
      JOIN access_budget b ON b.team_id = w.team_id AND b.closed_at IS NULL
           AND b.kind = v.kind AND b.subject IN (v.subject, '*') AND v.subject IS NOT NULL
     WHERE b.subject <> '*' OR NOT EXISTS (
           SELECT 1 FROM access_budget named
            WHERE named.team_id = b.team_id AND named.closed_at IS NULL AND named.kind = b.kind
              AND named.subject = v.subject AND named.period = b.period
              AND named.currency = b.currency);
$$;

-- The same with the spendings of the present periods and the lanes, made where there are none; the
-- spendings are locked, by id. Gives [{run_id, model, amount, budget_id, subject, spending, lane}];
-- spending: null where the run costs another currency; lane: null without a concurrency.
--
-- A row that covers this instant stays in use until it ends, also if the team's time zone changes
-- meanwhile; what begins then begins where the last one ended. So nothing counts in none or two.
CREATE OR REPLACE FUNCTION enter_budgets(items jsonb)
RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    entered jsonb;
    answer jsonb;
BEGIN
    SELECT coalesce(jsonb_agg(to_jsonb(o)), '[]') INTO entered FROM budgets_over(items) AS o;
    IF EXISTS (
        SELECT 1 FROM jsonb_to_recordset(entered) AS o(budget_id uuid, subject text)
         WHERE NOT EXISTS (SELECT 1 FROM access_spending s
                            WHERE s.budget_id = o.budget_id AND s.subject = o.subject
                              AND s.starts_at <= now() AND (s.ends_at > now()) IS NOT FALSE))
    THEN
        PERFORM 1 FROM accounts_team t  -- its time zone stays as it is until this commits
          WHERE t.id IN (SELECT i.team_id FROM jsonb_to_recordset(items) AS i(team_id uuid))
          ORDER BY t.id FOR SHARE;
        INSERT INTO access_spending (budget_id, subject, starts_at, ends_at)
        SELECT o.budget_id, o.subject,
               greatest(p.starts_at, (SELECT max(s.ends_at) FROM access_spending s
                                       WHERE s.budget_id = o.budget_id AND s.subject = o.subject)),
               p.ends_at
          FROM (SELECT DISTINCT o.budget_id, o.subject
                  FROM jsonb_to_recordset(entered) AS o(budget_id uuid, subject text)) o
          JOIN access_budget b ON b.id = o.budget_id
          JOIN accounts_team t ON t.id = b.team_id,
               period_bounds(b.period, t.time_zone, now()) AS p
         WHERE NOT EXISTS (SELECT 1 FROM access_spending s
                            WHERE s.budget_id = o.budget_id AND s.subject = o.subject
                              AND s.starts_at <= now() AND (s.ends_at > now()) IS NOT FALSE)
         ORDER BY o.budget_id, o.subject
        ON CONFLICT DO NOTHING;
    END IF;
    INSERT INTO access_lane (budget_id, subject)
    SELECT DISTINCT o.budget_id, o.subject
      FROM jsonb_to_recordset(entered) AS o(budget_id uuid, subject text)
      JOIN access_budget b ON b.id = o.budget_id AND b.concurrency IS NOT NULL
     WHERE NOT EXISTS (SELECT 1 FROM access_lane l
                        WHERE l.budget_id = o.budget_id AND l.subject = o.subject)
     ORDER BY 1, 2
    ON CONFLICT DO NOTHING;

    SELECT jsonb_agg(jsonb_build_object(
               'run_id', o.run_id, 'model', o.model, 'amount', o.amount, 'waits', o.waits,
               'budget_id', o.budget_id, 'subject', o.subject,
               'spending', CASE WHEN o.counts THEN s.id END, 'lane', l.id))
      INTO answer
      FROM jsonb_to_recordset(entered) AS
           o(run_id uuid, model text, amount bigint, waits boolean, budget_id uuid, subject text,
             counts boolean)
      JOIN access_budget b ON b.id = o.budget_id
      JOIN access_spending s ON s.budget_id = o.budget_id AND s.subject = o.subject
           AND s.starts_at <= now() AND (s.ends_at > now()) IS NOT FALSE
      LEFT JOIN access_lane l ON l.budget_id = o.budget_id AND l.subject = o.subject
           AND b.concurrency IS NOT NULL;
    PERFORM 1 FROM access_spending s
      WHERE s.id IN (SELECT o.spending FROM jsonb_to_recordset(answer) AS o(spending bigint))
      ORDER BY s.id FOR UPDATE;
    RETURN coalesce(answer, '[]');
END $$;

-- What keeps runs out, each run taken by itself: `model_not_allowed`, `run_above_limit` or
-- `budget_exceeded`, with the facts that its caller is told. The first of a run is its answer.
--
-- entered: of `enter_budgets`.
CREATE OR REPLACE FUNCTION budget_refusals(entered jsonb)
RETURNS TABLE (run_id uuid, code text, spending bigint, budget jsonb) LANGUAGE sql STABLE AS $$
    SELECT DISTINCT ON (f.run_id) f.run_id, f.code, f.spending, f.budget
      FROM (SELECT o.run_id, o.spending,
                   CASE WHEN b.allowed <> '[]' AND NOT (b.allowed ? o.model
                             OR b.allowed ? split_part(o.model, '/', 1)) THEN 'model_not_allowed'
                        WHEN o.spending IS NULL THEN NULL
                        WHEN o.amount > b.max_per_run THEN 'run_above_limit'
                        WHEN b.hard AND s.spent::numeric + s.held + o.amount > b.amount
                             THEN 'budget_exceeded' END AS code,
                   jsonb_build_object(
                       'id', b.id, 'kind', b.kind, 'subject', o.subject, 'period', b.period,
                       'currency', b.currency, 'limit', b.amount, 'spent', s.spent,
                       'held', s.held, 'max_per_run', b.max_per_run, 'models', b.allowed) AS budget
              FROM jsonb_to_recordset(entered) AS
                   o(run_id uuid, model text, amount bigint, budget_id uuid, subject text,
                     spending bigint)
              JOIN access_budget b ON b.id = o.budget_id
              LEFT JOIN access_spending s ON s.id = o.spending) f
     WHERE f.code IS NOT NULL
     ORDER BY f.run_id, array_position(
           ARRAY['model_not_allowed', 'run_above_limit', 'budget_exceeded'], f.code), f.budget ->> 'id';
$$;

-- Whether all of the runs fit into their budgets together, whichever of them the ledger takes.
CREATE OR REPLACE FUNCTION budgets_fit(entered jsonb) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT NOT EXISTS (SELECT 1 FROM budget_refusals(entered)) AND NOT EXISTS (
        SELECT 1
          FROM (SELECT o.spending, sum(o.amount) AS amount
                  FROM jsonb_to_recordset(entered) AS o(spending bigint, amount bigint)
                 GROUP BY 1) n
          JOIN access_spending s ON s.id = n.spending
          JOIN access_budget b ON b.id = s.budget_id
         WHERE b.hard AND s.spent + s.held + n.amount > b.amount);
$$;

-- Count holds in their budgets; the trigger on holds does the sums.
CREATE OR REPLACE FUNCTION count_in_budgets(entered jsonb, runs uuid[])
RETURNS void LANGUAGE sql AS $$
    UPDATE ledger_hold h SET spendings = c.spendings
      FROM (SELECT o.run_id, array_agg(o.spending ORDER BY o.spending) AS spendings
              FROM jsonb_to_recordset(entered) AS o(run_id uuid, spending bigint)
             WHERE o.spending IS NOT NULL GROUP BY 1) c
     WHERE h.run_id = c.run_id AND h.run_id = ANY (runs);
$$;

-- Note that a budget kept a run out, for its owners to be told, once in its period and limit.
CREATE OR REPLACE FUNCTION note_refusal(p_spending bigint) RETURNS void LANGUAGE sql AS $$
    INSERT INTO access_budgetalert (spending_id, cause, percent, amount)
    SELECT s.id, 'refused', 100, b.amount
      FROM access_spending s JOIN access_budget b ON b.id = s.budget_id WHERE s.id = p_spending
    ON CONFLICT DO NOTHING;
$$;

-- Of the open budgets that a hold counts in, the one with the least room for more of it; no row
-- where none of them bounds it. p_amount: what is held already.
CREATE OR REPLACE FUNCTION tightest_budget(p_spendings bigint[], p_amount bigint)
RETURNS TABLE (room bigint, code text, spending bigint, budget jsonb) LANGUAGE sql STABLE AS $$
    SELECT v.room, v.code, s.id, jsonb_build_object(
               'id', b.id, 'kind', b.kind, 'subject', s.subject, 'period', b.period,
               'currency', b.currency, 'limit', b.amount, 'spent', s.spent, 'held', s.held,
               'max_per_run', b.max_per_run, 'models', b.allowed)
      FROM access_spending s
      JOIN access_budget b ON b.id = s.budget_id AND b.closed_at IS NULL
     CROSS JOIN LATERAL (VALUES
           (b.max_per_run - p_amount, 'run_above_limit'),
           (CASE WHEN b.hard THEN b.amount - s.spent - s.held END, 'budget_exceeded'))
           AS v(room, code)
     WHERE s.id = ANY (p_spendings) AND v.room IS NOT NULL
     ORDER BY v.room, v.code LIMIT 1;
$$;
