"""Serve `/static/`: style sheets, modules and pictures, from memory, with an ETag.

Behind a proxy that serves STATIC_ROOT itself nothing arrives here.
"""

import hashlib
import mimetypes
from collections.abc import Awaitable, Callable, MutableMapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from django.contrib.staticfiles import finders

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
TEXTS = ("text/", "image/svg")


@lru_cache(maxsize=512)
def loaded(path: str, _changed: int) -> tuple[bytes, bytes]:
    """A file and its ETag; read again when its time of change moves."""
    body = Path(path).read_bytes()
    return body, b'"' + hashlib.sha256(body).hexdigest()[:20].encode() + b'"'


async def serve(scope: Scope, send: Send) -> None:
    """Answer one request below /static/."""
    name = scope["path"].removeprefix("/static/")
    path = finders.find(name) if name and ".." not in name else None
    if not isinstance(path, str) or not Path(path).is_file():
        await send({"type": "http.response.start", "status": 404, "headers": []})
        await send({"type": "http.response.body", "body": b""})
        return
    body, etag = loaded(path, Path(path).stat().st_mtime_ns)
    same = dict(scope["headers"]).get(b"if-none-match") == etag
    headers = [
        (b"content-type", content_type(path).encode()),
        (b"etag", etag),
        (b"cache-control", b"public, max-age=60, stale-while-revalidate=86400"),
        (b"x-content-type-options", b"nosniff"),
    ]
    await send({"type": "http.response.start", "status": 304 if same else 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if same else body})


def content_type(path: str) -> str:
    kind = TYPES.get(Path(path).suffix) or mimetypes.guess_type(path)[0]
    kind = kind or "application/octet-stream"
    return f"{kind}; charset=utf-8" if kind.startswith(TEXTS) else kind
