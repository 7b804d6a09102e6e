"""Kinora's own API of files: send one, announce a large one, get, list, delete."""

from typing import Any
from uuid import UUID

from marketplace import body, ids
from marketplace.dialects.contract import Caller, Desk, Reply, Request, Route, Surface
from marketplace.dialects.native import page_size, refused
from marketplace.errors import InvalidInput, MalformedBody
from marketplace.media import accept, files, upload
from marketplace.media.files import Stored
from marketplace.media.form import form
from marketplace.media.lifetime import Lifetime, lifetime

FIELDS = ("name", "content_type", "expires_in", "forget_in")


async def create(desk: Desk, request: Request) -> Reply:
    """Keep a file: a form with one file in it, or the bytes as the body. 201 with the file."""
    caller = await desk.caller(request, needs="run")
    kind = request.headers.get("content-type", "")
    if kind.lower().startswith("multipart/form-data"):
        stored = await from_form(desk, request, caller, kind)
    else:
        wish = accept.wish(
            caller.team_id, clocks(request.query), name=request.query.get("name", "")
        )
        stored = await desk.files.receive(chunks(request), wish)
    return Reply(stored.as_json(), 201)


async def from_form(desk: Desk, request: Request, caller: Caller, kind: str) -> Stored:
    """Raises InvalidInput where there is no file in the form, or more than one."""
    async with form(chunks(request), kind) as sent:
        if len(sent.files) != 1:
            raise InvalidInput("Send one file in the form.", param="file")
        [part] = sent.files
        told = {name: sent.text(name) for name in FIELDS}
        wish = accept.wish(caller.team_id, clocks(told), name=told["name"] or part.name)
        return await desk.files.accept(part.incoming, wish)


def chunks(request: Request) -> Any:
    """The body of a route that streams."""
    if request.chunks is None:
        raise MalformedBody("Send the file as the body.", param="body")
    return request.chunks


def clocks(told: Any) -> Lifetime:
    """`expires_in` and `forget_in` in seconds, as a query or a form says. Raises InvalidInput."""
    expires_in, forget_in = (seconds(told.get(name), name) for name in ("expires_in", "forget_in"))
    return lifetime(media=expires_in, record=forget_in)


def seconds(text: Any, name: str) -> int | None:
    if text is None or text == "":
        return None
    if not isinstance(text, str | int) or not str(text).isascii() or not str(text).isdigit():
        raise InvalidInput(f"{name} must be a whole number of seconds.", param=name)
    return int(str(text)[:12])


async def announce(desk: Desk, request: Request) -> Reply:
    """Announce a file; its bytes are PUT to the answer's address, whole or in parts."""
    caller = await desk.caller(request, needs="run")
    wish = body.read(request.body) if request.body else {}
    for name in wish:
        if name not in FIELDS:
            raise InvalidInput(
                f"{name[:80]} is not a field here. Known fields: {', '.join(FIELDS)}.",
                param=name[:80],
            )
    made = await upload.initiate(
        desk.files,
        team_id=caller.team_id,
        kept=clocks(wish),
        name=wish.get("name"),
        content_type=str(wish.get("content_type", "")),
    )
    told = {"url": made.url, "part_bytes": upload.PART_BYTES, "parts": upload.MOST_PARTS}
    return Reply({"file": made.file.as_json(), "upload": told}, 201)


async def read(desk: Desk, request: Request, file: str) -> Reply:
    """One file of the team."""
    caller = await desk.caller(request, needs="read")
    return Reply((await desk.files.known(files.file_id(file), caller.team_id)).as_json())


async def listing(desk: Desk, request: Request) -> Reply:
    """The team's files, newest first, a page at a time."""
    caller = await desk.caller(request, needs="read")
    limit = page_size(request.query.get("limit", "20"))
    before = cursor(request.query.get("cursor"))
    found = await desk.files.page(caller.team_id, before=before, limit=limit + 1)
    page = [stored.as_json() for stored in found[:limit]]
    return Reply({"data": page, "next_cursor": page[-1]["id"] if len(found) > limit else None})


def cursor(text: str | None) -> UUID | None:
    if text is None:
        return None
    if (before := ids.private("file", text)) is None:
        raise InvalidInput("cursor must be a next_cursor of this list.", param="cursor")
    return before


async def delete(desk: Desk, request: Request, file: str) -> Reply:
    """Delete a file for everybody at once; a run that was given it keeps it to its end."""
    caller = await desk.caller(request, needs="run")
    await desk.files.delete(files.file_id(file), caller.team_id)
    return Reply({"id": file, "deleted": True})


ROUTES = (
    Route("POST", "/api/v1/files", create, streams=True),
    Route("GET", "/api/v1/files", listing),
    Route("GET", "/api/v1/files/{file}", read),
    Route("DELETE", "/api/v1/files/{file}", delete),
    Route("POST", "/api/v1/uploads", announce),
)
SURFACE = Surface(("/api/v1/files", "/api/v1/uploads"), ROUTES, refused)
