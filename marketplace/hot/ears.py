"""Hear at once that runs have finished, by the NOTIFY that settlement sends with its commit."""

import asyncio

from marketplace.channel import listen

CHANNEL = "kinora_runs"  # settle.sql


class Ears:
    """Opened by the first who waits. `heard` is set by each notification."""

    def __init__(self) -> None:
        self.heard = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    def open(self) -> None:
        if self.task is None or self.task.done():
            self.task = asyncio.ensure_future(listen(CHANNEL, self.heard.set, name="hot"))

    async def rest(self, seconds: float) -> bool:
        """Wait for a notification, at most this long; whether there was one."""
        try:
            await asyncio.wait_for(self.heard.wait(), seconds)
        except TimeoutError:
            return False
        self.heard.clear()
        return True

    async def close(self) -> None:
        if self.task:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)
