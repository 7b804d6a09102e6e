"""Tell workers of new runs after the commit, and clear the outbox rows that said so.

A lost hint costs a few seconds: the sweeper hints again what the outbox still holds. So clearing
need not be durable.
"""

import asyncio
import logging

from marketplace.errors import KinoraError
from marketplace.hot.database import Database
from marketplace.runs import hint
from marketplace.runs.bell import Ringer

log = logging.getLogger(__name__)
AT_ONCE = 4  # workers that are woken together; each claims on until nothing waits
PAUSE = 0.25  # seconds between messages to a queue that somebody on this machine takes from

CLEAR_SQL = """
WITH quick AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true)), cleared AS (
    DELETE FROM runs_outbox o USING quick WHERE o.id = ANY(%s) RETURNING 1)
SELECT count(*) FROM cleared
"""


class Hints:
    """Rings for whoever is here, and tells the broker: at once, or soon where somebody heard."""

    def __init__(self, database: Database) -> None:
        self.ringer = Ringer()
        self.urgent = Post(database, at_once=AT_ONCE)
        self.calm = Post(database, at_once=1, pause=PAUSE)

    def tell(self, queues: dict[str, int], rows: list[int]) -> None:
        """Say that `queues` got runs; rows: outbox ids to clear once they are published."""
        rung = {queue for queue in queues if self.ringer.ring(queue)}
        here = {queue: runs for queue, runs in queues.items() if queue in rung}
        away = {queue: runs for queue, runs in queues.items() if queue not in rung}
        self.urgent.add(away, rows if away else [])
        self.calm.add(here, [] if away else rows)

    async def close(self) -> None:
        await self.urgent.close()
        await self.calm.close()
        self.ringer.close()


class Post:
    """Gathers queue → runs while a publication is under way, and publishes them next.

    at_once: messages for one queue; pause: seconds between two publications.
    """

    def __init__(self, database: Database, *, at_once: int, pause: float = 0.0) -> None:
        self.database = database
        self.at_once, self.pause = at_once, pause
        self.queues: dict[str, int] = {}
        self.rows: list[int] = []
        self.task: asyncio.Task[None] | None = None

    def add(self, queues: dict[str, int], rows: list[int]) -> None:
        """Publish next that `queues` got runs."""
        for queue, runs in queues.items():
            self.queues[queue] = self.queues.get(queue, 0) + runs
        self.rows.extend(rows)
        if self.queues and (self.task is None or self.task.done()):
            self.task = asyncio.ensure_future(self.work())

    async def work(self) -> None:
        while self.queues:
            queues, rows = self.queues, self.rows
            self.queues, self.rows = {}, []
            try:
                if await asyncio.to_thread(publish, queues, self.at_once) and rows:
                    await self.database.rows(CLEAR_SQL, [rows])
            except KinoraError:
                log.warning("%d outbox rows are left to the sweeper", len(rows))
            await asyncio.sleep(self.pause)

    async def close(self) -> None:
        """Let what is under way end; the sweeper hints again what was not published."""
        if self.task:
            await asyncio.wait([self.task], timeout=2)


def publish(queues: dict[str, int], at_once: int) -> bool:
    """Whether every message went out; the first that does not ends the round."""
    return all(
        hint.publish(queue) for queue, runs in queues.items() for _ in range(min(runs, at_once))
    )
