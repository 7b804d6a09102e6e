"""Admit runs many at a time: one call and one commit for up to fifty requests.

An idle process calls at once, so a lone request waits for nothing. While a call is under way the
next requests gather; a hot team's account row is then locked once for all of them.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
import psycopg

from marketplace.errors import Busy
from marketplace.hot.database import Database
from marketplace.runs.submit import ADMIT_SQL

log = logging.getLogger(__name__)
MOST = 50  # items of a call
GATHER = 0.002  # seconds
CALLS = 2  # under way at once
LONGEST_LINE = 2000  # items waiting; beyond it a caller is told to come back


@dataclass(frozen=True, slots=True)
class Answer:
    """What `admit_runs` says of one item.

    available: nano-units, of a refusal; admitted_at: as a run's JSON shows it; budget: JSON of the
    one that refused it.
    """

    code: str
    run_id: UUID | None
    available: int | None
    admitted_at: str
    budget: str | None


@dataclass(frozen=True, slots=True)
class Waiting:
    item: dict[str, Any]
    answer: asyncio.Future[Answer]


Told = Callable[[dict[str, int], list[int]], None]


class Batch:
    """Gathers items and calls. told: is given queue → runs and outbox ids after each commit."""

    def __init__(self, database: Database, told: Told) -> None:
        self.database = database
        self.told = told
        self.line: list[Waiting] = []
        self.calls: set[asyncio.Task[None]] = set()
        self.timer: asyncio.TimerHandle | asyncio.Handle | None = None

    def admit(self, item: dict[str, Any]) -> asyncio.Future[Answer]:
        """The answer to one item of `admit_runs`. Raises Busy where the line is too long."""
        if len(self.line) >= LONGEST_LINE:
            raise Busy("Too many runs are being started. Try again.", retry_after=1)
        loop = asyncio.get_running_loop()
        waiting = Waiting(item, loop.create_future())
        self.line.append(waiting)
        self.arrange(loop)
        return waiting.answer

    def arrange(self, loop: asyncio.AbstractEventLoop) -> None:
        """See to it that the line is called for: at once, soon, or when a call returns."""
        if len(self.calls) >= CALLS:
            return
        if len(self.line) >= MOST:
            self.call()
        elif self.timer is None and self.line:
            self.timer = (
                loop.call_later(GATHER, self.call) if self.calls else loop.call_soon(self.call)
            )

    def call(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        if not self.line or len(self.calls) >= CALLS:
            return
        several, self.line = self.line[:MOST], self.line[MOST:]
        task = asyncio.ensure_future(self.answered(several))
        self.calls.add(task)
        task.add_done_callback(self.returned)

    def returned(self, task: asyncio.Task[None]) -> None:
        self.calls.discard(task)
        if not task.cancelled() and (fault := task.exception()):
            log.error("A batch of admissions failed", exc_info=fault)
        self.arrange(task.get_loop())

    async def answered(self, several: list[Waiting]) -> None:
        """Call, and give everybody an answer or an error; a faulty item fails alone."""
        try:
            await self.ask(several)
        except psycopg.Error as fault:
            if len(several) > 1:
                await one_by_one(self.answered([alone]) for alone in several)
            else:
                fail(several, fault)
        except Exception as fault:
            fail(several, fault)

    async def ask(self, several: list[Waiting]) -> None:
        items = orjson.dumps([waiting.item for waiting in several]).decode()
        queues: dict[str, int] = {}
        rows = await self.database.rows(ADMIT_SQL, [items])
        for waiting, (_, code, run_id, available, _, at, budget) in zip(several, rows, strict=True):
            if code == "ok":
                queue = waiting.item["queue"]
                queues[queue] = queues.get(queue, 0) + 1
            if not waiting.answer.done():
                waiting.answer.set_result(Answer(code, run_id, available, at, budget))
        if queues:
            self.told(queues, rows[0][4])


async def one_by_one(calls: Iterable[Coroutine[Any, Any, None]]) -> None:
    for call in calls:
        await call


def fail(several: list[Waiting], fault: Exception) -> None:
    for waiting in several:
        if not waiting.answer.done():
            waiting.answer.set_exception(fault)
