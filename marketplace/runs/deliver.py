"""Tell the world that runs have finished: drains the outbox that settlement wrote.

At least once, in the order of the commits. Clients that wait are served by the hot path's watcher,
which reads the runs themselves; whatever else wants to know is told from here.
"""

import logging

from marketplace.runs.connections import rows

log = logging.getLogger(__name__)

DRAIN_SQL = """
    DELETE FROM runs_outbox WHERE id IN (
        SELECT id FROM runs_outbox WHERE topic = 'run.finished'
         ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED)
    RETURNING key"""
AT_ONCE = 5000


def deliver() -> int:
    """Drain what has finished; gives how many runs that were."""
    total = 0
    while drained := rows((DRAIN_SQL, [AT_ONCE])):
        total += len(drained)
        if len(drained) < AT_ONCE:
            break
    return total
