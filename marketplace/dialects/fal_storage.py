"""Uploads as fal's clients send them: a token and the CDN, or an address to put the bytes to.

What is uploaded is a file of the team like any other. The bytes of announced files, whole or in
parts, go to the signed addresses of `media`, which need no key.
"""

from typing import Any

import orjson
from django.conf import settings

from marketplace import body
from marketplace.dialects import tokens
from marketplace.dialects.contract import Caller, Desk, Reply, Request, Route
from marketplace.errors import InvalidInput
from marketplace.media import accept, upload
from marketplace.media.lifetime import Lifetime, lifetime

USE = "upload"
SECONDS = 3600  # that a token of the CDN is good for
LIFECYCLES = ("x-fal-object-lifecycle", "x-fal-object-lifecycle-preference")
EXPIRES = "expiration_duration_seconds"
STORE, WORDS_SECONDS = "x-fal-store-io", 3600  # time for an answer and its webhooks


async def token(desk: Desk, request: Request) -> Reply:
    """A token that uploads for an hour; it ends earlier where its key does."""
    caller = await desk.caller(request, needs="run")
    text, until = tokens.issue(caller, use=USE, seconds=SECONDS)
    return Reply(
        {
            "token": text,
            "token_type": "Bearer",
            "base_url": f"{settings.SITE_URL}/fal/cdn",
            "expires_at": until.isoformat(),
        }
    )


async def receive(desk: Desk, request: Request) -> Reply:
    """Take the body as a file and answer with its address."""
    caller = await bearer(desk, request)
    kept, name = lifecycle(request), request.headers.get("x-fal-file-name", "")
    wish = accept.wish(caller.team_id, kept, name=name)
    if request.chunks is None:
        raise TypeError("the route streams")
    stored = await desk.files.receive(request.chunks, wish)
    return Reply({"access_url": stored.url})


async def begin(desk: Desk, request: Request) -> Reply:
    """Announce a file that comes in parts, below its own address."""
    caller = await bearer(desk, request)
    made = await upload.initiate(
        desk.files,
        team_id=caller.team_id,
        kept=lifecycle(request),
        name=request.headers.get("x-fal-file-name", ""),
        content_type=request.headers.get("content-type", ""),
    )
    return Reply({"access_url": made.file.url, "uploadId": made.ticket})


async def initiate(desk: Desk, request: Request) -> Reply:
    """Announce a file and say where its bytes go, whole or in parts, and where it will be."""
    caller = await desk.caller(request, needs="run")
    asked = body.read(request.body) if request.body else {}
    made = await upload.initiate(
        desk.files,
        team_id=caller.team_id,
        kept=lifecycle(request),
        name=asked.get("file_name") or "",
        content_type=str(asked.get("content_type") or ""),
    )
    return Reply({"upload_url": made.url, "file_url": made.file.url})


async def bearer(desk: Desk, request: Request) -> Caller:
    """Whom the CDN's token speaks for; a key does as well."""
    presented = request.headers.get("authorization", "").partition(" ")[2]
    if ":" not in presented:
        return await desk.caller(request, needs="run")
    key_id, _ = tokens.read(presented, use=USE)
    return await desk.holder(request, key_id, needs="run")


def lifecycle(request: Request) -> Lifetime:
    """How long the caller wants a file kept, or a run's outputs. Raises InvalidInput.

    Who else may see it is not a choice: a file is private to those who have its address.
    """
    name = next((name for name in LIFECYCLES if name in request.headers), "")
    said = parsed(request.headers[name], name) if name else {}
    return lifetime(media=said.get(EXPIRES), param=EXPIRES)


def kept(request: Request) -> Lifetime | None:
    """The clocks of a run, where the caller shortens them. Raises InvalidInput.

    Who wants no payload stored has the words forgotten; pictures and clips are kept as ever.
    """
    named = any(name in request.headers for name in LIFECYCLES)
    if request.headers.get(STORE) != "0":
        return lifecycle(request) if named else None
    clocks = lifecycle(request)
    return Lifetime(clocks.media, min(filter(None, (clocks.record, WORDS_SECONDS))))


def parsed(text: str, name: str) -> dict[str, Any]:
    try:
        said = orjson.loads(text)
    except orjson.JSONDecodeError:
        said = None
    if not isinstance(said, dict):
        raise InvalidInput(f"{name} must be a JSON object.", param=name.title())
    return said


ROUTES = (
    Route("POST", "/fal/rest/storage/auth/token", token),
    Route("POST", "/fal/rest/storage/upload/initiate", initiate),
    Route("POST", "/fal/rest/storage/upload/initiate-multipart", initiate),
    Route("POST", "/fal/cdn/files/upload", receive, streams=True),
    Route("POST", "/fal/cdn/files/upload/multipart", begin),
)
