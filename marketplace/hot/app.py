"""The ASGI application of the hot path: dialects' routes, their errors, lost answers.

Knows nothing of models or money; dialects bring the routes, the desk does the work.
"""

import logging
from functools import partial

from marketplace import ids
from marketplace.dialects import fal, huggingface, live, native, native_files, openai, replicate
from marketplace.dialects.contract import Reply, Request, Route, Surface, Trail
from marketplace.dialects.routing import Router, served
from marketplace.errors import Busy, KinoraError, Unavailable
from marketplace.hot import door, notices, sockets, wire
from marketplace.hot.desk import HotDesk
from marketplace.hot.routes import Surfaces, prefixes
from marketplace.hot.wire import Receive, Scope, Send

log = logging.getLogger(__name__)
COME_BACK = (Busy.status, Unavailable.status)


async def healthy(desk: HotDesk, _request: Request) -> Reply:
    """Whether the database answers."""
    await desk.database.rows("SELECT 1")
    return Reply({"status": "ok"})


HEALTH = Surface(("/healthz",), (Route("GET", "/healthz", healthy),), native.refused)
SURFACES = (
    native.SURFACE,
    native_files.SURFACE,
    fal.SURFACE,
    replicate.SURFACE,
    openai.SURFACE,
    huggingface.SURFACE,
    door.SURFACE,
    notices.SURFACE,
    live.SURFACE,
    HEALTH,
)
PREFIXES = prefixes(SURFACES)


def is_hot(path: str) -> bool:
    """Whether the hot path serves it; a refund is asked of Django, which has the time for it."""
    return path.startswith(PREFIXES) and not path.endswith("/refunds")


class Hot:
    """Serves paths that `is_hot` names. Belongs to the event loop that it is made in."""

    def __init__(self) -> None:
        self.desk = HotDesk()
        self.surfaces = Surfaces(SURFACES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            return await sockets.serve(self.desk, SURFACES, scope, receive, send)
        return await self.answer(scope, receive, send)

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = ids.public("req", ids.uuid7())
        surface, router = self.surfaces.find(scope["path"])
        trail = wire.trail(scope, receive)
        streamed = False
        try:
            reply = await self.reply(surface, router, scope, receive, trail)
            streamed = hasattr(reply.body, "__aiter__")
        finally:  # a run whose answer may not arrive is remembered for its retry
            self.desk.losses.end(trail, wire.answered(scope, trail), streamed=streamed)
        heads = wire.head(reply, surface.stamps, request_id)
        heads += wire.lines(surface.always)
        if trail.allowance:
            heads += wire.lines(surface.allowed(trail.allowance))
        if streamed:
            await wire.stream(reply, heads, receive, send)
        else:
            await wire.answer(reply, heads, send)

    async def reply(
        self, surface: Surface, router: Router, scope: Scope, receive: Receive, trail: Trail
    ) -> Reply:
        """The handler's reply, or what the surface says of an error."""
        try:
            route, params = router.find(scope["method"], scope["path"])
            has_token = bool(surface.token) and surface.token in scope["query_string"]
            most = partial(self.desk.most_bytes, has_token=has_token)
            request = await wire.read(scope, receive, trail, streams=route.streams, most=most)
            return await served(self.desk, route, request, params)
        except KinoraError as error:
            if error.status in COME_BACK:
                self.desk.losses.refuse(trail)
            return surface.refused(error)
        except Exception:
            log.exception("%s %s failed", scope["method"], scope["path"])
            return surface.refused(KinoraError("Something went wrong on our side."))
