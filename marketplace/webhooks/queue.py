"""Deliveries as the functions of `deliver.sql` take and give them, on Django's connection."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import orjson
from django.db import connection

from marketplace import ids
from marketplace.webhooks.schemes import FINISHED, RANKS, Event
from marketplace.webhooks.sign import Parcel

LEASE = "60 s"  # longer than any try
PATIENCE = "3 d"  # with an endpoint that fails and fails
CONTROL = re.compile(r"[\x00-\x1f\x7f]+")


@dataclass(frozen=True, slots=True)
class Result:
    """How a try went, and what follows. wait: seconds until the next, where state is pending."""

    parcel: Parcel
    state: str
    wait: float | None
    status: int | None
    latency_ms: int
    error: str
    answer: str

    def as_json(self) -> dict[str, Any]:
        return {
            "id": str(self.parcel.id),
            "number": self.parcel.number,
            "state": self.state,
            "wait": self.wait,
            "status": self.status,
            "latency_ms": self.latency_ms,
            "error": CONTROL.sub(" ", self.error)[:300],
            "answer": CONTROL.sub(" ", self.answer)[:500],
        }


def delivery(
    *,
    team_id: str,
    target: str,
    url: str,
    scheme: str,
    event: Event,
    body: bytes,
    run_id: str | None = None,
    endpoint_id: str | None = None,
    rank: int = RANKS[FINISHED],
) -> dict[str, Any]:
    """One item of `queue_deliveries`."""
    return {
        "id": str(ids.uuid7()),
        "team_id": team_id,
        "endpoint_id": endpoint_id,
        "run_id": run_id,
        "target": target,
        "url": url,
        "host": host(url),
        "scheme": scheme,
        "event_id": event.id,
        "event_type": event.type,
        "rank": rank,
        "body": body.decode(),
    }


def host(url: str) -> str:
    """What tries at once are counted by."""
    return urlsplit(url).netloc.lower()[:260]


def queue(items: Sequence[Mapping[str, Any]]) -> int:
    """Queue deliveries in one commit; gives how many were new."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT queue_deliveries(%s::jsonb)", [dumped(list(items))])
        return int(cursor.fetchone()[0])


def take(*, limit: int, per_host: int, busy: Mapping[str, int], lease: str = LEASE) -> list[Parcel]:
    """Due deliveries, each for this caller alone until its lease is over."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT * FROM take_deliveries(%s, %s, %s::jsonb, %s)",
            [limit, per_host, dumped(dict(busy)), lease],
        )
        names = [column.name for column in cursor.description or ()]
        return [parcel(dict(zip(names, row, strict=True))) for row in cursor.fetchall()]


def parcel(row: Mapping[str, Any]) -> Parcel:
    return Parcel(**{**row, "body": row["body"].encode()})


def dumped(value: Any) -> str:
    return orjson.dumps(value).decode()


def record(results: Iterable[Result]) -> None:
    """Keep how tries went, in one commit. Repeats safely."""
    items = [result.as_json() for result in results]
    with connection.cursor() as cursor:
        cursor.execute("SELECT record_deliveries(%s::jsonb, %s)", [dumped(items), PATIENCE])
