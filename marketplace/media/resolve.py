"""Turn what a request calls a file into a file that is kept: an id, our own address, a `data:` URI,
or an address elsewhere.

Done before anything is held, outside any transaction. An id or address of another team's file is
told like one that never was; whoever shows a whole signed address of ours may use what it opens.
"""

import asyncio
import binascii
import re
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol
from urllib.parse import parse_qs, unquote, unquote_to_bytes, urlsplit
from uuid import UUID

from django.conf import settings

from marketplace import ids, outbound
from marketplace.errors import InvalidInput
from marketplace.media import accept, files, sign, store
from marketplace.media.accept import Wish
from marketplace.media.fetch import fetch
from marketplace.media.files import Stored
from marketplace.media.lifetime import Lifetime
from marketplace.media.shelf import WRITERS, Shelf

DATA = re.compile(r"data:(?P<head>[\w.+/;=, -]{0,200}?)(?P<base64>;base64)?,", re.IGNORECASE)
PIECE = 1024 * 1024
AT_ONCE = 4  # files of one run


class Named(Protocol):
    """A file as a request names it: `metering.file_inputs.Brought` and anything like it."""

    @property
    def place(self) -> str: ...
    @property
    def value(self) -> str: ...
    @property
    def kinds(self) -> tuple[str, ...]: ...
    @property
    def param(self) -> str: ...


async def resolved(
    shelf: Shelf,
    named: Sequence[Named],
    *,
    team_id: UUID,
    kept: Lifetime,
    resolve: outbound.Resolve = outbound.resolved,
) -> dict[str, Stored]:
    """A ready file of the team for every place. Raises InvalidInput naming the input, and what
    `Shelf.accept` and `fetch` raise."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(wanted: Named) -> Stored:
        async with slots:
            wish = accept.wish(team_id, kept, kinds=wanted.kinds, param=wanted.param)
            return await found(shelf, wanted.value, wish, resolve)

    answers = await asyncio.gather(*map(one, named), return_exceptions=True)
    for answer in answers:  # the first in the order of the inputs, whichever failed first
        if isinstance(answer, BaseException):
            raise answer
    return {
        wanted.place: answer
        for wanted, answer in zip(named, answers, strict=True)
        if isinstance(answer, Stored)
    }


async def found(shelf: Shelf, value: str, wish: Wish, resolve: outbound.Resolve) -> Stored:
    """The ready file that one value means."""
    if value[:5].lower() == "data:":
        return await inline(shelf, value, wish)
    if (file_id := ids.private("file", value)) is not None:
        return usable(await shelf.file(file_id, wish.team_id), wish)
    if (path := own_path(value)) is not None:
        return await ours(shelf, value, path, wish)
    if "://" not in value:
        ways = "a file's id, an address that begins with https://, or a data: URI"
        raise InvalidInput(f"{wish.param} must be {ways}.", param=wish.param)
    with store.Incoming() as incoming:
        name = await fetch(
            value, incoming, most=accept.largest(), param=wish.param, resolve=resolve
        )
        return await shelf.accept(incoming, renamed(wish, name))


def renamed(wish: Wish, name: str) -> Wish:
    return replace(wish, name=files.file_name(name))


async def inline(shelf: Shelf, value: str, wish: Wish) -> Stored:
    """Accept the bytes inside a `data:` URI. Its declared type counts for nothing."""
    with store.Incoming() as incoming:
        await WRITERS.do(unpack, value, incoming, wish)
        return await shelf.accept(incoming, wish)


def unpack(value: str, incoming: store.Incoming, wish: Wish) -> None:
    """Raises InvalidInput."""
    head = DATA.match(value)
    if head is None:
        raise InvalidInput(f"{wish.param} is no data: URI that we can read.", param=wish.param)
    body = value[head.end() :]
    try:
        plain = unquote_to_bytes(body)
        incoming.write(b64decode(plain, validate=True) if head["base64"] else plain)
    except (binascii.Error, ValueError):
        raise InvalidInput(f"{wish.param} is not base64.", param=wish.param) from None


def own_path(value: str) -> str | None:
    """The path below /media/ of an address of ours; None for every other address."""
    try:
        site, parts = urlsplit(settings.SITE_URL), urlsplit(value)
        same = (site.scheme, site.hostname, site.port) == (parts.scheme, parts.hostname, parts.port)
    except ValueError:
        return None
    path = unquote(parts.path)
    return path if same and path.startswith("/media/") else None


async def ours(shelf: Shelf, value: str, path: str, wish: Wish) -> Stored:
    """The file of our own address, or a copy of what a signed address of another's opens."""
    if (file_id := files.named_by(path)) is not None:
        known = await shelf.addressed(file_id)
        if known is None or known.team_id == wish.team_id:
            return usable(known, wish)
        return await copied(shelf, usable(known, wish).path, renamed(wish, known.name))
    asked = {name: texts[0] for name, texts in parse_qs(urlsplit(value).query).items()}
    path = path.removeprefix("/media/")
    if not sign.opens(
        "GET", path, expires=asked.get("expires", ""), signed=asked.get("signature", "")
    ):
        raise unknown(wish)
    return await copied(shelf, path, wish)


async def copied(shelf: Shelf, path: str, wish: Wish) -> Stored:
    """Keep what is in the store under another name as a file of the team."""
    with store.Incoming() as incoming:
        try:
            await WRITERS.do(copy, path, incoming)
        except FileNotFoundError:
            raise unknown(wish) from None
        return await shelf.accept(incoming, wish)


def copy(path: str, incoming: store.Incoming) -> None:
    """Raises FileNotFoundError."""
    with store.local(path) as source, source.open("rb") as opened:
        while piece := opened.read(PIECE):
            incoming.write(piece)


def usable(known: Stored | None, wish: Wish) -> Stored:
    """A file that is there and of a kind that the release takes. Raises InvalidInput."""
    if known is None or known.state == "expired":
        raise unknown(wish)
    if known.state == "waiting":
        raise InvalidInput(f"{wish.param} has no bytes yet: upload them first.", param=wish.param)
    if known.kind not in wish.kinds:
        raise InvalidInput(
            f"{wish.param} is {known.content_type}. {accept.welcome(wish.kinds)}", param=wish.param
        )
    return known


def unknown(wish: Wish) -> InvalidInput:
    """Alike for what is deleted, expired, another team's, or never was."""
    return InvalidInput(f"{wish.param} is no file that is kept here.", param=wish.param)
