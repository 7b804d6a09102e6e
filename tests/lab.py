"""A lab behind real HTTP for the tests: the rehearsal lab, or any other aiohttp application."""

import asyncio
import json
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from aiohttp import web

from partners.rehearsal import application
from tests.running import free_port


@dataclass(frozen=True)
class Lab:
    """url: where it listens."""

    url: str

    def stats(self) -> dict[str, int]:
        """What the rehearsal lab counted: posts, jobs, cancelled."""
        with urllib.request.urlopen(f"{self.url}/v1/stats", timeout=5) as answer:
            found: dict[str, int] = json.load(answer)
            return found


@contextmanager
def open_lab(app: web.Application | None = None) -> Iterator[Lab]:
    """Serve on a free port from a thread of its own until the block ends."""
    port = free_port()
    loop, begun = asyncio.new_event_loop(), threading.Event()
    runner = web.AppRunner(app or application(), shutdown_timeout=0.1)

    async def begin() -> None:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        begun.set()

    def live() -> None:
        loop.run_until_complete(begin())
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        loop.close()

    thread = threading.Thread(target=live)
    thread.start()
    assert begun.wait(10)
    try:
        yield Lab(f"http://127.0.0.1:{port}")
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
