"""Fetch a file that somebody names by its address, and nothing that they should not reach by us.

Each hop is checked anew (`outbound`); the body is streamed to disk, bounded in bytes and time. The
answer's words never come back to the caller, only its bytes, and those only if they are a medium.
"""

import asyncio
import time
from urllib.parse import unquote

import aiohttp
from django.conf import settings
from yarl import URL

from marketplace import outbound
from marketplace.errors import Busy, InvalidInput, TooLarge
from marketplace.media import store
from marketplace.media.shelf import write
from marketplace.outbound import NoAnswer, NotAllowedThere

REDIRECTS = 3
SECONDS = 60.0  # for all hops and bytes together
AT_ONCE = 32
MOVED = frozenset({301, 302, 303, 307, 308})
PIECE = 256 * 1024

under_way: set[asyncio.Task[object] | None] = set()


async def fetch(
    address: str,
    incoming: store.Incoming,
    *,
    most: int,
    param: str,
    resolve: outbound.Resolve = outbound.resolved,
) -> str:
    """Write what is at `address` to `incoming`; gives the name that the address ends in.

    Raises InvalidInput, TooLarge, Busy.
    """
    if len(under_way) >= AT_ONCE:
        raise Busy("Too many files are being fetched. Try again.", retry_after=2)
    task = asyncio.current_task()
    under_way.add(task)
    try:
        return await followed(address, incoming, most=most, resolve=resolve)
    except (NotAllowedThere, NoAnswer) as reason:
        raise InvalidInput(f"{param} cannot be fetched: {reason}.", param=param) from None
    except TooLarge:
        raise TooLarge(f"{param} may have at most {most:,} bytes.", param=param) from None
    finally:
        under_way.discard(task)


async def followed(
    address: str, incoming: store.Incoming, *, most: int, resolve: outbound.Resolve
) -> str:
    """Raises NotAllowedThere, NoAnswer, TooLarge."""
    loopback, until = settings.ALLOW_LOOPBACK_FETCH, time.monotonic() + SECONDS
    url = outbound.checked(address, loopback=loopback)
    for _ in range(REDIRECTS + 1):
        left = until - time.monotonic()
        async with outbound.opened(
            "GET", url, seconds=left, loopback=loopback, resolve=resolve
        ) as answer:
            if answer.status not in MOVED:
                await received(answer, incoming, most)
                return unquote(url.name)
            url = moved(url, answer.headers.get("Location", ""), loopback=loopback)
    raise NoAnswer(f"it is redirected more than {REDIRECTS} times")


def moved(url: URL, location: str, *, loopback: bool) -> URL:
    """Where a redirect leads, if we may go there. Raises NotAllowedThere."""
    try:
        target = str(url.join(URL(location)))
    except ValueError:
        raise NotAllowedThere("its redirect leads nowhere") from None
    return outbound.checked(target, loopback=loopback)


async def received(answer: aiohttp.ClientResponse, incoming: store.Incoming, most: int) -> None:
    """Raises NoAnswer, TooLarge."""
    if answer.status != 200:
        raise NoAnswer(f"the answer there is {answer.status}")
    if answer.headers.get("Content-Encoding", "identity") != "identity":
        raise NoAnswer("the answer there is compressed")
    if (answer.content_length or 0) > most:
        raise TooLarge("It is too large.")
    await write(incoming, answer.content.iter_chunked(PIECE), most=most)
