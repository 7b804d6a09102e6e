"""Settle many runs with few commits: what gathers while one call is under way goes with the next.

A lone settlement waits for nothing. The call repeats safely, so it is made until it is answered.
"""

import asyncio
import logging
from typing import Any

import psycopg
from psycopg_pool import PoolTimeout

from marketplace.runs.connections import Connections
from marketplace.runs.settle import settling

log = logging.getLogger(__name__)

MOST = 50
AWAY_SECONDS = 0.5
Item = dict[str, Any]


class Settler:
    """`settle` gives `settled`, `replayed` or `stale` once it is durable."""

    def __init__(self, database: Connections) -> None:
        self.database = database
        self.waiting: list[tuple[Item, asyncio.Future[str]]] = []
        self.task: asyncio.Task[None] | None = None

    async def settle(self, item: Item) -> str:
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.waiting.append((item, answer))
        if self.task is None or self.task.done():
            self.task = asyncio.create_task(self.work())
        return await answer

    async def work(self) -> None:
        while self.waiting:
            batch, self.waiting = self.waiting[:MOST], self.waiting[MOST:]
            await self.send(batch)

    async def send(self, batch: list[tuple[Item, asyncio.Future[str]]]) -> None:
        """Settle a batch; one that is refused goes item by item, so that one cannot hold up all."""
        try:
            codes = await self.insist([item for item, _ in batch])
        except psycopg.Error as error:
            if len(batch) > 1:
                for single in batch:
                    await self.send([single])
            elif not batch[0][1].done():
                batch[0][1].set_exception(error)
            return
        for item, answer in batch:
            code = codes.get(item["run_id"], "stale")
            if code == "stale":
                log.warning("a stale attempt of %s was not settled", item["run_id"])
            if not answer.done():
                answer.set_result(code)

    async def insist(self, items: list[Item]) -> dict[str, str]:
        """Make the call until the database answers. Raises psycopg.Error where it refuses."""
        while True:
            try:
                rows = await self.database.rows(settling(items))
                return {str(row["run_id"]): row["code"] for row in rows}
            except (psycopg.OperationalError, PoolTimeout) as error:
                log.warning("cannot settle: %s", error)
                await asyncio.sleep(AWAY_SECONDS)
