"""How the runs of a lab's releases end, and how long they take: what its own jobs told it already.

Of the last hours; seconds are from a run's first claim to its end.
"""

from datetime import timedelta
from typing import Any

from django.utils import timezone

from marketplace.catalog.models import Lab
from marketplace.runs.connections import rows
from marketplace.runs.statement import first_id

LONGEST = 168  # hours
SLACK = timedelta(days=1)  # a run that ended in these hours may have begun before
HEALTH_SQL = """
SELECT l.slug || '/' || m.slug || '@' || e.version AS release, e.published_at, e.retired_at,
       coalesce(x.runs, 0) AS runs, coalesce(x.outcomes, '{}') AS outcomes, x.p50, x.p95
  FROM catalog_release e
  JOIN catalog_model m ON m.id = e.model_id
  JOIN catalog_lab l ON l.id = m.lab_id
  LEFT JOIN (
       SELECT c.release_id, sum(c.runs)::bigint AS runs,
              jsonb_object_agg(c.outcome, c.runs) AS outcomes, max(c.p50) AS p50, max(c.p95) AS p95
         FROM (SELECT r.release_id, r.outcome, count(*) AS runs,
                      percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM
                          r.finished_at - r.started_at)) FILTER (WHERE r.outcome = 'succeeded')
                          AS p50,
                      percentile_cont(0.95) WITHIN GROUP (ORDER BY extract(epoch FROM
                          r.finished_at - r.started_at)) FILTER (WHERE r.outcome = 'succeeded')
                          AS p95
                 FROM runs_run r
                WHERE r.id >= %(first)s AND r.finished_at >= %(since)s AND r.outcome IS NOT NULL
                  AND r.release_id IN (SELECT e.id FROM catalog_release e
                                         JOIN catalog_model m ON m.id = e.model_id
                                        WHERE m.lab_id = %(lab)s)
                GROUP BY 1, 2) c
        GROUP BY 1) x ON x.release_id = e.id
 WHERE l.id = %(lab)s ORDER BY m.slug, e.version DESC
"""


def health(lab: Lab, hours: int) -> list[dict[str, Any]]:
    """Per release, the newest of each model first: how many runs ended how, and the seconds that
    half and nineteen of twenty of the successful ones took at most."""
    since = timezone.now() - timedelta(hours=hours)
    asked = {"lab": lab.id, "since": since, "first": first_id(since - SLACK, 0)}
    return [told(row) for row in rows((HEALTH_SQL, asked))]


def told(row: dict[str, Any]) -> dict[str, Any]:
    good = sum(row["outcomes"].get(name, 0) for name in ("succeeded", "partial"))
    return {
        **{name: row[name] for name in ("release", "published_at", "retired_at")},
        **{name: row[name] for name in ("runs", "outcomes")},
        "success": round(good / row["runs"], 4) if row["runs"] else None,
        "seconds": {name: seconds(row[name]) for name in ("p50", "p95")},
    }


def seconds(value: float | None) -> float | None:
    return None if value is None else round(float(value), 3)
