"""Decide what received bytes are, and put them into the store: the part that needs no database.

A name and a declared type count for nothing: the content says what it is, and all of it is decoded
once, in a process that may be killed.
"""

import threading
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.conf import settings

from marketplace import ids
from marketplace.errors import InvalidInput, TooLarge
from marketplace.media import store
from marketplace.media.files import file_name
from marketplace.media.lifetime import Lifetime
from marketplace.media.probe import Measures, ProbeFailed, Prober

KINDS = ("image", "video", "audio")
DECODE_SECONDS = 60.0
TYPES = {kind: sorted(t for t in store.EXTENSIONS if t.startswith(kind)) for kind in KINDS}


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to become of received bytes. kinds: which are welcome; param: whom to blame.

    file_id: of a file that was announced, or a new one's.
    """

    team_id: UUID
    kept: Lifetime
    file_id: UUID
    name: str = ""
    kinds: tuple[str, ...] = KINDS
    param: str = "file"


def wish(
    team_id: UUID,
    kept: Lifetime,
    *,
    name: Any = "",
    kinds: tuple[str, ...] = KINDS,
    param: str = "file",
) -> Wish:
    """A wish for a new file."""
    return Wish(team_id, kept, ids.uuid7(), file_name(name), kinds, param)


class Decoders(threading.local):
    """A decoder for each thread that looks at files; outputs have theirs and wait for none."""

    def __init__(self) -> None:
        self.mine = Prober(file_seconds=DECODE_SECONDS)


decoders = Decoders()


def largest() -> int:
    """Bytes that a file may have."""
    return int(settings.FILE_BYTES)


def bounded(incoming: store.Incoming, *, param: str = "file") -> None:
    """Raises TooLarge beyond what a file may have."""
    if incoming.bytes > largest():
        raise TooLarge(f"A file may have {largest():,} bytes.", param=param)


def looked_at(incoming: store.Incoming, wish: Wish) -> Measures:
    """What the bytes are, by decoding them. Raises InvalidInput, TooLarge."""
    bounded(incoming, param=wish.param)
    try:
        measures = decoders.mine.probe(incoming.finish())
    except ProbeFailed as fault:
        reason = str(fault).partition(" (")[0]  # which error a decoder threw is for our log
        raise InvalidInput(
            f"{wish.param} cannot be used: {reason}. {welcome(wish.kinds)}", param=wish.param
        ) from None
    if measures.kind not in wish.kinds:
        found = f"{wish.param} is {measures.content_type}."
        raise InvalidInput(f"{found} {welcome(wish.kinds)}", param=wish.param)
    return measures


def welcome(kinds: tuple[str, ...]) -> str:
    """What may be sent, in words."""
    return f"Send {', '.join(name for kind in kinds for name in TYPES[kind])}."


def own_path(wish: Wish, incoming: store.Incoming, measures: Measures) -> str:
    """Where the bytes go: other bytes never go to the same place, not even for the same file."""
    folder = f"{wish.file_id.int >> 100:07x}"  # 2²⁰ ms of its id: a folder for seventeen minutes
    name = f"{ids.public('file', wish.file_id)}-{incoming.sha256[:16]}"
    return f"inputs/{folder}/{name}.{store.EXTENSIONS[measures.content_type]}"


def item(wish: Wish, incoming: store.Incoming, measures: Measures, path: str) -> dict[str, Any]:
    """What `keep_file` takes."""
    return {
        "id": wish.file_id,
        "team_id": wish.team_id,
        "name": wish.name,
        "kind": measures.kind,
        "content_type": measures.content_type,
        "path": path,
        "bytes": incoming.bytes,
        "sha256": incoming.sha256,
        "width": measures.width,
        "height": measures.height,
        "frames": measures.frames,
        "seconds": None if measures.seconds is None else str(measures.seconds),
        "sound": measures.sound,
        "media_seconds": wish.kept.media,
        "record_seconds": wish.kept.record,
    }
