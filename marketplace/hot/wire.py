"""HTTP over ASGI: requests in, with bodies bounded; replies out, whole or streamed."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from typing import Any
from urllib.parse import parse_qsl

import orjson
from django.conf import settings

from marketplace.dialects.contract import Reply, Request, Trail
from marketplace.errors import MalformedBody, TooLarge

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Heads = list[tuple[bytes, bytes]]
BODY_BYTES: int = settings.BODY_BYTES
INLINE_BYTES: int = settings.INLINE_BYTES


async def read(scope: Scope, receive: Receive, trail: Trail, *, streams: bool) -> Request:
    """The request, with its body or a stream of it. Raises TooLarge before all has been read."""
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    pairs = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    plain = scope["method"] in ("GET", "HEAD")
    return Request(
        method=scope["method"],
        path=scope["path"],
        query=dict(pairs),
        headers=headers,
        body=b"" if plain or streams else await whole_body(headers, receive),
        chunks=chunks(receive) if streams else None,
        trail=trail,
        pairs=pairs,
    )


async def whole_body(headers: dict[str, str], receive: Receive) -> bytes:
    """A body with a key may carry small files inside, as `data:` URIs. Raises TooLarge."""
    most = INLINE_BYTES if "authorization" in headers else BODY_BYTES
    declared = headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > most:
        raise too_large(most)
    body = bytearray()
    async for chunk in chunks(receive):
        body += chunk
        if len(body) > most:
            raise too_large(most)
    return bytes(body)


async def chunks(receive: Receive) -> AsyncIterator[bytes]:
    """The body as it comes. Raises MalformedBody where the client leaves before its end."""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise MalformedBody("The body ended early.", param="body")
        yield bytes(message.get("body", b""))
        if not message.get("more_body"):
            return


def too_large(most: int) -> TooLarge:
    return TooLarge(f"The body is larger than {most:,} bytes.", param="body")


def left(receive: Receive) -> bool:
    """Whether the client of a request whose body has been read is gone. Waits for nothing."""
    asked: Any = receive()
    try:
        asked.send(None)
    except StopIteration as said:
        return bool(said.value["type"] == "http.disconnect")
    asked.close()
    return False


async def answer(reply: Reply, heads: Heads, send: Send) -> None:
    whole = isinstance(reply.body, bytes)
    body = reply.body if whole else orjson.dumps(reply.body)
    if not whole:
        heads.append((b"content-type", b"application/json"))
    heads.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": reply.status, "headers": heads})
    await send({"type": "http.response.body", "body": body})


async def stream(reply: Reply, heads: Heads, receive: Receive, send: Send) -> None:
    """Send chunks until they end or the client goes."""
    if not any(name == b"content-type" for name, _ in heads):
        heads.append((b"content-type", b"text/event-stream"))
    heads.append((b"x-accel-buffering", b"no"))
    await send({"type": "http.response.start", "status": reply.status, "headers": heads})
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


def head(reply: Reply, stamps: tuple[str, ...], request_id: str) -> Heads:
    """The reply's own headers, the request's id, and what every reply has."""
    said = {name.lower(): value for name, value in reply.headers.items()}
    given = dict.fromkeys(stamps, request_id) | said
    return [
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
        *lines(given),
    ]


def lines(given: Mapping[str, str]) -> Heads:
    return [(name.encode(), value.encode()) for name, value in given.items()]
