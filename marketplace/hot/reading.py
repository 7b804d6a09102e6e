"""Read many rows in one query: what is asked for while a query is under way shares the next.

An idle process asks at once, so a lone reader waits for nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

AT_ONCE = 2  # queries under way
MOST = 100  # keys of a query
Key = TypeVar("Key")
Value = TypeVar("Value")


class Reading(Generic[Key, Value]):
    """ask: is given distinct keys and gives what it found of them."""

    def __init__(self, ask: Callable[[list[Key]], Awaitable[dict[Key, Value]]]) -> None:
        self.ask = ask
        self.wanted: dict[Key, asyncio.Future[Value | None]] = {}
        self.workers: set[asyncio.Task[None] | None] = set()

    async def get(self, key: Key) -> Value | None:
        """The value as it is now or later, never earlier; None where there is none."""
        loop = asyncio.get_running_loop()
        if (answer := self.wanted.get(key)) is None:
            answer = self.wanted[key] = loop.create_future()
            if len(self.workers) < AT_ONCE:
                worker = asyncio.ensure_future(self.work())
                self.workers.add(worker)
        return await asyncio.shield(answer)

    async def work(self) -> None:
        """Ask until nobody wants anything; what comes meanwhile is asked in the next round."""
        try:
            await self.rounds()
        finally:  # here, not in a callback: one who comes after must find a place free
            self.workers.discard(asyncio.current_task())

    async def rounds(self) -> None:
        while self.wanted:
            keys = list(self.wanted)[:MOST]
            several = {key: self.wanted.pop(key) for key in keys}
            try:
                found = await self.ask(keys)
            except Exception as fault:
                for answer in several.values():
                    answer.set_exception(fault)
            else:
                for key, answer in several.items():
                    answer.set_result(found.get(key))
