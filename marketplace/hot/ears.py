"""Hear at once which runs have ended, by the NOTIFY that settlement sends with its commit."""

import asyncio
from collections.abc import Container
from uuid import UUID

from marketplace.channel import listen

CHANNEL = "kinora_runs"  # settle.sql


class Ears:
    """Opened by the first who waits; keeps only what is `wanted`."""

    def __init__(self, wanted: Container[UUID]) -> None:
        self.wanted = wanted
        self.ended: set[UUID] = set()
        self.heard = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    def open(self) -> None:
        if self.task is None or self.task.done():
            self.task = asyncio.ensure_future(listen(CHANNEL, self.hear, name="hot"))

    def hear(self, payload: str) -> None:
        """Note the runs that a commit has ended, or nothing where it does not name them."""
        named = map(UUID, payload.split(",")) if payload else ()
        if ended := {run_id for run_id in named if run_id in self.wanted}:
            self.ended |= ended
            self.heard.set()

    async def news(self) -> list[UUID]:
        """Wait for runs that have ended. → those that were heard of since the last call."""
        await self.heard.wait()
        self.heard.clear()
        news, self.ended = list(self.ended), set()
        return news

    async def close(self) -> None:
        if self.task:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)
