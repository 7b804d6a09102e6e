"""One watcher per process: asks for all awaited runs in one query per tick.

Ten thousand waiting clients cost one query each 40 ms, not ten thousand. A settlement's
notification brings the next tick forward, yet ticks never take more than an eleventh of the time.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from marketplace.errors import KinoraError
from marketplace.hot.database import Database
from marketplace.hot.ears import Ears
from marketplace.runs.view import MANY_RUNS_SQL, TERMINAL, read

log = logging.getLogger(__name__)
TICK = 0.04  # seconds
SHORTEST = 0.002  # between two ticks, or ten times what the last one took
KEEP_ALIVE = 10.0
Row = dict[str, Any]
Mark = tuple[Any, ...]

MARKS_SQL = """
SELECT r.id, r.state, r.attempt, r.cancel_requested_at, g.updated_at
  FROM runs_run r LEFT JOIN runs_progress g ON g.run_id = r.id AND g.attempt = r.attempt
 WHERE r.id = ANY(%s)
"""


class Watch:
    """Who waits for which run, and as what each of them saw it last."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.waiting: dict[UUID, dict[asyncio.Queue[Row], Mark | None]] = {}
        self.task: asyncio.Task[None] | None = None
        self.ears = Ears()

    async def changes(self, run_id: UUID) -> AsyncIterator[Row | None]:
        """The run now and at each change until it has ended; None every ten quiet seconds."""
        with self.waiter(run_id) as queue:
            while True:
                row = await heard(queue, KEEP_ALIVE)
                yield row
                if row and row["state"] in TERMINAL:
                    return

    async def finished(self, run_id: UUID, seconds: float) -> Row | None:
        """The run once it has ended, or as it was last seen after `seconds`."""
        last, until = None, time.monotonic() + seconds
        with self.waiter(run_id) as queue:
            while (left := until - time.monotonic()) > 0:
                last = await heard(queue, left) or last
                if last and last["state"] in TERMINAL:
                    break
        return last

    @contextmanager
    def waiter(self, run_id: UUID) -> Iterator[asyncio.Queue[Row]]:
        """A queue that gets the run's row now and at each change."""
        queue: asyncio.Queue[Row] = asyncio.Queue()
        self.waiting.setdefault(run_id, {})[queue] = None
        if self.task is None or self.task.done():
            self.task = asyncio.ensure_future(self.look())
        try:
            yield queue
        finally:
            del self.waiting[run_id][queue]
            if not self.waiting[run_id]:
                del self.waiting[run_id]

    async def look(self) -> None:
        """Tick as long as somebody waits. A database that is away is asked again."""
        self.ears.open()
        while self.waiting:
            start = time.monotonic()
            try:
                await self.tick()
            except KinoraError:
                await asyncio.sleep(0.5)
            except Exception:
                log.exception("The watcher of runs stumbled")
                await asyncio.sleep(0.5)
            pause = min(TICK, max(SHORTEST, 10 * (time.monotonic() - start)))
            await asyncio.sleep(pause)
            await self.ears.rest(max(0.0, TICK - pause))

    async def tick(self) -> None:
        rows = await self.database.rows(MARKS_SQL, [list(self.waiting)])
        marks: dict[UUID, Mark] = {mark[0]: mark for mark in rows}
        changed = [run_id for run_id, mark in marks.items() if self.unseen(run_id, mark)]
        if not changed:
            return
        for (text,) in await self.database.rows(MANY_RUNS_SQL, [changed]):
            row = read(text)
            run_id = UUID(row["id"])
            for queue in self.unseen(run_id, marks[run_id]):
                self.waiting[run_id][queue] = marks[run_id]
                queue.put_nowait(row)

    def unseen(self, run_id: UUID, mark: Mark) -> list[asyncio.Queue[Row]]:
        """Who waits for the run and was not told that it stands so."""
        return [queue for queue, seen in self.waiting.get(run_id, {}).items() if seen != mark]

    async def close(self) -> None:
        if self.task:
            self.task.cancel()
        await self.ears.close()


async def heard(queue: asyncio.Queue[Row], seconds: float) -> Row | None:
    try:
        return await asyncio.wait_for(queue.get(), seconds)
    except TimeoutError:
        return None
