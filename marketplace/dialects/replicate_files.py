"""Replicate's API of files, over the one file store. Metadata that is sent along is not kept."""

from typing import Any

from marketplace import errors, ids
from marketplace.dialects.contract import Desk, Reply, Request, Route
from marketplace.dialects.openai_forms import chunks
from marketplace.dialects.replicate_catalog import BASE, MISSING
from marketplace.media import accept, files
from marketplace.media.files import Stored
from marketplace.media.form import form
from marketplace.media.lifetime import lifetime

PAGE = 100


async def create(desk: Desk, request: Request) -> Reply:
    """Keep the part `content` of a form. 201 with the file."""
    caller = await desk.caller(request, needs="run")
    kind = request.headers.get("content-type", "")
    async with form(chunks(request), kind) as sent:
        part = sent.file("content")
        if part is None:
            raise errors.InvalidInput("Send the file as `content` in a form.", param="content")
        wish = accept.wish(caller.team_id, lifetime(), name=part.name, param="content")
        stored = await desk.files.accept(part.incoming, wish)
    return Reply(as_json(stored), 201)


def as_json(stored: Stored) -> dict[str, Any]:
    """A file; `urls.get` is signed, so that it opens without a key and can be an input."""
    digest = stored.sha256 or ""
    return {
        "id": stored.public_id,
        "name": stored.name,
        "content_type": stored.content_type,
        "size": stored.bytes,
        "etag": digest,
        "checksums": {"sha256": digest},
        "metadata": {},
        "created_at": stored.created_at,
        "expires_at": stored.expires_at,
        "urls": {"get": stored.url, "self": f"{BASE}/files/{stored.public_id}"},
    }


async def listing(desk: Desk, request: Request) -> Reply:
    caller = await desk.caller(request, needs="read")
    cursor = request.query.get("cursor")
    before = ids.private("file", cursor) if cursor else None
    if cursor and before is None:
        raise errors.InvalidInput("cursor must come from `next`.", param="cursor")
    found = await desk.files.page(caller.team_id, before=before, limit=PAGE + 1)
    page = [as_json(stored) for stored in found[:PAGE]]
    more = f"{BASE}/files?cursor={page[-1]['id']}" if len(found) > PAGE else None
    return Reply({"previous": None, "next": more, "results": page})


async def read(desk: Desk, request: Request, file: str) -> Reply:
    caller = await desk.caller(request, needs="read")
    try:
        return Reply(as_json(await desk.files.known(files.file_id(file), caller.team_id)))
    except errors.NotFound:
        raise errors.NotFound(MISSING) from None


async def delete(desk: Desk, request: Request, file: str) -> Reply:
    """204; a run that was given the file keeps it to its end."""
    caller = await desk.caller(request, needs="run")
    try:
        await desk.files.delete(files.file_id(file), caller.team_id)
    except errors.NotFound:
        raise errors.NotFound(MISSING) from None
    return Reply(b"", 204, {"content-type": "application/json"})


FILES = "/replicate/v1/files"
ROUTES = (
    Route("POST", FILES, create, streams=True),
    Route("GET", FILES, listing),
    Route("GET", f"{FILES}/{{file}}", read),
    Route("DELETE", f"{FILES}/{{file}}", delete),
)
