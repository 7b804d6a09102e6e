"""The ASGI application of the hot path: routes, bodies, errors, streams.

Knows HTTP and nothing of models or money; dialects bring the routes, the desk does the work.
"""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping
from typing import Any
from urllib.parse import parse_qsl

import orjson
from django.conf import settings

from marketplace import ids
from marketplace.dialects import native
from marketplace.dialects.contract import Handler, Reply, Request, Route
from marketplace.errors import KinoraError, MethodNotAllowed, NotFound, TooLarge
from marketplace.hot.desk import HotDesk

log = logging.getLogger(__name__)
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
BODY_BYTES: int = settings.BODY_BYTES
Found = tuple[Handler, dict[str, str]]


class Hot:
    """Serves the dialects' routes and `/healthz`. Belongs to the event loop that it is made in."""

    def __init__(self) -> None:
        self.desk = HotDesk()
        self.router = Router((*native.ROUTES, Route("GET", "/healthz", healthy)))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = ids.public("req", ids.uuid7())
        reply = await self.reply(scope, receive)
        if isinstance(reply.body, AsyncIterator):
            await stream(reply, request_id, receive, send)
        else:
            await answer(reply, request_id, send)

    async def reply(self, scope: Scope, receive: Receive) -> Reply:
        try:
            handler, params = self.router.find(scope["method"], scope["path"])
            return await handler(self.desk, await read(scope, receive), **params)
        except KinoraError as error:
            return refused(error)
        except Exception:
            log.exception("%s %s failed", scope["method"], scope["path"])
            return refused(KinoraError("Something went wrong on our side."))


class Router:
    """Finds a handler; paths without a parameter by one look-up."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.plain: dict[str, dict[str, Handler]] = {}
        self.patterns: dict[re.Pattern[str], dict[str, Handler]] = {}
        for route in routes:
            if "{" in route.pattern:
                pattern = re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", route.pattern))
                self.patterns.setdefault(pattern, {})[route.method] = route.handler
            else:
                self.plain.setdefault(route.pattern, {})[route.method] = route.handler

    def find(self, method: str, path: str) -> Found:
        """Raises NotFound, MethodNotAllowed."""
        if methods := self.plain.get(path):
            return chosen(methods, method), {}
        for pattern, methods in self.patterns.items():
            if match := pattern.fullmatch(path):
                return chosen(methods, method), match.groupdict()
        raise NotFound("There is no such address.")


def chosen(methods: dict[str, Handler], method: str) -> Handler:
    if handler := methods.get("GET" if method == "HEAD" else method):
        return handler
    raise MethodNotAllowed(f"This address takes {', '.join(sorted(methods))}.")


async def healthy(desk: HotDesk, _request: Request) -> Reply:
    """Whether the database answers."""
    await desk.database.rows("SELECT 1")
    return Reply({"status": "ok"})


async def read(scope: Scope, receive: Receive) -> Request:
    """The request with its body. Raises TooLarge before all of it has been read."""
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    return Request(
        method=scope["method"],
        path=scope["path"],
        query=dict(parse_qsl(scope["query_string"].decode("latin-1"))),
        headers=headers,
        body=await whole_body(headers, receive) if scope["method"] == "POST" else b"",
    )


async def whole_body(headers: dict[str, str], receive: Receive) -> bytes:
    declared = headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > BODY_BYTES:
        raise too_large()
    body = b""
    while True:
        message = await receive()
        body += bytes(message.get("body", b""))
        if len(body) > BODY_BYTES:
            raise too_large()
        if not message.get("more_body"):
            return body


def too_large() -> TooLarge:
    return TooLarge(f"The body is larger than {BODY_BYTES:,} bytes.", param="body")


def refused(error: KinoraError) -> Reply:
    return Reply(error.as_json(), error.status, error.headers())


async def answer(reply: Reply, request_id: str, send: Send) -> None:
    body = orjson.dumps(reply.body)
    headers = head(reply, request_id, b"application/json")
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def stream(reply: Reply, request_id: str, receive: Receive, send: Send) -> None:
    """Send events until they end or the client goes."""
    headers = head(reply, request_id, b"text/event-stream")
    headers.append((b"x-accel-buffering", b"no"))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    sending = asyncio.ensure_future(send_all(reply.body, send))
    leaving = asyncio.ensure_future(gone(receive))
    await asyncio.wait((sending, leaving), return_when=asyncio.FIRST_COMPLETED)
    for task in (sending, leaving):
        task.cancel()
    await asyncio.gather(sending, leaving, return_exceptions=True)


async def send_all(chunks: AsyncIterator[bytes], send: Send) -> None:
    async for chunk in chunks:
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def head(reply: Reply, request_id: str, content_type: bytes) -> list[tuple[bytes, bytes]]:
    return [
        (b"content-type", content_type),
        (b"request-id", request_id.encode()),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
        *((name.lower().encode(), value.encode()) for name, value in reply.headers.items()),
    ]
