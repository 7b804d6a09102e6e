"""Hear at once that runs have finished, by the NOTIFY that settlement sends with its commit.

A notification is a hint like any other: losing it costs a tick of the watcher and nothing else, so
a pooler that cannot LISTEN, or a connection that is cut off, is no fault.
"""

import asyncio
import logging

import psycopg

from marketplace.hot.database import connect

log = logging.getLogger(__name__)
CHANNEL = "kinora_runs"  # settle.sql
PAUSE = 1.0  # seconds before it listens again


class Ears:
    """Opened by the first who waits. `heard` is set by each notification."""

    def __init__(self) -> None:
        self.heard = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    def open(self) -> None:
        if self.task is None or self.task.done():
            self.task = asyncio.ensure_future(self.listen())

    async def rest(self, seconds: float) -> bool:
        """Wait for a notification, at most this long; whether there was one."""
        try:
            await asyncio.wait_for(self.heard.wait(), seconds)
        except TimeoutError:
            return False
        self.heard.clear()
        return True

    async def listen(self) -> None:
        while True:
            try:
                await self.hear()
            except (psycopg.Error, OSError) as fault:
                log.info("not listening: %s", fault)
            await asyncio.sleep(PAUSE)

    async def hear(self) -> None:
        connection = await connect()
        try:
            await connection.execute(f"LISTEN {CHANNEL}")
            async for _ in connection.notifies():
                self.heard.set()
        finally:
            await connection.close()

    async def close(self) -> None:
        if self.task:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)
