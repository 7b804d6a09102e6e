"""Uploads in two steps or many: announce a file, put its bytes by a signed address, complete.

The signature is in the address, so that nobody who puts bytes shows a key. Every dialect's way of
uploading is one of these verbs; `receive.py` serves the addresses over HTTP.
"""

import hashlib
import time
from collections.abc import AsyncIterable, Sequence
from dataclasses import dataclass
from hmac import compare_digest
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.files.storage import default_storage
from django.utils.crypto import salted_hmac

from marketplace import ids
from marketplace.errors import Conflict, InvalidInput, NotAllowed, TooLarge
from marketplace.media import files, store
from marketplace.media.accept import Wish, wish
from marketplace.media.files import Stored
from marketplace.media.lifetime import Lifetime
from marketplace.media.shelf import WRITERS, Shelf, write

SECONDS = 3600  # an address to put bytes to is good for this long
PART_SECONDS = 24 * 3600  # parts that nobody completes are deleted after this
PART_BYTES = 100 * 1024 * 1024
MOST_PARTS = 1000
PIECE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Upload:
    """An announced file and the right to bring its bytes. ticket: goes into every address."""

    file: Stored
    ticket: str

    @property
    def url(self) -> str:
        """PUT the whole here, or its parts to `/<n>` from 1, then POST to `/complete`."""
        base = f"{settings.SITE_URL}/media/uploads/{self.file.public_id}"
        return f"{base}?upload={self.ticket}"


async def initiate(
    shelf: Shelf, *, team_id: UUID, kept: Lifetime, name: Any = "", content_type: str = ""
) -> Upload:
    """Announce a file. Its address (`upload.file.url`) is good from now on, its bytes are not."""
    announced = await shelf.announce(wish(team_id, kept, name=name), content_type=content_type)
    return Upload(announced, ticket(announced.id))


def ticket(file_id: UUID) -> str:
    """`<until>-<most bytes>-<signature>`."""
    until, most = int(time.time()) + SECONDS, int(settings.FILE_BYTES)
    return f"{until}-{most}-{signature(file_id, until, most)}"


def signature(file_id: UUID, until: int, most: int) -> str:
    text = f"{file_id}\n{until}\n{most}"
    return salted_hmac("kinora.upload", text, algorithm="sha256").hexdigest()


def allowance(file_id: UUID | None, presented: str) -> int:
    """The bytes that a ticket lets in for the file; 0 where it is wrong or too old."""
    until, _, rest = presented.partition("-")
    most, _, signed = rest.partition("-")
    whole = all(n.isascii() and n.isdecimal() and len(n) < 15 for n in (until, most))
    if file_id is None or not whole or int(until) < time.time():
        return 0
    right = signature(file_id, int(until), int(most))
    return int(most) if compare_digest(right.encode(), signed.encode()) else 0


async def announced(shelf: Shelf, file_id: UUID | None, presented: str) -> Stored:
    """The file that a ticket is for. Raises NotAllowed, NotFound."""
    if file_id is None or not allowance(file_id, presented):
        raise NotAllowed("This address has expired or is not whole.")
    if (found := await shelf.addressed(file_id)) is None:
        raise files.missing()
    return found


def filling(found: Stored) -> Wish:
    """The wish that an announced file is; its row has its clocks."""
    return Wish(found.team_id, Lifetime(1, None), found.id, found.name)


async def put(
    shelf: Shelf, file_id: UUID | None, presented: str, chunks: AsyncIterable[bytes]
) -> Stored:
    """Bring the whole file. The same bytes again are fine. Raises what `Shelf.accept` raises."""
    found = await announced(shelf, file_id, presented)
    return await shelf.receive(chunks, filling(found), most=allowance(found.id, presented))


async def put_part(
    shelf: Shelf, file_id: UUID | None, presented: str, number: int, chunks: AsyncIterable[bytes]
) -> str:
    """Bring part `number`, from 1; gives its ETag. The same bytes again are fine.

    Raises InvalidInput, TooLarge, Conflict where the part has other bytes.
    """
    found = await announced(shelf, file_id, presented)
    if not 1 <= number <= MOST_PARTS:
        raise InvalidInput(f"Parts are numbered from 1 to {MOST_PARTS}.", param="partNumber")
    path = part_path(found, number)
    await shelf.rows(files.leaving(path, seconds=PART_SECONDS))
    with store.Incoming() as incoming:
        await write(incoming, chunks, most=min(PART_BYTES, allowance(found.id, presented)))
        try:
            await WRITERS.do(incoming.keep, path)
        except store.AlreadyKept:
            raise Conflict(f"Part {number} has other bytes.", param="partNumber") from None
        if await WRITERS.do(parts_bytes, found) > settings.FILE_BYTES:
            await WRITERS.do(store.delete, path)
            raise TooLarge(f"A file may have {settings.FILE_BYTES:,} bytes.", param="file")
        return etag(incoming.sha256)


def part_path(found: Stored, number: int) -> str:
    return f"parts/{found.public_id}/{number}"


def parts_bytes(found: Stored) -> int:
    """How much has come so far."""
    folder = f"parts/{found.public_id}"
    return sum(default_storage.size(f"{folder}/{n}") for n in default_storage.listdir(folder)[1])


def etag(sha256: str) -> str:
    return f'"{sha256[:32]}"'


async def complete(
    shelf: Shelf, file_id: UUID | None, presented: str, parts: Sequence[tuple[int, str]]
) -> Stored:
    """Put the parts together, in the order of their numbers, and accept the whole.

    parts: (number, ETag) in any order. Repeats safely. Raises InvalidInput for a part that is
    missing, and what `Shelf.accept` raises.
    """
    found = await announced(shelf, file_id, presented)
    if found.ready_at:
        return found
    with store.Incoming() as whole:
        await WRITERS.do(join, whole, found, sorted(parts))
        stored = await shelf.accept(whole, filling(found))
    for number, _ in parts:
        await WRITERS.do(store.delete, part_path(found, number))
    return stored


def join(whole: store.Incoming, found: Stored, parts: Sequence[tuple[int, str]]) -> None:
    """Raises InvalidInput."""
    if [number for number, _ in parts] != list(range(1, len(parts) + 1)) or not parts:
        raise InvalidInput("parts must be numbered 1, 2, 3 … without a gap.", param="parts")
    for number, tagged in parts:
        digest = hashlib.sha256()
        try:
            with store.local(part_path(found, number)) as path, path.open("rb") as part:
                while piece := part.read(PIECE):
                    whole.write(piece)
                    digest.update(piece)
        except FileNotFoundError:
            raise InvalidInput(f"Part {number} has not come.", param="parts") from None
        if tagged.strip('"') != etag(digest.hexdigest()).strip('"'):
            raise InvalidInput(f"Part {number} has another ETag.", param="parts")


def file_of(public_id: str) -> UUID | None:
    return ids.private("file", public_id)
