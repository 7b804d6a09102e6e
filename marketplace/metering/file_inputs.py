"""Which inputs of a release are files, and what stands for them while a request is checked.

A schema marks them: a string of format `uri` with `x-media`, a kind or a list of kinds (`image`,
`video`, `audio`), alone or as the items of a list. No price looks into a file, so a request can be
validated, priced and refused before a byte of it is fetched. Pure.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from marketplace.errors import InvalidInput

PENDING = "kinora:file"  # a valid URI, which stands for any file
MOST = 16  # files of one run
Inputs = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Brought:
    """One file that a request brings. place: `image` or `images/0`; value: as it was sent."""

    place: str
    value: str
    kinds: tuple[str, ...]

    @property
    def param(self) -> str:
        return f"inputs.{self.place.replace('/', '.')}"


def kinds_of(declared: Mapping[str, Any]) -> tuple[str, ...]:
    """What kinds of file an input takes; none where it is no file."""
    kinds = declared.get("x-media", ()) if declared.get("format") == "uri" else ()
    return (kinds,) if isinstance(kinds, str) else tuple(kinds)


def brought(schema: Mapping[str, Any], inputs: Any) -> tuple[Brought, ...]:
    """The files among `inputs`, whatever else is right or wrong with them.

    Raises InvalidInput where they are too many.
    """
    if not isinstance(inputs, Mapping):
        return ()
    found = tuple(
        one
        for name, declared in schema.get("properties", {}).items()
        if name in inputs and isinstance(declared, Mapping)
        for one in files_at(name, declared, inputs[name])
    )
    if len(found) > MOST:
        raise InvalidInput(f"A run takes at most {MOST} files.", param="inputs")
    return found


def files_at(name: str, declared: Mapping[str, Any], value: Any) -> Iterator[Brought]:
    if kinds := kinds_of(declared):
        if isinstance(value, str):
            yield Brought(name, value, kinds)
        return
    items = declared.get("items")
    kinds = kinds_of(items) if isinstance(items, Mapping) else ()
    if kinds and isinstance(value, list):
        for place, item in enumerate(value):
            if isinstance(item, str):
                yield Brought(f"{name}/{place}", item, kinds)


def replaced(inputs: Inputs, values: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs with other values at some places; the given ones are left as they are."""
    made = dict(inputs)
    for place, value in values.items():
        name, _, number = place.partition("/")
        if not number:
            made[name] = value
        elif isinstance(made.get(name), list):
            made[name] = [*made[name]]
            made[name][int(number)] = value
    return made


def pending(schema: Mapping[str, Any], inputs: Inputs) -> dict[str, Any]:
    """The inputs with the same word for every file: what is checked, priced and quoted."""
    return replaced(inputs, {one.place: PENDING for one in brought(schema, inputs)})
