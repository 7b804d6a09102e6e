"""Send one webhook over HTTP, to public addresses only, and say how it went.

Redirects are not followed, nothing of an answer is kept but its first bytes, and no proxy or
cookie of ours goes along. The address that a name resolves to is checked and then connected to.
"""

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from django.conf import settings

from marketplace import addresses

SECONDS = 15.0  # for all of it
CONNECT_SECONDS = 5.0
EXCERPT = 500  # bytes of the answer that are kept
EXCERPT_SECONDS = 1.0
AGENT = "Kinora-Webhooks/1"


class Forbidden(OSError):
    """The name leads to an address that is not public."""


@dataclass(frozen=True, slots=True)
class Answer:
    """status is None where there was no answer; error is empty where the try succeeded."""

    status: int | None
    latency_ms: int
    error: str
    excerpt: str = ""


class PublicNames(AbstractResolver):
    """Resolves a name by `plain`, and refuses it unless every one of its addresses is public."""

    def __init__(self, plain: AbstractResolver) -> None:
        self.plain = plain

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
        here = settings.ALLOW_LOOPBACK_WEBHOOKS and addresses.is_loopback(host)
        found = await self.plain.resolve(host, port)
        for each in found:
            if not here and not addresses.is_public(each["host"]):
                raise Forbidden("the name leads to an address that is not public")
        return found

    async def close(self) -> None:
        await self.plain.close()


class Post:
    """An HTTP client for strangers' servers. Belongs to the event loop that it is opened in."""

    def __init__(self, names: AbstractResolver | None = None) -> None:
        self.names = names

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(
            resolver=PublicNames(self.names or aiohttp.ThreadedResolver()),
            use_dns_cache=False,
            limit=0,
            keepalive_timeout=5,
        )
        self.session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=SECONDS, connect=CONNECT_SECONDS),
            headers={"User-Agent": AGENT, "Accept-Encoding": "identity"},
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.session.close()

    async def send(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Try once. Raises nothing that a receiver can bring about."""
        begun = time.monotonic()
        try:
            status, error, excerpt = await self.ask(url, headers, body)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as fault:
            status, error, excerpt = None, said(fault), ""
        return Answer(status, round((time.monotonic() - begun) * 1000), error, excerpt)

    async def ask(self, url: str, headers: Mapping[str, str], body: bytes) -> tuple[int, str, str]:
        """Status, what is wrong with it, and the first bytes of the answer."""
        if fault := addresses.fault(url, loopback=settings.ALLOW_LOOPBACK_WEBHOOKS):
            raise Forbidden(f"the address {fault}")
        whole = {"Content-Type": "application/json", **headers}
        async with self.session.post(
            url, data=body, headers=whole, allow_redirects=False
        ) as answer:
            text = await beginning(answer)
            location = answer.headers.get("Location", "")
            answer.close()  # whatever else it has to say
            return answer.status, wrong(answer.status, location), text


async def beginning(answer: aiohttp.ClientResponse) -> str:
    """The first bytes of an answer, as far as they come in a moment."""
    with suppress(TimeoutError, aiohttp.ClientError, OSError):
        async with asyncio.timeout(EXCERPT_SECONDS):
            return (await answer.content.read(EXCERPT)).decode(errors="replace")
    return ""


def wrong(status: int, location: str) -> str:
    """What is wrong with an answer; nothing with 2xx."""
    if 200 <= status < 300:
        return ""
    if 300 <= status < 400:
        return f"It answered {status}; redirects are not followed (to {location[:200] or '?'})."
    return f"It answered {status}."


SAID: tuple[tuple[type[Exception], str], ...] = (
    (TimeoutError, f"No answer within {SECONDS:g} s."),
    (aiohttp.ClientConnectorDNSError, "The name does not resolve."),
    (ConnectionRefusedError, "The connection was refused."),
    (aiohttp.ServerDisconnectedError, "The connection was closed without an answer."),
    (ConnectionResetError, "The connection was closed without an answer."),
)


def said(fault: Exception) -> str:
    """Why there was no answer, in words for the owner of the address."""
    inner = getattr(fault, "os_error", fault)
    if isinstance(inner, Forbidden):
        return f"Not sent: {inner}."
    if isinstance(fault, aiohttp.ClientSSLError):
        return f"The connection is not safe: {str(inner)[:200]}"
    for kind, text in SAID:
        if isinstance(fault, kind) or isinstance(inner, kind):
            return text
    return f"No answer: {str(fault)[:200] or type(fault).__name__}."
