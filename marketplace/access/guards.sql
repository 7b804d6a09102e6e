-- Spendings follow the holds that name them: whoever reserves, captures, voids or refunds, and by
-- whatever function, the budget sees it in the same commit. A run's own code cannot forget to.
--
-- Locks the spendings by id, after the holds and accounts that the statement's caller has locked.
CREATE OR REPLACE FUNCTION spendings_follow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM written w WHERE w.spendings IS NOT NULL) THEN
        RETURN NULL;
    END IF;
    PERFORM 1 FROM access_spending s
      WHERE s.id IN (SELECT unnest(w.spendings) FROM written w)
      ORDER BY s.id FOR UPDATE;
    WITH change AS (
        SELECT c.spending, sum(c.spent) AS spent, sum(c.held) AS held
          FROM (SELECT unnest(w.spendings) AS spending, w.captured - w.refunded AS spent,
                       CASE WHEN w.state IN ('open', 'in_review') THEN w.amount ELSE 0 END AS held
                  FROM written w
                 UNION ALL
                SELECT unnest(b.spendings), b.refunded - b.captured,
                       CASE WHEN b.state IN ('open', 'in_review') THEN -b.amount ELSE 0 END
                  FROM before b) c
         GROUP BY 1
    ), changed AS (
        UPDATE access_spending s SET spent = s.spent + c.spent, held = s.held + c.held
          FROM change c WHERE s.id = c.spending AND (c.spent <> 0 OR c.held <> 0)
        RETURNING s.id, s.budget_id, s.spent, c.spent > 0 AS more
    )
    INSERT INTO access_budgetalert (spending_id, cause, percent, amount)
    SELECT c.id, 'spent', p.percent, b.amount
      FROM changed c
      JOIN access_budget b ON b.id = c.budget_id AND b.closed_at IS NULL
     CROSS JOIN (VALUES (50), (80), (100)) AS p(percent)
     WHERE c.more AND c.spent::numeric * 100 >= b.amount::numeric * p.percent
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;

CREATE OR REPLACE TRIGGER spendings_follow AFTER UPDATE ON ledger_hold
    REFERENCING OLD TABLE AS before NEW TABLE AS written
    FOR EACH STATEMENT EXECUTE FUNCTION spendings_follow();

-- Another limit arms every line of the present periods anew. What is spent may lie beyond some of
-- them already: under a lower limit the owners are told of these, under a higher one they know.
CREATE OR REPLACE FUNCTION alerts_follow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO access_budgetalert (spending_id, cause, percent, amount, told_at)
    SELECT s.id, 'spent', p.percent, NEW.amount, CASE WHEN NEW.amount > OLD.amount THEN now() END
      FROM access_spending s
     CROSS JOIN (VALUES (50), (80), (100)) AS p(percent)
     WHERE s.budget_id = NEW.id AND s.starts_at <= now() AND (s.ends_at > now()) IS NOT FALSE
       AND NEW.closed_at IS NULL
       AND s.spent > 0 AND s.spent::numeric * 100 >= NEW.amount::numeric * p.percent
     ORDER BY s.id, p.percent
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;

CREATE OR REPLACE TRIGGER alerts_follow AFTER UPDATE OF amount ON access_budget FOR EACH ROW
    WHEN (NEW.amount IS DISTINCT FROM OLD.amount) EXECUTE FUNCTION alerts_follow();

-- Spendings are rewritten with every hold and capture: room for HOT updates on the page.
ALTER TABLE access_spending SET (fillfactor = 50);
