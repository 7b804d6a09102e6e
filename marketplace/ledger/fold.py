"""System accounts' balances, brought up to date apart from runs. The function is `fold.sql`."""

from dataclasses import dataclass
from datetime import datetime

from django.db import connection, transaction

LAG_SQL = """
    WITH last AS (SELECT horizon, folded_at FROM ledger_fold ORDER BY id DESC LIMIT 1),
    waiting AS (
        SELECT e.transfer_id FROM ledger_entry e
         WHERE e.balance_after IS NULL AND e.xid >= coalesce((SELECT horizon FROM last), '0'))
    SELECT (SELECT count(*) FROM waiting),
           (SELECT extract(epoch FROM now() - min(t.event_at))::float FROM waiting w
              JOIN ledger_transfer t ON t.id = w.transfer_id),
           (SELECT folded_at FROM last),
           (SELECT coalesce(sum(entries), 0) FROM ledger_fold
             WHERE folded_at > now() - interval '1 h')"""


@dataclass(frozen=True, slots=True)
class Lag:
    """waiting: entries not folded yet; seconds: the age of the oldest; hour: entries folded."""

    waiting: int
    seconds: float
    folded_at: datetime | None
    hour: int


def fold() -> int:
    """Add new entries to their system accounts' balances, in a commit of its own; gives how many.

    Entries of transactions under way, and of those that began after the oldest of them, wait for
    the next fold. Repeats safely, also at once.
    """
    return called("SELECT fold_entries()")


def fold_restored() -> int:
    """Count all there is as folded, after a dump was restored; gives the number of entries."""
    return called("SELECT fold_restored()")


@transaction.atomic
def called(sql: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return int(cursor.fetchone()[0])


def lag() -> Lag:
    """How far the system accounts' balances are behind their entries."""
    with connection.cursor() as cursor:
        cursor.execute(LAG_SQL)
        waiting, seconds, folded_at, hour = cursor.fetchone()
    return Lag(waiting, seconds or 0.0, folded_at, int(hour))
