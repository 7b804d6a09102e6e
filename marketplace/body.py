"""Read a JSON body that may be hostile: too deep, not JSON, not an object."""

from typing import Any

import orjson
from django.conf import settings

from marketplace.errors import MalformedBody


def read(body: bytes) -> dict[str, Any]:
    """The object in `body`. Raises MalformedBody; NaN, Infinity and NUL are no JSON here."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as reason:
        raise MalformedBody(f"The body is not JSON: {reason}.") from None
    if not isinstance(value, dict):
        raise MalformedBody("The body must be a JSON object.")
    # Walking costs more than parsing; only a body with many brackets can be deep.
    if body.count(b"{") + body.count(b"[") > settings.BODY_DEPTH:
        shallow(value)
    if b"\\u0000" in body:
        without_nul(value)
    return value


def shallow(value: Any) -> None:
    """Raises MalformedBody where `value` is nested deeper than the settings allow."""
    level = [value]
    for _ in range(settings.BODY_DEPTH):
        level = [inner for outer in level for inner in inside(outer)]
        if not level:
            return
    raise MalformedBody(f"The body is nested deeper than {settings.BODY_DEPTH} levels.")


def without_nul(value: Any) -> None:
    """Raises MalformedBody where a string holds U+0000, which PostgreSQL cannot keep."""
    level = [value]
    while level:
        keys = [key for outer in level if isinstance(outer, dict) for key in outer]
        if any("\0" in text for text in [*keys, *level] if isinstance(text, str)):
            raise MalformedBody("The body holds the character U+0000.")
        level = [inner for outer in level for inner in inside(outer)]


def inside(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []
