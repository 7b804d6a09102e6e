"""Addresses of media that expire and open one file for one method, nothing else.

Here they carry an HMAC over method, path, expiry and size; a bucket has presigned addresses of its
own. Whoever has the address has the file, until it expires.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from hmac import compare_digest
from typing import Any, Protocol
from urllib.parse import quote, urlencode

from django.conf import settings
from django.core.files.storage import default_storage
from django.utils.crypto import salted_hmac

from marketplace.media import store

STEP_SECONDS = 300  # expiries are rounded up to these, so that a browser may cache an address
UPLOAD_SECONDS = 15 * 60


lifetime: ContextVar[int] = ContextVar("lifetime", default=0)


@contextmanager
def lasting(seconds: int) -> Iterator[None]:
    """Addresses made in this block are good for so long: for what is read later than it is made."""
    before = lifetime.set(seconds)
    try:
        yield
    finally:
        lifetime.reset(before)


class Stored(Protocol):
    """What an address is made for: `runs.models.Output` and anything like it."""

    @property
    def path(self) -> str: ...
    @property
    def expires_at(self) -> datetime: ...


def download_url(output: Stored) -> tuple[str, datetime]:
    """Where the output can be had, and until when; never longer than it is kept."""
    seconds = lifetime.get() or settings.SIGNED_URL_SECONDS
    until = (int(time.time()) + seconds) // STEP_SECONDS * STEP_SECONDS + STEP_SECONDS
    until = min(until, int(output.expires_at.timestamp()))
    expires_at = datetime.fromtimestamp(until, UTC)
    if not store.is_local():
        return bucket_url(output.path, until), expires_at
    return settings.SITE_URL + address("GET", output.path, until), expires_at


def path_url(path: str, until: datetime) -> str:
    """Where a stored path can be read until then."""
    seconds = int(until.timestamp())
    if not store.is_local():
        return bucket_url(path, seconds)
    return str(settings.SITE_URL) + address("GET", path, seconds)


def upload_url(path: str, *, content_type: str, most: int) -> str:
    """Where `most` bytes may be PUT once. Ours is relative to whatever host the caller reached."""
    if not store.is_local():
        return bucket_upload_url(path, content_type)
    return address("PUT", path, int(time.time()) + UPLOAD_SECONDS, most)


def address(method: str, path: str, until: int, most: int = 0) -> str:
    query: dict[str, Any] = {"expires": until, "signature": signature(method, path, until, most)}
    if most:
        query["most"] = most
    return f"/media/{quote(path)}?{urlencode(query)}"


def signature(method: str, path: str, until: int, most: int = 0) -> str:
    text = f"{method}\n{path}\n{until}\n{most}"
    return salted_hmac("kinora.media", text, algorithm="sha256").hexdigest()


def opens(method: str, path: str, *, expires: str, signed: str, most: str = "0") -> bool:
    """Whether these words of an address open `path` for `method` now."""
    if not (expires.isdecimal() and most.isdecimal() and len(expires + most) < 30):
        return False
    right = signature(method, path, int(expires), int(most))
    return compare_digest(right.encode(), signed.encode()) and int(expires) > time.time()


def bucket_url(path: str, until: int) -> str:
    bucket: Any = default_storage  # S3Storage.url takes more than Storage.url
    kept = {"ResponseCacheControl": "private"}
    url: str = bucket.url(path, parameters=kept, expire=max(1, until - int(time.time())))
    return url


def bucket_upload_url(path: str, content_type: str) -> str:
    client = default_storage.connection.meta.client  # type: ignore[attr-defined]
    url: str = client.generate_presigned_url(
        "put_object",
        Params={"Bucket": settings.S3_BUCKET, "Key": path, "ContentType": content_type},
        ExpiresIn=UPLOAD_SECONDS,
    )
    return url
