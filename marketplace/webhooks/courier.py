"""Carries deliveries: takes what is due, sends it at once, records how it went.

A try that a dead courier leaves behind is due again when its lease is over, under the same id.
Whoever runs it brings `feed`, which queues what has happened and says how much that was.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

from django.db import OperationalError
from psycopg_pool import PoolTimeout

from marketplace.webhooks import queue, schedule, sign
from marketplace.webhooks.post import Answer, Post
from marketplace.webhooks.queue import Result
from marketplace.webhooks.schemes import FINISHED, RANKS
from marketplace.webhooks.sign import Parcel
from marketplace.webhooks.threads import asked

log = logging.getLogger(__name__)

SLOTS = 128
PER_HOST = 16
TICK = 0.5  # seconds between two looks where nothing is heard
AWAY_SECONDS = 0.5
FAREWELL = 3.0  # seconds that tries in hand get when the process ends


class Courier:
    """`live` works until `stop`; `wake` says that something happened. One event loop's own."""

    def __init__(self, feed: Callable[[], int], lease: str = queue.LEASE) -> None:
        self.feed, self.lease = feed, lease
        self.hands: dict[asyncio.Task[None], Parcel] = {}
        self.results: list[Result] = []
        self.woken = asyncio.Event()
        self.stopping = False

    def wake(self) -> None:
        self.woken.set()

    def stop(self) -> None:
        self.stopping = True
        self.wake()

    async def live(self) -> None:
        async with Post() as self.post:
            while not self.stopping:
                self.woken.clear()
                if not await self.turn():
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self.woken.wait(), TICK)
            if self.hands:
                await asyncio.wait(self.hands, timeout=FAREWELL)
            await self.turn_in()

    async def turn(self) -> bool:
        """Record, feed, take; whether there may be more to do at once."""
        try:
            await self.turn_in()
            await asked(self.feed)
            free = SLOTS - len(self.hands)
            taken = await asked(lambda: self.take(free)) if free else []
        except (OperationalError, PoolTimeout) as fault:
            log.warning("the database is away: %s", fault)
            await asyncio.sleep(AWAY_SECONDS)
            return True
        for parcel in taken:
            task = asyncio.create_task(self.carry(parcel))
            self.hands[task] = parcel
        return bool(taken)

    def take(self, free: int) -> list[Parcel]:
        busy = Counter(parcel.host for parcel in list(self.hands.values()))
        return queue.take(limit=free, per_host=PER_HOST, busy=busy, lease=self.lease)

    async def turn_in(self) -> None:
        """Record what is done; where that fails, it is recorded with the next turn."""
        done = self.results[:]
        if done:
            await asked(lambda: queue.record(done))
            del self.results[: len(done)]

    async def carry(self, parcel: Parcel) -> None:
        try:
            signed = sign.headers(parcel, int(time.time()))
            answer = await self.post.send(parcel.url, signed, parcel.body)
            self.results.append(judged(parcel, answer))
        except Exception:
            log.exception("delivery %s broke", parcel.id)  # due again when its lease is over
        finally:
            task = asyncio.current_task()
            if task:
                self.hands.pop(task, None)
            self.wake()


def judged(parcel: Parcel, answer: Answer) -> Result:
    """What follows from an answer."""
    state, wait = "delivered", None
    if answer.error:
        failed = parcel.number - parcel.pardoned
        wait = schedule.wait(failed=failed, final=parcel.rank == RANKS[FINISHED])
        state = "dead" if wait is None else "pending"
    return Result(
        parcel=parcel,
        state=state,
        wait=wait,
        status=answer.status,
        latency_ms=answer.latency_ms,
        error=answer.error,
        answer=answer.excerpt,
    )
