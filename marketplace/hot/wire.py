"""HTTP over ASGI: requests in, with bodies bounded; replies out, whole or streamed."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from functools import partial
from typing import Any
from urllib.parse import parse_qsl

import orjson
from django.conf import settings

from marketplace.dialects.contract import Reply, Request, Trail
from marketplace.errors import MalformedBody, TooLarge
from marketplace.hot.peer import Answered, Peer
from marketplace.hot.protocol import PEER

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Heads = list[tuple[bytes, bytes]]
Most = Callable[[Mapping[str, str]], Awaitable[int]]  # of body, by the headers
UNKNOWN_BYTES: int = settings.UNKNOWN_BYTES
TRIES = b"x-stainless-retry-count"  # of clients that were generated, OpenAI's among them
RELAYS = frozenset({b"via", b"forwarded", b"x-forwarded-for"})


def trail(scope: Scope, receive: Receive) -> Trail:
    """What is known of a request before it is read."""
    heads = dict(scope["headers"])
    said = heads.get(TRIES, b"")
    return Trail(
        left=partial(left, receive),
        tries=int(said) if said.isdigit() else None,
        relayed=not RELAYS.isdisjoint(heads),
    )


def answered(scope: Scope, trail: Trail) -> Answered | None:
    """The moment at which an answer goes out; None where the server knows of no peers."""
    peer: Peer | None = scope.get("extensions", {}).get(PEER)
    return Answered(peer, peer.requests, trail.relayed) if peer else None


async def read(
    scope: Scope, receive: Receive, trail: Trail, *, streams: bool, most: Most
) -> Request:
    """The request, with its body or a stream of it. Raises TooLarge before all has been read."""
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    pairs = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    plain = scope["method"] in ("GET", "HEAD")
    body = b"" if plain or streams else await whole_body(headers, receive, most)
    if trail.tries is not None:
        size = headers.get("content-length")
        trail.mark = hash((headers.get("authorization"), scope["path"], size, body))
    return Request(
        method=scope["method"],
        path=scope["path"],
        query=dict(pairs),
        headers=headers,
        body=body,
        chunks=chunks(receive) if streams else None,
        trail=trail,
        pairs=pairs,
    )


async def whole_body(headers: dict[str, str], receive: Receive, most: Most) -> bytes:
    """Of a stranger a few bytes are read; for more, `most` says how many its key is worth.

    Raises TooLarge, and what `most` raises.
    """
    declared = headers.get("content-length", "0")
    length = int(declared) if declared.isdigit() else 0
    limit = await most(headers) if length > UNKNOWN_BYTES else UNKNOWN_BYTES
    if length > limit:
        raise too_large(limit)
    body = bytearray()
    async for chunk in chunks(receive):
        body += chunk
        if len(body) > limit == UNKNOWN_BYTES:
            limit = await most(headers)
        if len(body) > limit:
            raise too_large(limit)
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
