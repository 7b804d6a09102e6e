"""What a team used and paid, by day and model."""

from datetime import date
from typing import Any
from uuid import UUID

from django.db import connection

from marketplace.money import Money

USAGE_SQL = """
WITH paid AS (
    SELECT (h.closed_at AT TIME ZONE 'UTC')::date AS day, p.release_id, h.currency,
           count(*) AS runs, sum(h.captured)::bigint AS captured
      FROM ledger_hold h JOIN metering_price p ON p.id = h.price_id
     WHERE h.team_id = %(team)s AND h.state = 'captured'
       AND h.closed_at >= %(first)s AND h.closed_at < %(last)s::date + 1
     GROUP BY 1, 2, 3
), counted AS (
    SELECT (e.timestamp AT TIME ZONE 'UTC')::date AS day, e.release_id, e.unit,
           sum(e.quantity) AS quantity
      FROM metering_meterevent e
     WHERE e.team_id = %(team)s
       AND e.timestamp >= %(first)s AND e.timestamp < %(last)s::date + 1
     GROUP BY 1, 2, 3
)
SELECT paid.day, l.slug || '/' || m.slug, r.version, paid.runs, paid.captured, paid.currency,
       coalesce(array_agg(c.unit ORDER BY c.unit) FILTER (WHERE c.unit IS NOT NULL), '{}'),
       coalesce(array_agg(trim_scale(c.quantity)::text ORDER BY c.unit)
                FILTER (WHERE c.unit IS NOT NULL), '{}')
  FROM paid
  JOIN catalog_release r ON r.id = paid.release_id
  JOIN catalog_model m ON m.id = r.model_id
  JOIN catalog_lab l ON l.id = m.lab_id
  LEFT JOIN counted c ON c.day = paid.day AND c.release_id = paid.release_id
 GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1 DESC, 2, 3 DESC
"""


def usage(team_id: UUID, first: date, last: date) -> list[dict[str, Any]]:
    """Per day (UTC) and release: runs that were charged, units, money. One query."""
    with connection.cursor() as cursor:
        cursor.execute(USAGE_SQL, {"team": team_id, "first": first, "last": last})
        return [line(*row) for row in cursor.fetchall()]


def line(
    day: date,
    model: str,
    release: str,
    runs: int,
    captured: int,
    currency: str,
    units: list[str],
    quantities: list[str],
) -> dict[str, Any]:
    pairs = zip(units, quantities, strict=True)
    return {
        "day": day,
        "model": model,
        "release": release,
        "runs": runs,
        "captured": Money(captured, currency).as_json(),
        "units": [{"unit": unit, "quantity": quantity} for unit, quantity in pairs],
    }
