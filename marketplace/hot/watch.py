"""One watcher per process: asks for all awaited runs in one query per tick.

Ten thousand waiting clients cost one query each 40 ms, not ten thousand, and ticks never take more
than an eleventh of the time. What a settlement's notification names is read between the ticks.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any
from uuid import UUID

from marketplace.errors import KinoraError
from marketplace.hot.database import Database
from marketplace.hot.ears import Ears
from marketplace.runs.view import MANY_RUNS_SQL, TERMINAL, read

log = logging.getLogger(__name__)
TICK = 0.04  # seconds between two ticks, or ten times what the last one took
LONGEST_TICK = 0.5
BREATH = 0.002  # seconds between two readings of what was heard, or as long as the last one took
KEEP_ALIVE = 10.0
Row = dict[str, Any]
Mark = tuple[Any, ...]
HEARD: Mark = ()  # of a run that was read because it ended

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
        self.tasks: list[asyncio.Task[None]] = []
        self.ears = Ears(self.waiting)

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
        if not self.tasks or self.tasks[0].done():
            self.ears.open()
            self.tasks = [asyncio.ensure_future(it) for it in (self.look(), self.listen())]
        try:
            yield queue
        finally:
            del self.waiting[run_id][queue]
            if not self.waiting[run_id]:
                del self.waiting[run_id]

    async def look(self) -> None:
        """Tick as long as somebody waits; then nobody need listen, either."""
        while self.waiting:
            took = await self.tried(self.tick)
            await asyncio.sleep(min(LONGEST_TICK, max(TICK, 10 * took)))
        for task in self.tasks[1:]:
            task.cancel()

    async def listen(self) -> None:
        """Tell of ends as they are heard of."""
        while True:
            ended = await self.ears.news()
            took = await self.tried(partial(self.tell, ended, {}))
            await asyncio.sleep(max(BREATH, took))

    async def tried(self, ask: Callable[[], Awaitable[None]]) -> float:
        """Ask the database; one that is away is asked again. → seconds that it took."""
        start = time.monotonic()
        try:
            await ask()
        except KinoraError:
            await asyncio.sleep(0.5)
        except Exception:
            log.exception("The watcher of runs stumbled")
            await asyncio.sleep(0.5)
        return time.monotonic() - start

    async def tick(self) -> None:
        """Look at all runs that are waited for, and tell what has changed."""
        rows = await self.database.rows(MARKS_SQL, [list(self.waiting)])
        marks: dict[UUID, Mark] = {mark[0]: mark for mark in rows}
        changed = [run_id for run_id, mark in marks.items() if self.unseen(run_id, mark)]
        if changed:
            await self.tell(changed, marks)

    async def tell(self, run_ids: list[UUID], marks: Mapping[UUID, Mark]) -> None:
        """Read runs and tell whoever has not seen them at this mark."""
        for (text,) in await self.database.rows(MANY_RUNS_SQL, [run_ids]):
            row = read(text)
            run_id = UUID(row["id"])
            mark = marks.get(run_id, HEARD)
            for queue in self.unseen(run_id, mark):
                self.waiting[run_id][queue] = mark
                queue.put_nowait(row)

    def unseen(self, run_id: UUID, mark: Mark) -> list[asyncio.Queue[Row]]:
        """Who waits for the run and was not told that it stands so."""
        return [queue for queue, seen in self.waiting.get(run_id, {}).items() if seen != mark]

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        await self.ears.close()


async def heard(queue: asyncio.Queue[Row], seconds: float) -> Row | None:
    try:
        return await asyncio.wait_for(queue.get(), seconds)
    except TimeoutError:
        return None
