"""Demand for a lab's models, month by month, that tells of no single account.

tried: accounts whose runs of a model ended. paid: those of them that were charged. back: those of
them that had tried it in the month before, `before`. Each figure is rounded down to whole tens
(`KEPT`), and not told below the first. Months are whole, over, and do not overlap, so that no two
answers differ by a day or by an account; models are told one by one and never together.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

from django.utils import timezone

from marketplace.catalog.models import Lab
from marketplace.errors import InvalidInput
from marketplace.runs.connections import rows

KEPT = 10  # accounts that no figure tells apart
DEMAND_SQL = """
WITH theirs AS (
    SELECT p.id, m.id AS model_id, l.slug || '/' || m.slug AS model
      FROM metering_price p
      JOIN catalog_release r ON r.id = p.release_id
      JOIN catalog_model m ON m.id = r.model_id
      JOIN catalog_lab l ON l.id = m.lab_id
     WHERE l.id = %(lab)s
), used AS (
    SELECT d.team_id, d.day, d.price_id, d.charged_runs FROM runs_usageday d
     WHERE d.day >= %(before)s AND d.day < %(end)s AND d.runs > 0
     UNION ALL
    SELECT f.team_id, f.day, f.price_id, f.charged_runs
      FROM usage_facts(coalesce((SELECT max(u.upto) FROM runs_usagefold u), '0'),
                       '18446744073709551615') f
     WHERE f.day >= %(before)s AND f.day < %(end)s AND f.runs > 0
), accounts AS (
    SELECT t.model, u.team_id, bool_or(u.day >= %(start)s) AS tried,
           bool_or(u.day >= %(start)s AND u.charged_runs > 0) AS paid,
           bool_or(u.day < %(start)s) AS before
      FROM used u JOIN theirs t ON t.id = u.price_id
     GROUP BY t.model_id, t.model, u.team_id
)
SELECT a.model, count(*) FILTER (WHERE a.tried) AS tried, count(*) FILTER (WHERE a.paid) AS paid,
       count(*) FILTER (WHERE a.before) AS before,
       count(*) FILTER (WHERE a.before AND a.tried) AS back
  FROM accounts a GROUP BY 1 ORDER BY 1
"""


def demand(lab: Lab, month: str, now: datetime | None = None) -> list[dict[str, Any]]:
    """Per model: tried, paid, before, back, conversion, retention; None where it is too few.

    month: `2026-10`. Raises InvalidInput for one that is none or is not over.
    """
    start = first_day(month)
    end = date(start.year + start.month // 12, start.month % 12 + 1, 1)
    if end > (now or timezone.now()).astimezone(UTC).date():
        raise InvalidInput("This month is not over.", param="month")
    before = (start - timedelta(days=1)).replace(day=1)
    asked = {"lab": lab.id, "start": start, "end": end, "before": before}
    return [told(row) for row in rows((DEMAND_SQL, asked))]


def first_day(month: str) -> date:
    """Raises InvalidInput."""
    try:
        return date.fromisoformat(f"{month}-01" if len(month) == len("2026-10") else "")
    except ValueError:
        raise InvalidInput("month must be one such as 2026-10.", param="month") from None


def told(row: Mapping[str, Any]) -> dict[str, Any]:
    """What may be told of a model's figures."""
    figures = {name: rounded(row[name]) for name in ("tried", "paid", "before", "back")}
    return {
        "model": row["model"],
        **figures,
        "conversion": part(figures["paid"], figures["tried"]),
        "retention": part(figures["back"], figures["before"]),
    }


def rounded(accounts: int) -> int | None:
    """Down to whole tens; None below the first."""
    return accounts - accounts % KEPT or None


def part(some: int | None, of: int | None) -> float | None:
    """Of rounded figures, so that it tells no more than they do."""
    return None if some is None or of is None else round(some / of, 2)
