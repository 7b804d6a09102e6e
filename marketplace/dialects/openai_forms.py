"""What an OpenAI client asks for, from JSON or from a form with files.

Values of a form are text; the vocabulary gives them the type that a release wants. Files are kept
first and named by their address.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from django.conf import settings

from marketplace import body
from marketplace.dialects.contract import Desk, Request
from marketplace.errors import InvalidInput, TooLarge
from marketplace.media import accept
from marketplace.media.form import Form, Part, form
from marketplace.media.lifetime import lifetime

JSON_BYTES: int = settings.INLINE_BYTES
MULTIPART = "multipart/form-data"
INNER = ("image_url", "file_id", "id")  # what stands for a file inside an argument
TRUTH = {"true": True, "false": False, True: True, False: False}


class Asked:
    """Arguments that are taken one by one; what is left is the release's to judge."""

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        self.left = {name: value for name, value in arguments.items() if value is not None}

    def taken(self, name: str) -> Any:
        return self.left.pop(name, None)

    def text(self, name: str) -> str:
        """Raises InvalidInput where it is missing or no text."""
        value = self.taken(name)
        if not isinstance(value, str) or not value:
            raise InvalidInput(f"{name} is required, as text.", param=name)
        return value

    def choice(self, name: str, allowed: Sequence[str], default: str) -> str:
        value = self.left.pop(name, default)
        if value not in allowed:
            raise InvalidInput(f"{name} must be one of {', '.join(allowed)}.", param=name)
        return str(value)

    def number(self, name: str, least: int, most: int, default: int) -> int:
        value = self.left.pop(name, default)
        if isinstance(value, str) and value.isascii() and value.isdigit():
            value = int(value[:9])
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise InvalidInput(f"{name} must be from {least} to {most}.", param=name)
        return value

    def truth(self, name: str) -> bool:
        value = self.left.pop(name, False)
        if not isinstance(value, str | bool) or value not in TRUTH:
            raise InvalidInput(f"{name} must be true or false.", param=name)
        return TRUTH[value]

    def plain(self, name: str, allowed: Sequence[str]) -> None:
        """Drop a value that changes nothing. Raises InvalidInput for another."""
        if name in self.left:
            self.choice(name, allowed, allowed[0])

    def rest(self) -> dict[str, Any]:
        return self.left


@asynccontextmanager
async def asked(desk: Desk, request: Request, files: Mapping[str, str]) -> AsyncIterator[Asked]:
    """The arguments of a route that streams. files: a part's name → the argument it becomes.

    Raises MalformedBody, TooLarge, InvalidInput.
    """
    kind = request.headers.get("content-type", "")
    if not kind.lower().startswith(MULTIPART):
        yield Asked(flat(body.read(await whole(request))))
        return
    caller = await desk.caller(request, needs="run")
    async with form(chunks(request), kind) as sent:
        arguments: dict[str, Any] = flat({name: values[-1] for name, values in sent.fields.items()})
        for name, parts in by_argument(sent, files).items():
            kept = [await keep(desk, caller.team_id, part) for part in parts]
            arguments[name] = kept if len(kept) > 1 else kept[0]
        yield Asked(arguments)


def flat(said: Mapping[str, Any]) -> dict[str, Any]:
    """`input_reference[image_url]` of a form and its object in JSON are one argument; so is a
    file's id in its place, and `video[id]`."""
    found = {}
    for name, value in said.items():
        inner = value
        if isinstance(value, dict):
            inner = next((value[place] for place in INNER if value.get(place)), None)
        own, _, place = name.removesuffix("]").partition("[")
        found[own if place in INNER else name] = inner
    return found


def by_argument(sent: Form, files: Mapping[str, str]) -> dict[str, list[Part]]:
    found: dict[str, list[Part]] = {}
    for part in sent.files:
        field = part.field.removesuffix("[]")
        if field not in files:
            raise InvalidInput(f"{part.field[:80]} is no file here.", param=part.field[:80])
        found.setdefault(files[field], []).append(part)
    return found


async def keep(desk: Desk, team_id: UUID, part: Part) -> str:
    """Keep a part as a file of the team; gives its id, which inputs may name."""
    wish = accept.wish(team_id, lifetime(), name=part.name, param=part.field)
    return (await desk.files.accept(part.incoming, wish)).public_id


async def whole(request: Request) -> bytes:
    found = bytearray()
    async for chunk in chunks(request):
        found += chunk
        if len(found) > JSON_BYTES:
            raise TooLarge(f"The body is larger than {JSON_BYTES:,} bytes.", param="body")
    return bytes(found)


def chunks(request: Request) -> AsyncIterator[bytes]:
    if request.chunks is None:
        raise ValueError("This route streams.")
    return request.chunks
