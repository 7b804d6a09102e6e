"""The one file store, as everybody but workers sees it: accept, find, list, announce, delete.

Asynchronous, over whatever connection the caller has: the hot path's own, or Django's (`now`).
Bytes are streamed to disk; hashing, copying and decoding happen in threads of their own, so
that neither the event loop nor other people's requests wait for a large file.
"""

import asyncio
from collections.abc import AsyncIterable, Awaitable, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar
from uuid import UUID

from asgiref.sync import sync_to_async
from django.db import connection

from marketplace.errors import Busy, Conflict, TooLarge
from marketplace.media import accept, files, store
from marketplace.media.accept import Wish
from marketplace.media.files import Statement, Stored

LONGEST_LINE = 64  # pieces of work under way; beyond it a caller is told to come back
BLOCK = 1024 * 1024  # bytes that are written at once
SPARE_SECONDS = 3600  # bytes that no file came to own are deleted after this

Ask = Callable[[str, Sequence[Any]], Awaitable[Sequence[Sequence[Any]]]]
Result = TypeVar("Result")


class Hands:
    """Threads for one kind of blocking work."""

    def __init__(self, name: str, threads: int) -> None:
        self.pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self.under_way: set[Future[Any]] = set()

    async def do(self, work: Callable[..., Result], *arguments: Any) -> Result:
        """Raises Busy where too much is under way."""
        if len(self.under_way) >= LONGEST_LINE:
            raise Busy("Too many files are being sent. Try again.", retry_after=2)
        future = self.pool.submit(work, *arguments)
        self.under_way.add(future)
        future.add_done_callback(self.under_way.discard)
        return await asyncio.wrap_future(future)


WRITERS = Hands("media-write", 4)
LOOKERS = Hands("media-look", 2)  # each with a decoder of its own


async def write(incoming: store.Incoming, chunks: AsyncIterable[bytes], *, most: int) -> None:
    """Stream into a file on disk, about a megabyte at a time. Raises TooLarge beyond `most`."""
    held: list[bytes] = []
    size = 0
    async for chunk in chunks:
        held.append(chunk)
        size += len(chunk)
        if incoming.bytes + size > most:
            raise TooLarge(f"At most {most:,} bytes may be sent here.", param="file")
        if size >= BLOCK:
            await WRITERS.do(incoming.write, b"".join(held))
            held, size = [], 0
    await WRITERS.do(incoming.write, b"".join(held))


class Shelf:
    """ask: sends one statement, in a commit of its own, and gives its rows."""

    def __init__(self, ask: Ask) -> None:
        self.ask = ask

    async def rows(self, statement: Statement) -> Sequence[Sequence[Any]]:
        return await self.ask(*statement)

    async def accept(self, incoming: store.Incoming, wish: Wish) -> Stored:
        """Check received bytes and keep them as the wish's file. Repeats safely.

        Raises InvalidInput, TooLarge, Busy; Conflict where the file has other bytes by now.
        """
        measures = await LOOKERS.do(accept.looked_at, incoming, wish)
        path = accept.own_path(wish, incoming, measures)
        await self.rows(files.leaving(path, seconds=SPARE_SECONDS))
        await WRITERS.do(incoming.keep, path)
        item = accept.item(wish, incoming, measures, path)
        [(code, kept)] = await self.rows(files.keeping(item))
        if code != "ok":
            raise refusal(code, wish)
        if kept != path:
            await WRITERS.do(store.delete, path)
        return await self.known(wish.file_id, wish.team_id)

    async def receive(
        self, chunks: AsyncIterable[bytes], wish: Wish, *, most: int | None = None
    ) -> Stored:
        """Accept bytes as they come. Raises what `accept` raises."""
        with store.Incoming() as incoming:
            await write(incoming, chunks, most=most or accept.largest())
            return await self.accept(incoming, wish)

    async def file(self, file_id: UUID, team_id: UUID) -> Stored | None:
        """The team's file; None for another team's and one that never was."""
        rows = await self.rows(files.one(file_id, team_id))
        return files.read(rows[0][0]) if rows else None

    async def known(self, file_id: UUID, team_id: UUID) -> Stored:
        """Raises NotFound."""
        if found := await self.file(file_id, team_id):
            return found
        raise files.missing()

    async def addressed(self, file_id: UUID) -> Stored | None:
        """The file of an address that was checked."""
        rows = await self.rows(files.anybodys(file_id))
        return files.read(rows[0][0]) if rows else None

    async def page(
        self, team_id: UUID, *, before: UUID | None = None, limit: int = 20
    ) -> list[Stored]:
        """The team's files, newest first."""
        rows = await self.rows(files.page(team_id, before=before, limit=limit))
        return [files.read(text) for (text,) in rows]

    async def announce(self, wish: Wish, *, content_type: str = "") -> Stored:
        """A file whose bytes are to come; see `upload.tickets`."""
        await self.rows(
            files.announcing(
                file_id=wish.file_id,
                team_id=wish.team_id,
                name=wish.name,
                content_type=content_type,
                kept=wish.kept,
            )
        )
        return await self.known(wish.file_id, wish.team_id)

    async def delete(self, file_id: UUID, team_id: UUID) -> None:
        """Gone at once; a run that was given it keeps it to its end. Raises NotFound."""
        if not await self.rows(files.deleting(file_id, team_id)):
            raise files.missing()


def refusal(code: str, wish: Wish) -> Conflict | TooLarge:
    """The error that a code of `keep_file` means."""
    if code == "full":
        return TooLarge("Your team's files are too many. Delete some first.", param=wish.param)
    return Conflict("This file was deleted or has other bytes by now.", param=wish.param)


def ask_django(sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Ask through Django's connection."""
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        found: list[tuple[Any, ...]] = cursor.fetchall()
        return found


def now() -> Shelf:
    """The shelf over Django's connection; call it through `asgiref.sync.async_to_sync`."""
    return Shelf(sync_to_async(ask_django))
