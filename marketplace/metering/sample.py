"""Sample inputs of a release, to price: what its schema and its prices' tables tell apart. Pure."""

from collections.abc import Mapping
from typing import Any

from marketplace.metering.quote import PriceLines, terms_of

TEXT = "a lantern at dusk " * 8


def samples(schema: Mapping[str, Any], *books: PriceLines) -> list[dict[str, Any]]:
    """Inputs to price: plain ones, each input at its ends, and what tables and factors ask for."""
    declared = schema.get("properties", {})
    typical = plain(schema)
    largest = typical | {name: ends[-1] for name, d in declared.items() if (ends := reach(d))}
    ends = [{name: value} for name, d in declared.items() for value in reach(d)]
    asked = [
        dict(case.when)
        for book in books
        for term in terms_of(book)
        for case in (*term.table, *term.factors)
    ]
    found = [typical, largest, *(typical | one for one in ends)]
    return found + [base | case for base in (typical, largest) for case in asked]


def plain(schema: Mapping[str, Any]) -> dict[str, Any]:
    """What a caller sends who fills in only what is required; the defaults stand for the rest."""
    found = {
        name: usual(declared)
        for name, declared in schema.get("properties", {}).items()
        if "default" in declared or name in schema.get("required", [])
    }
    return {name: value for name, value in found.items() if value is not None}


def usual(declared: Mapping[str, Any]) -> Any:
    """The default, else the first or least that is allowed, else a text."""
    if "default" in declared:
        return declared["default"]
    if found := reach(declared):
        return found[0]
    return (
        TEXT[: declared.get("maxLength", len(TEXT))] if declared.get("type") == "string" else None
    )


def reach(declared: Mapping[str, Any]) -> list[Any]:
    """The values that an input can have at its ends."""
    if "enum" in declared:
        return list(declared["enum"])
    if declared.get("type") == "boolean":
        return [False, True]
    return [declared[end] for end in ("minimum", "maximum") if end in declared]
