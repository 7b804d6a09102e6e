"""Read a multipart form that may carry files of any size, without ever holding one in memory.

The body goes to disk as it comes; Django's parser then reads it from there, and every file part
becomes a file on its way in. All of them are gone when the block ends.
"""

from collections.abc import AsyncIterable, AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.core.exceptions import RequestDataTooBig, TooManyFieldsSent, TooManyFilesSent
from django.core.files.uploadhandler import FileUploadHandler
from django.http.multipartparser import MultiPartParser, MultiPartParserError

from marketplace.errors import MalformedBody, TooLarge
from marketplace.media import accept, store
from marketplace.media.shelf import WRITERS, write

OVERHEAD = 1_000_000  # bytes of a form besides its files
MOST_FILES = 20
Refusals = (MultiPartParserError, TooManyFieldsSent, TooManyFilesSent)


@dataclass(frozen=True, slots=True)
class Part:
    """One file of a form. name and content_type: as its sender calls it, not to be believed."""

    field: str
    name: str
    content_type: str
    incoming: store.Incoming


@dataclass(frozen=True, slots=True)
class Form:
    """fields: all values of a name, in their order; files: in theirs."""

    fields: dict[str, list[str]] = field(default_factory=dict)
    files: list[Part] = field(default_factory=list)

    def text(self, name: str) -> str | None:
        """The last value of a field, as browsers count."""
        return self.fields[name][-1] if self.fields.get(name) else None

    def file(self, name: str) -> Part | None:
        """The first file under a name."""
        return next((part for part in self.files if part.field == name), None)


class Receiver(FileUploadHandler):
    """Writes each file part to disk and hashes it on the way."""

    def __init__(self, stack: ExitStack) -> None:
        super().__init__()
        self.stack = stack
        self.parts: list[Part] = []

    def new_file(
        self, field_name: str, file_name: str, content_type: str, *_: Any, **__: Any
    ) -> None:
        if len(self.parts) >= MOST_FILES:
            raise MalformedBody(f"A form may have {MOST_FILES} files.", param="body")
        incoming = self.stack.enter_context(store.Incoming())
        self.parts.append(Part(field_name, file_name, content_type or "", incoming))

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        incoming = self.parts[-1].incoming
        incoming.write(raw_data)
        accept.bounded(incoming, param=self.parts[-1].field)

    def file_complete(self, file_size: int) -> None:
        """Nothing is handed to Django: the parts are ours."""


@asynccontextmanager
async def form(chunks: AsyncIterable[bytes], content_type: str) -> AsyncIterator[Form]:
    """A form's fields and files. Raises MalformedBody, TooLarge."""
    with ExitStack() as stack:
        spool = stack.enter_context(store.Incoming())
        await write(spool, chunks, most=accept.largest() + OVERHEAD)
        yield await WRITERS.do(parsed, spool.finish(), spool.bytes, content_type, stack)


def parsed(path: Path, size: int, content_type: str, stack: ExitStack) -> Form:
    """Read a form from disk. Raises MalformedBody, TooLarge."""
    receiver = Receiver(stack)
    meta = {"CONTENT_TYPE": content_type, "CONTENT_LENGTH": size}
    try:
        with path.open("rb") as body:
            fields, _ = MultiPartParser(meta, body, [receiver]).parse()
    except RequestDataTooBig:
        raise TooLarge("The fields of the form are too large.", param="body") from None
    except Refusals as fault:
        raise MalformedBody(f"The body is no form that we can read: {fault}") from None
    return Form({name: list(values) for name, values in fields.lists()}, receiver.parts)
