"""The signed addresses of uploads over HTTP: a whole file, a part of one, the end of all parts.

Two spellings: `/media/uploads/<file>?upload=<ticket>` with `/<n>` and `/complete`, and below a
file's own address `…/multipart/<ticket>/<n>` and `…/complete`, as different clients build them.
Any page may call them: the ticket is all that counts, no cookie is read.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs

from django.db import OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt

from marketplace import body
from marketplace.errors import InvalidInput, KinoraError, MethodNotAllowed, database_away
from marketplace.media import shelf, upload

PIECE = 1024 * 1024
UPLOAD = re.compile(
    r"/media/uploads/(?P<file>file_[0-9a-z]{26})(?:/(?P<step>[0-9]{1,4}|complete))?"
)
BELOW = re.compile(
    r"/media/files/(?P<file>file_[0-9a-z]{26})/[0-9a-f]{32}(?:/[^/]*)?"
    r"/multipart/(?P<ticket>[0-9a-f-]+)/(?P<step>[0-9]{1,4}|complete)"
)
CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "PUT, POST, OPTIONS",
    "Access-Control-Allow-Headers": "*, Authorization, Content-Type",
    "Access-Control-Expose-Headers": "ETag",
    "Access-Control-Max-Age": "86400",
}
View = Callable[..., Awaitable[HttpResponse]]


def parsed(path: str, query: str) -> tuple[str, str, str] | None:
    """File, ticket and step (a part's number, `complete` or nothing); None for other addresses."""
    if found := BELOW.fullmatch(path):
        return found["file"], found["ticket"], found["step"]
    if found := UPLOAD.fullmatch(path):
        asked = parse_qs(query).get("upload", [""])
        return found["file"], asked[0], found["step"] or ""
    return None


def allowed(method: str, path: str, query: str) -> int:
    """Bytes of body that an upload's address lets in; 0 for all others."""
    found = parsed(path, query) if method == "PUT" else None
    return upload.allowance(upload.file_of(found[0]), found[1]) if found else 0


@csrf_exempt
async def uploads(request: HttpRequest, **_path: str) -> HttpResponse:
    """PUT the whole or a part; POST to complete."""
    if request.method == "OPTIONS":
        return HttpResponse(status=204, headers=CORS)
    try:
        answer = await served(request)
    except OperationalError:
        answer = refused(database_away())
    except KinoraError as error:
        answer = refused(error)
    for name, value in CORS.items():
        answer[name] = value
    return answer


def refused(error: KinoraError) -> HttpResponse:
    return JsonResponse(error.as_json(), status=error.status, headers=error.headers())


async def served(request: HttpRequest) -> HttpResponse:
    """Raises KinoraError."""
    found = parsed(request.path, request.META.get("QUERY_STRING", ""))
    file, ticket, step = found or ("", "", "")
    file_id, files = upload.file_of(file), shelf.now()
    if step == "complete" and request.method == "POST":
        parts = parts_of(body.read(request.body))
        return JsonResponse((await upload.complete(files, file_id, ticket, parts)).as_json())
    if request.method != "PUT" or step == "complete":
        raise MethodNotAllowed("PUT the bytes here, or POST to /complete.")
    if step:
        tag = await upload.put_part(files, file_id, ticket, int(step), pieces(request))
        told = {"partNumber": int(step), "etag": tag}
        return JsonResponse(told, headers={"ETag": tag})
    stored = await upload.put(files, file_id, ticket, pieces(request))
    return JsonResponse(stored.as_json(), headers={"ETag": upload.etag(stored.sha256 or "")})


async def pieces(request: HttpRequest) -> AsyncIterator[bytes]:
    """The body, which Django has put on disk."""
    while piece := await asyncio.to_thread(request.read, PIECE):
        yield piece


def parts_of(told: dict[str, Any]) -> list[tuple[int, str]]:
    """`{"parts": [{"partNumber", "etag"}]}`. Raises InvalidInput."""
    found = told.get("parts")
    if not isinstance(found, list) or len(found) > upload.MOST_PARTS:
        raise InvalidInput("parts must be a list of parts.", param="parts")
    return [one_part(part) for part in found]


def one_part(part: Any) -> tuple[int, str]:
    """Both spellings of the names that clients use."""
    told = part if isinstance(part, dict) else {}
    number = told.get("partNumber", told.get("part_number"))
    tag = told.get("etag", told.get("ETag"))
    if not isinstance(number, int) or isinstance(number, bool) or not isinstance(tag, str):
        raise InvalidInput("Each part needs a partNumber and an etag.", param="parts")
    return number, tag
