"""The whole web process as one ASGI application: the hot path, static files, and Django."""

import gc
import os
from collections.abc import Awaitable, Callable
from typing import Any

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "marketplace.settings")
django = get_asgi_application()

from marketplace import assets  # noqa: E402 - Django is set up above
from marketplace.hot import hosts, managed  # noqa: E402
from marketplace.hot.app import Hot, is_hot  # noqa: E402
from marketplace.limits import Bounded  # noqa: E402

bounded = Bounded(django)

# Thousands of waiting clients are very many objects, and to look through them holds up everybody: a
# third of the process's time with 5,000. So it is done rarely, and never for what stays for ever.
GARBAGE = (10_000, 20, 50)

Message = Any  # Django's and uvicorn's types of the same dictionaries differ
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Web:
    """Sends each request where it belongs. The server's lifespan opens the hot path."""

    def __init__(self) -> None:
        self.hot: Hot | None = None

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self.live(receive, send)
        scope = hosts.aimed(scope)
        if self.hot and (scope["type"] == "websocket" or is_hot(scope["path"])):
            await self.hot(scope, receive, send)
        elif scope["path"].startswith("/static/"):
            await assets.serve(scope, send)
        elif self.hot and managed.keyed(scope):
            await managed.serve(self.hot.desk, bounded, scope, receive, send)
        else:
            await bounded(scope, receive, send)
        return None

    async def live(self, receive: Receive, send: Send) -> None:
        """Start without waiting for the database; requests say 503 until it is there."""
        await receive()
        self.hot = Hot()
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GARBAGE)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.hot.desk.close()
        await send({"type": "lifespan.shutdown.complete"})


application = Web()
