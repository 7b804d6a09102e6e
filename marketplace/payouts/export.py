"""A statement to take home: JSON lines under their hash, or CSV with a row per line.

The hash in the last JSON line is over the bytes of all lines between the first and it.
"""

import csv
import io
from collections.abc import AsyncIterator, Iterator
from itertools import islice
from typing import Any

from asgiref.sync import sync_to_async
from django.http import StreamingHttpResponse

from marketplace.metering.seal import canonical
from marketplace.money import Money, plain
from marketplace.payouts.close import line_json
from marketplace.payouts.models import Statement, StatementLine

PAGE = 500
TYPES = {"json": "application/x-ndjson", "csv": "text/csv; charset=utf-8"}
COLUMNS = ("line", "run", "at", "kind", "model", "gross", "owed", "currency", "credits", "borne")


def as_json(statement: Statement) -> Iterator[bytes]:
    """Header, lines, and the total with their hash."""
    head = {"kind": "kinora.lab_statement", "version": 1, "statement": statement.public_id}
    yield canonical(head | {"lab": statement.lab.slug, "unit": "nano"}) + b"\n"
    for line in lines(statement):
        yield canonical(line_json(line.position, vars(line))) + b"\n"
    yield canonical({"kind": "total"} | told(statement)) + b"\n"


def as_csv(statement: Statement) -> Iterator[bytes]:
    """Amounts as decimals of the currency; credits as `funder=amount`, apart by spaces."""
    yield row(COLUMNS)
    for line in lines(statement):
        said = line_json(line.position, vars(line))
        amounts = {name: plain(said[name]) for name in ("gross", "owed")}
        paid = {name: named(said[name]) for name in ("credits", "borne")}
        whole = said | amounts | paid | {"currency": statement.currency}
        yield row([whole[name] for name in COLUMNS])


def lines(statement: Statement) -> Iterator[StatementLine]:
    """A page at a time, each by the index on the place."""
    place = 0
    while page := list(statement.lines.filter(position__gte=place).order_by("position")[:PAGE]):
        yield from page
        place = page[-1].position + 1


def named(amounts: dict[str, int]) -> str:
    return " ".join(f"{funder}={plain(amount)}" for funder, amount in sorted(amounts.items()))


def row(values: Any) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerow(values)
    return text.getvalue().encode()


def told(statement: Statement) -> dict[str, Any]:
    """A statement's figures as the API tells them."""
    amounts = ("gross", "refunded", "share", "cost", "adjustments", "burned", "payable", "opening")
    return {
        "id": statement.public_id,
        "lab": statement.lab.slug,
        "currency": statement.currency,
        "from": statement.start.isoformat(),
        "to": statement.end.isoformat(),
        "closed_at": statement.closed_at.isoformat(),
        "lines": statement.lines_count,
        **{name: money(getattr(statement, name), statement) for name in amounts},
        "closing": money(statement.opening + statement.payable, statement),
        "credits": {name: money(n, statement) for name, n in statement.credits.items()},
        "borne": {name: money(n, statement) for name, n in statement.borne.items()},
        "guarantees": [
            {"agreement": int(version)} | {name: money(n, statement) for name, n in each.items()}
            for version, each in statement.guarantees.items()
        ],
        "sha256": statement.sha256,
    }


def money(amount: int, statement: Statement) -> dict[str, Any]:
    return Money(amount, statement.currency).as_json()


def download(statement: Statement, kind: str) -> StreamingHttpResponse:
    """An export that is made while it is sent. kind: of TYPES."""
    made = as_csv(statement) if kind == "csv" else as_json(statement)
    name = f"{statement.lab.slug}-{statement.end:%Y-%m-%d}.{'csv' if kind == 'csv' else 'jsonl'}"
    return StreamingHttpResponse(
        pieces(made),
        content_type=TYPES[kind],
        headers={
            "Content-Disposition": f'attachment; filename="{name}"',
            "Cache-Control": "private, no-store",
        },
    )


async def pieces(made: Iterator[bytes]) -> AsyncIterator[bytes]:
    """A page per turn in the thread that has Django's connection."""
    while piece := await sync_to_async(joined)(made):
        yield piece


def joined(made: Iterator[bytes]) -> bytes:
    return b"".join(islice(made, PAGE))
