"""One watcher per process: asks for all awaited runs in one query per tick.

Ten thousand waiting clients cost one query each 40 ms, not ten thousand.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

from marketplace.errors import KinoraError
from marketplace.hot.database import Database
from marketplace.runs.view import MANY_RUNS_SQL, TERMINAL, read

log = logging.getLogger(__name__)
TICK = 0.04  # seconds
KEEP_ALIVE = 10.0
Row = dict[str, Any]
Mark = tuple[Any, ...]

MARKS_SQL = """
SELECT r.id, r.state, r.attempt, r.cancel_requested_at, g.updated_at
  FROM runs_run r LEFT JOIN runs_progress g ON g.run_id = r.id AND g.attempt = r.attempt
 WHERE r.id = ANY(%s)
"""


class Watch:
    """Who waits for which run, and how each run was seen last."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.waiting: dict[UUID, set[asyncio.Queue[Row]]] = {}
        self.seen: dict[UUID, Mark] = {}
        self.task: asyncio.Task[None] | None = None

    async def changes(self, run_id: UUID) -> AsyncIterator[Row | None]:
        """The run now and at each change until it has ended; None every ten quiet seconds."""
        queue: asyncio.Queue[Row] = asyncio.Queue()
        self.enter(run_id, queue)
        try:
            while True:
                row = await heard(queue, KEEP_ALIVE)
                yield row
                if row and row["state"] in TERMINAL:
                    return
        finally:
            self.leave(run_id, queue)

    async def finished(self, run_id: UUID, seconds: float) -> Row | None:
        """The run once it has ended, or as it was last seen after `seconds`."""
        queue: asyncio.Queue[Row] = asyncio.Queue()
        self.enter(run_id, queue)
        last, until = None, time.monotonic() + seconds
        try:
            while (left := until - time.monotonic()) > 0:
                last = await heard(queue, left) or last
                if last and last["state"] in TERMINAL:
                    break
            return last
        finally:
            self.leave(run_id, queue)

    def enter(self, run_id: UUID, queue: asyncio.Queue[Row]) -> None:
        self.waiting.setdefault(run_id, set()).add(queue)
        self.seen.pop(run_id, None)  # so that the newcomer is told how it stands
        if self.task is None or self.task.done():
            self.task = asyncio.ensure_future(self.look())

    def leave(self, run_id: UUID, queue: asyncio.Queue[Row]) -> None:
        queues = self.waiting.get(run_id, set())
        queues.discard(queue)
        if not queues:
            self.waiting.pop(run_id, None)
            self.seen.pop(run_id, None)

    async def look(self) -> None:
        """Tick as long as somebody waits. A database that is away is asked again."""
        while self.waiting:
            try:
                await self.tick()
            except KinoraError:
                await asyncio.sleep(0.5)
            except Exception:
                log.exception("The watcher of runs stumbled")
                await asyncio.sleep(0.5)
            await asyncio.sleep(TICK)

    async def tick(self) -> None:
        marks = await self.database.rows(MARKS_SQL, [list(self.waiting)])
        changed = [mark[0] for mark in marks if self.seen.get(mark[0]) != mark]
        if not changed:
            return
        self.seen.update({mark[0]: mark for mark in marks if mark[0] in self.waiting})
        for (text,) in await self.database.rows(MANY_RUNS_SQL, [changed]):
            row = read(text)
            for queue in self.waiting.get(UUID(row["id"]), ()):
                queue.put_nowait(row)

    async def close(self) -> None:
        if self.task:
            self.task.cancel()


async def heard(queue: asyncio.Queue[Row], seconds: float) -> Row | None:
    try:
        return await asyncio.wait_for(queue.get(), seconds)
    except TimeoutError:
        return None
