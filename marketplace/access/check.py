"""What must hold of budgets, asked by the audit beside the ledger's own invariants."""

INVARIANTS = {
    "a budget's spent is what its holds captured and did not refund": """
        WITH counted AS (
            SELECT c.spending, sum(h.captured - h.refunded) AS captured
              FROM ledger_hold h, unnest(h.spendings) AS c(spending) GROUP BY 1)
        SELECT s.id::text FROM access_spending s LEFT JOIN counted c ON c.spending = s.id
         WHERE s.spent <> coalesce(c.captured, 0)""",
    "a budget's held is the sum of its open holds": """
        WITH counted AS (
            SELECT c.spending, sum(h.amount) AS held
              FROM ledger_hold h, unnest(h.spendings) AS c(spending)
             WHERE h.state IN ('open', 'in_review') GROUP BY 1)
        SELECT s.id::text FROM access_spending s LEFT JOIN counted c ON c.spending = s.id
         WHERE s.held <> coalesce(c.held, 0)""",
    "a hold counts once in each of its budgets, all of its own team": """
        SELECT h.run_id::text FROM ledger_hold h
         WHERE h.spendings IS NOT NULL
           AND cardinality(h.spendings) <> (
               SELECT count(DISTINCT s.id) FROM access_spending s
                 JOIN access_budget b ON b.id = s.budget_id AND b.team_id = h.team_id
                WHERE s.id = ANY (h.spendings))""",
}
