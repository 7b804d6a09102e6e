"""Give and take media files by signed address, where no bucket does it.

A GET streams the file, or a range of it, as what its name says and nothing else; a PUT receives one
output of an attempt, once, up to the size that the address allows.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

from django.core.exceptions import SuspiciousFileOperation
from django.core.files.storage import default_storage
from django.db import OperationalError
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseRedirect,
    JsonResponse,
)
from django.http.response import StreamingHttpResponse
from django.views.decorators.csrf import csrf_exempt

from marketplace.errors import (
    Conflict,
    InvalidInput,
    KinoraError,
    NotAllowed,
    NotFound,
    TooLarge,
    database_away,
)
from marketplace.media import files, shelf, sign, store

PIECE = 256 * 1024
RANGE = re.compile(r"bytes=(\d*)-(\d*)")
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "same-site",
    "Accept-Ranges": "bytes",
}


@csrf_exempt
async def media(request: HttpRequest, path: str) -> HttpResponseBase:
    """GET, HEAD or PUT of one file. The address is the permission."""
    try:
        if request.method == "PUT":
            return await asyncio.to_thread(receive, request, path)
        if request.method in {"GET", "HEAD"}:
            return give(request, path)
    except KinoraError as error:
        return JsonResponse(error.as_json(), status=error.status)
    return HttpResponse(status=405, headers={"Allow": "GET, HEAD, PUT"})


def opened(request: HttpRequest, method: str, path: str) -> bool:
    return sign.opens(
        method,
        path,
        expires=request.GET.get("expires", ""),
        signed=request.GET.get("signature", ""),
        most=request.GET.get("most", "0"),
    )


@csrf_exempt
async def file(request: HttpRequest, **_path: str) -> HttpResponseBase:
    """GET or HEAD of a team's file by its own address, for as long as it is kept."""
    if request.method not in {"GET", "HEAD"}:
        return HttpResponse(status=405, headers={"Allow": "GET, HEAD"})
    try:
        named = files.named_by(request.path)
        found = await shelf.now().addressed(named) if named else None
        if found is None or found.state != "ready":
            raise files.missing()
        if not store.is_local():
            return HttpResponseRedirect(sign.download_url(found)[0])
        return sent(request, found.path)
    except OperationalError:
        error: KinoraError = database_away()
    except KinoraError as fault:
        error = fault
    return JsonResponse(error.as_json(), status=error.status, headers=error.headers())


def give(request: HttpRequest, path: str) -> HttpResponseBase:
    """Raises NotAllowed, NotFound."""
    if not opened(request, "GET", path):
        raise NotAllowed("This address has expired or is not whole.")
    return sent(request, path)


def sent(request: HttpRequest, path: str) -> HttpResponseBase:
    """The bytes, or the range of them that is asked for. Raises NotFound."""
    file = on_disk(path)
    if not file.is_file():
        raise NotFound("The file is gone.")
    size = file.stat().st_size
    headers = HEADERS | {
        "Content-Disposition": f'inline; filename="{file_name(path)}"',
        "Cache-Control": "private, max-age=300",
    }
    try:
        wanted = asked_range(request.headers.get("Range", ""), size)
    except ValueError:
        return HttpResponse(status=416, headers=headers | {"Content-Range": f"bytes */{size}"})
    first, last = wanted or (0, size - 1)
    headers["Content-Length"] = str(last - first + 1)
    if wanted:
        headers["Content-Range"] = f"bytes {first}-{last}/{size}"
    if request.method == "HEAD":
        return HttpResponse(content_type=store.content_type_of(path), headers=headers)
    return StreamingHttpResponse(
        pieces(file, first, last),
        status=206 if wanted else 200,
        content_type=store.content_type_of(path),
        headers=headers,
    )


def file_name(path: str) -> str:
    """What a browser calls the file when it is saved: run and place."""
    return f"kinora-{'-'.join(path.split('/')[1::2])}"


def asked_range(header: str, size: int) -> tuple[int, int] | None:
    """First and last byte asked for; None for all of it. Raises ValueError where it is beyond."""
    found = RANGE.fullmatch(header)
    if not found or found.groups() == ("", ""):
        return None
    if not found[1]:
        first, last = max(0, size - int(found[2])), size - 1
    else:
        first, last = int(found[1]), min(int(found[2] or size - 1), size - 1)
    if first > last:
        raise ValueError("beyond the file")
    return first, last


async def pieces(file: Path, first: int, last: int) -> AsyncIterator[bytes]:
    with await asyncio.to_thread(file.open, "rb") as opened_file:
        opened_file.seek(first)
        left = last - first + 1
        while left > 0:
            piece = await asyncio.to_thread(opened_file.read, min(PIECE, left))
            if not piece:
                return
            left -= len(piece)
            yield piece


def receive(request: HttpRequest, path: str) -> HttpResponse:
    """Keep what is PUT. The same bytes again are fine. Raises NotAllowed, TooLarge, Conflict."""
    if not opened(request, "PUT", path):
        raise NotAllowed("This address has expired or is not whole.")
    if request.content_type != store.content_type_of(path):
        raise InvalidInput("The address is for another content type.", param="Content-Type")
    most = int(request.GET["most"])
    with store.Incoming() as file:
        while piece := request.read(PIECE):
            file.write(piece)
            if file.bytes > most:
                raise TooLarge(f"At most {most} bytes may be put here.")
        try:
            file.keep(path)
        except store.AlreadyKept:
            raise Conflict("Something else was put here before.") from None
        return JsonResponse({"bytes": file.bytes, "sha256": file.sha256}, status=201)


def on_disk(path: str) -> Path:
    """Raises NotFound for a name that would leave the media folder."""
    try:
        return Path(default_storage.path(path))
    except SuspiciousFileOperation:
        raise NotFound("There is no such file.") from None
