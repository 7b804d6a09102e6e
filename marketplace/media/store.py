"""Where bytes are: Django's storage API, a folder here or a bucket in production.

A file is received into a temporary place, hashed on the way, probed there, and only then kept
under its name. A name carries run and attempt, so that a lost attempt never overwrites another's.
"""

import hashlib
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from django.conf import settings
from django.core.files import File
from django.core.files.storage import default_storage

EXTENSIONS = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/webp": "webp",
    "image/gif": "gif",
    "video/mp4": "mp4",
    "video/webm": "webm",
    "video/quicktime": "mov",
    "audio/wav": "wav",
    "audio/mpeg": "mp3",
    "audio/mp4": "m4a",
    "audio/flac": "flac",
    "audio/ogg": "ogg",
}
CONTENT_TYPES = {extension: content_type for content_type, extension in EXTENSIONS.items()}
MEBIBYTE = 1024 * 1024
ABANDONED_SECONDS = 3600
IN_MEMORY = MEBIBYTE
LARGEST = {"image": 32 * MEBIBYTE, "video": 256 * MEBIBYTE}  # bytes of one output


class AlreadyKept(Exception):
    """Another file has this name; a name is written once."""


def is_local() -> bool:
    return not settings.S3_BUCKET


def attempt_path(run: str, attempt: int, index: int, content_type: str) -> str:
    """Where output `index` of an attempt goes; the type decides how it is served."""
    return f"attempts/{run}/{attempt}/{index}.{EXTENSIONS[content_type]}"


def content_type_of(path: str) -> str:
    return CONTENT_TYPES.get(path.rpartition(".")[2], "application/octet-stream")


class Incoming:
    """A file on its way in. Gone at the end of the block unless it was kept.

    A small one is in memory until it is finished: to make a file may wait for the disk, which an
    event loop must not. Raises nothing for large files: the caller compares `bytes` with what it
    allows.
    """

    def __init__(self) -> None:
        self.first = bytearray()  # until there is a file
        self.file: tuple[Path, BinaryIO] | None = None
        self.hash = hashlib.sha256()
        self.bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self.file:
            path, file = self.file
            file.close()
            path.unlink(missing_ok=True)

    @property
    def sha256(self) -> str:
        return self.hash.hexdigest()

    def write(self, piece: bytes) -> None:
        self.hash.update(piece)
        self.bytes += len(piece)
        if self.file or self.bytes > IN_MEMORY:
            self.on_disk()[1].write(piece)
        else:
            self.first += piece

    def on_disk(self) -> tuple[Path, BinaryIO]:
        """The file and where it is, made now if there was none."""
        if self.file is None:
            handle, name = incoming()
            self.file = Path(name), os.fdopen(handle, "wb")
            self.file[1].write(self.first)
            self.first.clear()
        return self.file

    def finish(self) -> Path:
        """Make what was written readable, as a file at the path given."""
        path, file = self.on_disk()
        file.flush()
        return path

    def keep(self, name: str) -> None:
        """Give the file its name. The same bytes twice are fine; others raise AlreadyKept."""
        path = self.finish()
        if is_local():
            self._link(path, Path(default_storage.path(name)))
        else:
            with path.open("rb") as file:
                default_storage.save(name, File(file))

    def _link(self, path: Path, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(path, target)
        except FileExistsError:
            if digest(target) != self.sha256:
                raise AlreadyKept(str(target)) from None


def incoming() -> tuple[int, str]:
    """A new file beside the kept ones, on the same disk."""
    folder = Path(settings.MEDIA_ROOT) / "incoming"
    try:
        return tempfile.mkstemp(dir=folder)
    except FileNotFoundError:
        folder.mkdir(parents=True, exist_ok=True)
        return tempfile.mkstemp(dir=folder)


@contextmanager
def local(name: str) -> Iterator[Path]:
    """A readable file with the content of `name`. Raises FileNotFoundError."""
    if is_local():
        path = Path(default_storage.path(name))
        if not path.is_file():
            raise FileNotFoundError(name)
        yield path
        return
    if not default_storage.exists(name):
        raise FileNotFoundError(name)
    with Incoming() as copy, default_storage.open(name) as file:
        for piece in file.chunks():
            copy.write(piece)
        yield copy.finish()


def content(name: str) -> bytes:
    """All bytes of a file; for those that fit into memory."""
    with local(name) as file:
        return file.read_bytes()


def delete(name: str) -> None:
    """Delete a file, and the folders that it leaves empty. Repeats safely."""
    default_storage.delete(name)
    if is_local():
        path = Path(default_storage.path(name))
        with suppress(OSError):  # another attempt or output is still there
            path.parent.rmdir()
            path.parent.parent.rmdir()


def forget_abandoned() -> int:
    """Delete what was on its way in when its process was killed; gives how many files."""
    folder, forgotten = Path(settings.MEDIA_ROOT) / "incoming", 0
    for path in folder.glob("*"):
        with suppress(FileNotFoundError):  # its owner was quicker
            if time.time() - path.stat().st_mtime > ABANDONED_SECONDS:
                path.unlink()
                forgotten += 1
    return forgotten


def digest(path: Path) -> str:
    """SHA-256 of a local file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
