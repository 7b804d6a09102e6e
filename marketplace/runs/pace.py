"""How fast and how surely each model's runs end, from days that are folded as they end.

A success rate counts what a model or its machines answer for: a run that was cancelled, refused
for what it asked, or wrong in its inputs says nothing of it. Knows nothing of money.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta

from django.utils import timezone

from marketplace.runs.connections import Row, rows

DAYS = 7
PACE_SQL = """
    SELECT l.slug || '/' || m.slug AS model, p.outcome, p.bucket, sum(p.runs)::bigint AS runs
      FROM pace_since(%s) p
      JOIN catalog_release r ON r.id = p.release_id
      JOIN catalog_model m ON m.id = r.model_id
      JOIN catalog_lab l ON l.id = m.lab_id
     GROUP BY 1, 2, 3"""
# The same of all time, exact to the last commit, without how long they ran.
COUNTS_SQL = """
    SELECT l.slug || '/' || m.slug AS model, sum(p.runs)::bigint AS runs
      FROM pace_since('-infinity') p
      JOIN catalog_release r ON r.id = p.release_id
      JOIN catalog_model m ON m.id = r.model_id
      JOIN catalog_lab l ON l.id = m.lab_id
     GROUP BY 1"""
FOLD_SQL = "SELECT fold_pace() AS written"
TO_DOUBLE = 10  # buckets, as in pace.sql
WELL = "succeeded"
OURS = frozenset({WELL, "partial", "supplier_error", "our_error"})


@dataclass(frozen=True, slots=True)
class Pace:
    """Of one model's runs. median: seconds of a success; success: a share; None without runs."""

    runs: int = 0
    median: float | None = None
    success: float | None = None


def fold() -> int:
    """Bring the days up to date; gives how many rows were written. Repeats safely."""
    return int(rows((FOLD_SQL, []))[0]["written"])


def paces(days: int = DAYS) -> dict[str, Pace]:
    """Model → its pace over these days (UTC), today one of them."""
    first: date = timezone.now().date() - timedelta(days=days - 1)
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows((PACE_SQL, [first])):
        found[row["model"]].append(row)
    return {model: pace(several) for model, several in found.items()}


def pace(several: Iterable[Row]) -> Pace:
    """Of rows of one model: outcome, bucket, runs."""
    known = list(several)
    well = {row["bucket"]: row["runs"] for row in known if row["outcome"] == WELL}
    answered = sum(row["runs"] for row in known if row["outcome"] in OURS)
    return Pace(
        runs=sum(row["runs"] for row in known),
        median=median(well),
        success=sum(well.values()) / answered if answered else None,
    )


def median(buckets: dict[int, int]) -> float | None:
    """Seconds in the middle, from how many fell into each bucket."""
    half, seen = sum(buckets.values()) / 2, 0
    for bucket in sorted(buckets):
        seen += buckets[bucket]
        if seen >= half:
            return float(2 ** ((bucket + 0.5) / TO_DOUBLE))
    return None
