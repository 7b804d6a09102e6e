"""Where workers speak of sessions: a line of JSON, a frame's bytes; the answer is a prompt."""

from collections.abc import Mapping
from typing import Any

import orjson

from marketplace import ids
from marketplace.dialects import native
from marketplace.dialects.contract import Picture, Reply, Request, Route, Surface
from marketplace.errors import InvalidInput, MalformedBody, NotAuthenticated, NotFound
from marketplace.fleet.token import SCHEME, digest
from marketplace.hot.desk import HotDesk
from marketplace.runs.sessions import DOOR

PNG = b"\x89PNG\r\n\x1a\n"
KINDS = {"image/png": PNG, "image/jpeg": b"\xff\xd8\xff"}
MOST_FILES = 16


async def said(desk: HotDesk, request: Request) -> Reply:
    """Raises NotAuthenticated, MalformedBody, InvalidInput, NotFound, StaleAttempt."""
    header = request.headers.get("authorization", "")
    if not header.startswith(SCHEME):
        raise NotAuthenticated("A worker's token is needed.")
    worker = await desk.cache.worker(digest(header.removeprefix(SCHEME)))
    line, _, content = request.body.partition(b"\n")
    word = read(line)
    run_id = ids.private("run", str(word.get("run")))
    if run_id is None:
        raise NotFound("There is no such session here.")
    pictures = cut(word.get("frame"), content)
    return Reply(await desk.sessions.hear(worker, word, run_id, pictures))


def read(line: bytes) -> dict[str, Any]:
    """Raises MalformedBody, InvalidInput."""
    try:
        word = orjson.loads(line)
    except ValueError:
        raise MalformedBody("The first line is not JSON.") from None
    if not isinstance(word, dict):
        raise MalformedBody("The first line must be an object.")
    for name, kind in (("attempt", int), ("seconds", int | float)):
        if not isinstance(word.get(name), kind) or not 0 <= word[name] < 1_000_000:
            raise InvalidInput(f"`{name}` must be a number.", param=name)
    return word


def cut(frame: Any, content: bytes) -> tuple[Picture, ...]:
    """The files of a frame. They must be what they are called. Raises InvalidInput."""
    if frame is None:
        return ()
    if not isinstance(frame, Mapping):
        raise InvalidInput("`frame` must be an object.", param="frame")
    kind, lengths = frame.get("content_type", ""), frame.get("lengths", [])
    if not isinstance(lengths, list) or not all(isinstance(n, int) and n > 0 for n in lengths):
        raise InvalidInput("`lengths` must be whole numbers.", param="frame.lengths")
    if len(lengths) > MOST_FILES or sum(lengths) != len(content):
        raise InvalidInput("`lengths` must sum to the bytes that follow.", param="frame.lengths")
    found, start = [], 0
    for length in lengths:
        found.append(picture(content[start : start + length], kind))
        start += length
    return tuple(found)


def picture(content: bytes, kind: Any) -> Picture:
    """Raises InvalidInput where the bytes do not begin as their type does."""
    if kind not in KINDS or not content.startswith(KINDS[kind]):
        raise InvalidInput(f"A file must be one of {', '.join(KINDS)}.", param="frame")
    if kind != "image/png":
        return Picture(content, kind, None, None)
    sides = (int.from_bytes(content[at : at + 4]) for at in (16, 20))  # of the header chunk
    return Picture(content, kind, *sides)


SURFACE = Surface((f"/{DOOR}",), (Route("POST", f"/{DOOR}", said),), native.refused)
