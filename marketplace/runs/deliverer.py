"""The courier of webhooks as a thread of the chores' process, woken by what settlement notifies."""

import asyncio
import logging
import os
from contextlib import suppress
from threading import Thread

import uvloop

from marketplace.channel import listen
from marketplace.runs.deliver import deliver
from marketplace.webhooks.courier import Courier
from marketplace.webhooks.queue import LEASE

log = logging.getLogger(__name__)

CHANNEL = "kinora_runs"  # settle.sql


class Deliverer:
    """`start` begins, `stop` lets what is in hand end. Killed at any instant it loses nothing."""

    def __init__(self, lease: str = LEASE) -> None:
        self.lease = lease
        self.thread = Thread(target=self._live, name="deliverer", daemon=True)
        self.stopping = False

    def start(self) -> None:
        self.thread.start()

    def stop(self) -> None:
        """Take no more. Safe in a signal handler."""
        self.stopping = True
        with suppress(AttributeError, RuntimeError):  # not yet begun, or already ended
            self.loop.call_soon_threadsafe(self.courier.stop)

    def join(self, seconds: float) -> None:
        self.thread.join(seconds)

    def _live(self) -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self.live())
        except Exception:
            log.exception("the deliverer broke; ending its process so that it starts anew")
            os._exit(1)

    async def live(self) -> None:
        self.loop, self.courier = asyncio.get_running_loop(), Courier(deliver, self.lease)
        if self.stopping:
            return
        wake = self.courier.wake
        listening = asyncio.create_task(listen(CHANNEL, lambda _: wake(), name="deliverer"))
        await self.courier.live()
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
