"""A server on which nothing else is written, as a fold needs to reach the last commit.

The database vacuums and analyzes when it likes, and whatever a test before has set going may end
late: their transactions hold every fold's horizon back, as they should.
"""

from marketplace.runs.connections import rows
from tests.marketplace.supply import until

QUIET_SQL = "SELECT pg_snapshot_xmin(s) = pg_snapshot_xmax(s) AS quiet FROM pg_current_snapshot() s"


def quiet() -> None:
    """Wait until no transaction is under way; of no use while the test itself has one."""
    until(lambda: rows((QUIET_SQL, []))[0]["quiet"], seconds=60)
