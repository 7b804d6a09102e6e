"""A fold's horizon past all that is committed, as a fold needs to reach the last commit.

The database vacuums and analyzes when it likes, and other tests write on the same server: while a
transaction of theirs is under way that began before, it holds every fold's horizon back.
"""

from marketplace.runs.connections import rows
from tests.marketplace.supply import until

LATEST_SQL = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text AS xid"
PASSED_SQL = "SELECT pg_snapshot_xmin(pg_current_snapshot()) >= %s::xid8 AS passed"


def quiet() -> None:
    """Wait until all transactions that began before have ended; the test itself must have none."""
    latest = rows((LATEST_SQL, []))[0]["xid"]
    until(lambda: rows((PASSED_SQL, [latest]))[0]["passed"], seconds=60)
