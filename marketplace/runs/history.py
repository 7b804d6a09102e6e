"""What a team's runs were, cost and took: one by one, and summed over spans of time.

For clients that ask for it in other services' words. A run counts at the time it was made, so
that a span is a span of ids and no index beside the team's own is needed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

SPANS = ("minute", "hour", "day", "week", "month")
# The unit that a run was charged by, the first where there are several.
# A model that has become a secret to the team is not named.
NAME = """CASE WHEN a.decision = 'hidden' THEN 'withheld/withheld'
                ELSE l.slug || '/' || m.slug END"""
FOUND = f"""
    FROM runs_run r
    JOIN catalog_release e ON e.id = r.release_id
    JOIN catalog_model m ON m.id = e.model_id
    JOIN catalog_lab l ON l.id = m.lab_id
   CROSS JOIN LATERAL release_access(e.id, r.team_id, r.user_id) AS a
    LEFT JOIN ledger_hold h ON h.run_id = r.id AND h.state = 'captured'
    LEFT JOIN LATERAL (
         SELECT u.unit, u.quantity FROM metering_meterevent u
          WHERE u.run_id = r.id ORDER BY u.unit LIMIT 1) u ON true
   WHERE r.team_id = %s AND r.id >= %s AND r.id < %s AND r.finished_at IS NOT NULL
     AND (%s::text[] IS NULL OR {NAME} = ANY (%s))
     AND (%s::uuid[] IS NULL OR r.id = ANY (%s))
"""  # noqa: S608 - its parts are ours
RUNS_SQL = f"""
SELECT row_to_json(v)::text FROM (
    SELECT r.id, {NAME} AS model, r.state, r.outcome, r.error, r.created_at,
           r.finished_at, extract(epoch FROM r.finished_at - r.started_at)::float8 AS seconds,
           coalesce(h.captured, 0) AS captured, u.unit, trim_scale(u.quantity)::text AS quantity
    {FOUND}
   ORDER BY r.id DESC LIMIT %s) v
"""  # noqa: S608 - its parts are ours
SUMS_SQL = f"""
SELECT row_to_json(v)::text FROM (
    SELECT {NAME} AS model, date_trunc(%s, r.created_at, %s) AS bucket, u.unit,
           CASE WHEN %s THEN coalesce(
                (SELECT k.name FROM accounts_apikey k WHERE k.id = r.key_id), '') END AS key,
           count(*) AS runs, count(*) FILTER (WHERE r.state = 'succeeded') AS succeeded,
           count(*) FILTER (WHERE r.outcome IN ('invalid_input', 'refused_before', 'refused_after',
                                   'cancelled_before', 'cancelled_after')) AS refused,
           count(*) FILTER (WHERE r.outcome IN ('supplier_error', 'our_error')) AS failed,
           sum(coalesce(h.captured, 0))::bigint AS captured,
           trim_scale(sum(u.quantity))::text AS quantity,
           percentile_cont(ARRAY[0.5, 0.75, 0.9]) WITHIN GROUP (
               ORDER BY extract(epoch FROM r.finished_at - r.started_at)) AS durations,
           percentile_cont(ARRAY[0.5, 0.75, 0.9]) WITHIN GROUP (
               ORDER BY extract(epoch FROM r.started_at - r.created_at)) AS waits
    {FOUND}
   GROUP BY 1, 2, 3, 4 ORDER BY 2, 1, 3, 4) v
"""  # noqa: S608 - its parts are ours
Values = tuple[str, list[object]]


@dataclass(frozen=True, slots=True)
class Past:
    """Which runs: of a team, made from `start` until before `end`, of these models or all.

    only: these alone, if any are named.
    """

    team_id: UUID
    start: datetime
    end: datetime
    models: Sequence[str] | None = None
    only: Sequence[UUID] | None = None

    def values(self, before: UUID | None = None) -> list[object]:
        models = None if self.models is None else list(self.models)
        only = None if self.only is None else list(self.only)
        end = first_id(self.end)
        last = end if before is None else min(end, before)
        return [self.team_id, first_id(self.start), last, models, models, only, only]

    def runs(self, *, before: UUID | None, limit: int) -> Values:
        """Newest first. before: the id of the last one that is known."""
        return RUNS_SQL, [*self.values(before), limit]

    def sums(self, span: str, zone: str = "UTC", *, by_key: bool = False) -> Values:
        """By model, unit and span, one of SPANS, as the time zone's clocks have it.

        by_key: and by the name of the key that asked; empty for a person on a page.
        """
        return SUMS_SQL, [span, zone, by_key, *self.values()]


def first_id(at: datetime) -> UUID:
    """No id made from then on is smaller."""
    return UUID(int=int(at.timestamp() * 1000) << 80)
