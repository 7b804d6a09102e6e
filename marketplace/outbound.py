"""Calls to addresses that other people name: public ones only, resolved once, connected as checked.

A name is resolved here, every answer must be a public address, and the connection is made to
exactly those; a name server that changes its mind is not asked again. Nothing of the environment
goes along: no proxy, no cookie, no credential. What is refused is told in words that say nothing
about our network. Knows neither what is fetched nor who asked.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from marketplace.addresses import is_loopback, is_public, wrong_host

LONGEST = 4096
PORTS = frozenset({80, 443, 8080, 8443})
CONNECT_SECONDS = 5.0
ANSWERS = 16  # addresses of one name

Resolve = Callable[[str, int], Awaitable[list[str]]]


class NotAllowedThere(Exception):
    """The address is none that we call. The message is fit for whoever named it."""


class NoAnswer(Exception):
    """Nobody answered there, or not in time. The message is fit for whoever named it."""


def checked(text: str, *, loopback: bool = False) -> URL:
    """The address, if its spelling is that of a public one. Raises NotAllowedThere.

    Names are not resolved here: `opened` does that at the call, each time anew.
    """
    if len(text) > LONGEST or not text.isprintable() or " " in text or "\\" in text:
        raise NotAllowedThere("it is not an address that we can read")
    try:
        url = URL(text)
        host, port = url.raw_host or "", url.port
    except ValueError:
        raise NotAllowedThere("it is not an address that we can read") from None
    if url.scheme not in {"http", "https"}:
        raise NotAllowedThere("it must begin with https:// or http://")
    if url.user is not None or url.password is not None:
        raise NotAllowedThere("it must not carry a user name or password")
    if loopback and is_loopback(host):
        return url
    if wrong_host(host.removesuffix(".").lower()):
        raise NotAllowedThere("its host must be a public name or address")
    if port not in PORTS:
        raise NotAllowedThere(f"its port must be one of {', '.join(map(str, sorted(PORTS)))}")
    return url


async def resolved(host: str, port: int) -> list[str]:
    """All addresses of a name, by this machine's resolver. Raises OSError."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(sockaddr[0]) for *_, sockaddr in found]


class Pinned(AbstractResolver):
    """Gives the addresses that were checked, for the one host they were checked for."""

    def __init__(self, host: str, addresses: list[str]) -> None:
        self.host, self.addresses = host, addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        if host.removesuffix(".") != self.host.removesuffix("."):
            raise OSError("another host")
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for address in self.addresses
        ]

    async def close(self) -> None:
        """Holds nothing open."""


async def pinned(url: URL, *, loopback: bool, resolve: Resolve) -> Pinned:
    """Where to connect for `url`. Raises NotAllowedThere, alike for a private name and for none."""
    host = url.raw_host or ""
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            addresses = (await resolve(host, url.port or 443))[:ANSWERS]
    except (OSError, UnicodeError):
        addresses = []
    allowed = (is_public(text) or (loopback and is_loopback(text)) for text in addresses)
    if not addresses or not all(allowed):
        raise NotAllowedThere("its host has no public address")
    return Pinned(host, addresses)


@asynccontextmanager
async def opened(
    method: str,
    url: URL,
    *,
    seconds: float,
    loopback: bool = False,
    resolve: Resolve = resolved,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
) -> AsyncIterator[aiohttp.ClientResponse]:
    """One call to a `checked` address, redirects not followed; `seconds` bound all of the block.

    Raises NotAllowedThere, NoAnswer.
    """
    try:
        async with asyncio.timeout(seconds):
            where = await pinned(url, loopback=loopback, resolve=resolve)
            async with session(where) as client:
                sent: dict[str, Any] = {"headers": headers, "data": body}
                async with client.request(method, url, allow_redirects=False, **sent) as answer:
                    yield answer
    except (aiohttp.ClientError, TimeoutError, ConnectionError) as fault:
        raise NoAnswer("nobody answers there, or too slowly") from fault


def session(where: Pinned) -> aiohttp.ClientSession:
    """A client that knows these addresses, nothing of the environment and nothing of before."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(resolver=where, use_dns_cache=False, force_close=True),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        auto_decompress=False,
        headers={"User-Agent": "Kinora/1", "Accept-Encoding": "identity"},
    )
