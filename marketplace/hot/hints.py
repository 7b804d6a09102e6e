"""Tell workers of new runs after the commit, and clear the outbox rows that said so.

A lost hint costs a few seconds: the sweeper hints again what the outbox still holds. So clearing
need not be durable.
"""

import asyncio
import logging

from marketplace.errors import KinoraError
from marketplace.hot.database import Database
from marketplace.runs import hint

log = logging.getLogger(__name__)
AT_ONCE = 4  # messages for one queue; a worker claims on until nothing waits

CLEAR_SQL = """
WITH quick AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true)), cleared AS (
    DELETE FROM runs_outbox o USING quick WHERE o.id = ANY(%s) RETURNING 1)
SELECT count(*) FROM cleared
"""


class Hints:
    """Gathers queue → runs while a publication is under way, and publishes them next."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.queues: dict[str, int] = {}
        self.rows: list[int] = []
        self.task: asyncio.Task[None] | None = None

    def tell(self, queues: dict[str, int], rows: list[int]) -> None:
        """Publish soon that `queues` got runs; rows: outbox ids to clear then."""
        for queue, runs in queues.items():
            self.queues[queue] = self.queues.get(queue, 0) + runs
        self.rows.extend(rows)
        if self.task is None or self.task.done():
            self.task = asyncio.ensure_future(self.work())

    async def work(self) -> None:
        while self.queues:
            queues, rows = self.queues, self.rows
            self.queues, self.rows = {}, []
            try:
                if await asyncio.to_thread(publish, queues):
                    await self.database.rows(CLEAR_SQL, [rows])
            except KinoraError:
                log.warning("%d outbox rows are left to the sweeper", len(rows))

    async def close(self) -> None:
        if self.task:
            await asyncio.wait([self.task], timeout=2)


def publish(queues: dict[str, int]) -> bool:
    """Whether every message went out; the first that does not ends the round."""
    return all(
        hint.publish(queue) for queue, runs in queues.items() for _ in range(min(runs, AT_ONCE))
    )
