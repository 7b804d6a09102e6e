"""A team's statement: everything that its charges follow from, as JSON lines, in one pass.

A header, each price version before its first run, every run that was admitted in the period and
has ended, and a total sealed with the hash of all lines before it. `docs/verify_statement.py`
redoes the arithmetic from these lines alone; it knows nothing of this code.
"""

import hashlib
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from itertools import islice
from typing import Any
from uuid import UUID

from asgiref.sync import sync_to_async
from django.http import StreamingHttpResponse

from marketplace import ids
from marketplace.errors import InvalidInput
from marketplace.metering.quote import priced_lines
from marketplace.metering.seal import canonical
from marketplace.runs.connections import Row, rows

PAGE = 100
LONGEST = 400  # days
CONTENT_TYPE = "application/x-ndjson"
DAY = 86_400_000  # ids are made by the web's clocks, created_at by the database's: far within a day
RUNS_SQL = """
SELECT r.id, l.slug || '/' || m.slug || '@' || e.version AS release, r.price_id, r.created_at,
       r.finished_at, r.inputs, r.project, r.end_user, r.state, r.outcome,
       h.state AS hold_state, h.quoted, h.amount AS held, h.captured,
       (SELECT coalesce(jsonb_agg(jsonb_build_object(
                   'unit', u.unit, 'requested', trim_scale(u.requested)::text,
                   'reported', trim_scale(u.reported)::text,
                   'measured', trim_scale(u.measured)::text,
                   'charged', trim_scale(u.quantity)::text) ORDER BY u.unit), '[]')
          FROM metering_meterevent u WHERE u.run_id = r.id) AS usage,
       (SELECT coalesce(jsonb_agg(jsonb_build_object(
                   'account', n.account, 'yours', n.yours, 'amount_nano', n.amount)), '[]')
          FROM ledger_transfer t, shown_entries(t.id) n
         WHERE t.run_id = r.id AND t.kind = 'charge') AS entries,
       (SELECT coalesce(jsonb_agg(jsonb_build_object(
                   'at', t.event_at, 'note', t.note, 'amount_nano', given.amount,
                   'entries', given.entries) ORDER BY t.id), '[]')
          FROM ledger_transfer t, LATERAL (
               SELECT sum(n.amount) FILTER (WHERE n.yours) AS amount,
                      jsonb_agg(jsonb_build_object(
                          'account', n.account, 'yours', n.yours,
                          'amount_nano', n.amount)) AS entries
                 FROM shown_entries(t.id) n) given
         WHERE t.run_id = r.id AND t.kind = 'refund') AS refunds
  FROM runs_run r
  JOIN ledger_hold h ON h.run_id = r.id AND h.currency = %s
  JOIN catalog_release e ON e.id = r.release_id
  JOIN catalog_model m ON m.id = e.model_id
  JOIN catalog_lab l ON l.id = m.lab_id
 WHERE r.team_id = %s AND r.id > %s AND r.id < %s
   AND r.created_at >= %s AND r.created_at < %s AND r.finished_at IS NOT NULL
 ORDER BY r.id LIMIT %s
"""
PRICES_SQL = """
SELECT p.id, l.slug || '/' || m.slug || '@' || e.version AS release, p.version, p.currency,
       p.segment, p.effective_from, p.lines, p.policy, p.digest
  FROM metering_price p
  JOIN catalog_release e ON e.id = p.release_id
  JOIN catalog_model m ON m.id = e.model_id
  JOIN catalog_lab l ON l.id = m.lab_id
 WHERE p.id = ANY(%s)
"""


def statement(
    team_id: UUID, start: date, end: date, currency: str = "USD"
) -> Iterator[dict[str, Any]]:
    """The lines for the days from `start` up to but without `end`, UTC. Holds a page at a time."""
    yield {
        "kind": "kinora.statement",
        "version": 2,
        "team": ids.public("team", team_id),
        "from": start.isoformat(),
        "to": end.isoformat(),
        "currency": currency,
    }
    told: dict[int, str] = {}
    runs = captured = refunded = 0
    for page in pages(team_id, midnight(start), midnight(end), currency):
        prices = {price["id"]: price for price in rows((PRICES_SQL, [prices_of(page)]))}
        for row in page:
            price = prices[row["price_id"]]
            if price["id"] not in told:
                said = price_line(price)
                told[price["id"]] = said["sha256"]
                yield said
            yield run_line(row, told[price["id"]], price)
        runs, captured = runs + len(page), captured + sum(row["captured"] for row in page)
        refunded += sum(refund["amount_nano"] for row in page for refund in row["refunds"])
    sums = {"captured_nano": captured, "refunded_nano": refunded}
    yield {"kind": "total", "runs": runs, **sums}


def pages(team_id: UUID, start: datetime, end: datetime, currency: str) -> Iterator[list[Row]]:
    """The period's ended runs by id, which the index by team and id gives without a sort."""
    after, before = first_id(start, -DAY), first_id(end, DAY)
    while page := rows((RUNS_SQL, [currency, team_id, after, before, start, end, PAGE])):
        yield page
        after = page[-1]["id"]


def prices_of(page: list[Row]) -> list[int]:
    return sorted({row["price_id"] for row in page})


def price_line(price: Row) -> dict[str, Any]:
    """All that the published digest seals; of a version from before there were digests, its own."""
    names = ("release", "version", "currency", "segment", "lines")
    said = {name: price[name] for name in names}
    said["effective_from"] = price["effective_from"].astimezone(UTC).isoformat()
    if price["policy"]:
        said["policy"] = price["policy"]
    return {"kind": "price"} | said | {"sha256": sha256(said)}


def run_line(row: Row, price_sha256: str, price: Row) -> dict[str, Any]:
    return {
        "kind": "run",
        "run": ids.public("run", row["id"]),
        "release": row["release"],
        "price_sha256": price_sha256,
        "created_at": row["created_at"].isoformat(),
        "finished_at": row["finished_at"].isoformat(),
        "inputs_sha256": sha256(row["inputs"]),
        **{
            name: row[name]
            for name in ("inputs", "project", "end_user", "state", "outcome", "hold_state")
        },
        **{f"{name}_nano": row[name] for name in ("quoted", "held", "captured")},
        "usage": row["usage"],
        "lines": charged_lines(row, price),
        "entries": row["entries"],
        "refunds": row["refunds"],
    }


def charged_lines(row: Row, price: Row) -> list[dict[str, str | None]]:
    """Quantity × unit price of what was charged; empty where nothing was."""
    if not row["captured"]:
        return []
    used = {event["unit"]: Decimal(event["charged"]) for event in row["usage"]}
    found = priced_lines(price["lines"], used, row["inputs"], row["created_at"])
    return [line.as_json() for line in found]


def midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def first_id(moment: datetime, shift: int) -> UUID:
    """The least UUIDv7 of a millisecond."""
    return UUID(int=max(0, int(moment.timestamp() * 1000) + shift) << 80)


def sha256(value: Any) -> str:
    return hashlib.sha256(canonical(value)).hexdigest()


# ── on its way to a reader ────────────────────────────────────────────────────────────────────


def sealed(lines: Iterator[dict[str, Any]]) -> Iterator[bytes]:
    """Lines of text; the last one carries the hash of all before it."""
    seal = hashlib.sha256()
    for line in lines:
        whole = line | {"sha256": seal.hexdigest()} if line["kind"] == "total" else line
        text = json.dumps(whole, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
        seal.update(text)
        yield text


def streamed(team_id: UUID, start: date, end: date) -> StreamingHttpResponse:
    """A download that is made while it is sent."""
    name = f"kinora-{start}-{end}.jsonl"
    return StreamingHttpResponse(
        pieces(sealed(statement(team_id, start, end))),
        content_type=CONTENT_TYPE,
        headers={
            "Content-Disposition": f'attachment; filename="{name}"',
            "Cache-Control": "private, no-store",
        },
    )


async def pieces(lines: Iterator[bytes]) -> AsyncIterator[bytes]:
    """A page of lines per turn in the thread that has Django's connection."""
    while piece := await sync_to_async(joined)(lines):
        yield piece


def joined(lines: Iterator[bytes]) -> bytes:
    return b"".join(islice(lines, PAGE))


def period(asked: Mapping[str, Any]) -> tuple[date, date]:
    """`from` and `to` of a query. Raises InvalidInput naming the one at fault."""
    start, end = day(asked, "from"), day(asked, "to")
    if end <= start:
        raise InvalidInput("to must be after from; it is the first day left out.", param="to")
    if (end - start).days > LONGEST:
        raise InvalidInput(f"from must be at most {LONGEST} days before to.", param="from")
    return start, end


def day(asked: Mapping[str, Any], name: str) -> date:
    try:
        return date.fromisoformat(asked.get(name, ""))
    except ValueError:
        raise InvalidInput(f"{name} must be a date such as 2026-11-20.", param=name) from None
