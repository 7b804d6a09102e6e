"""Tell of runs: turns the outbox that claims and settlements wrote into deliveries.

An event's id comes from the run and what happened, so telling twice queues once. Rows leave the
outbox in the commit that queues their deliveries.
"""

import logging
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from marketplace.media import sign
from marketplace.runs.connections import Row, rows
from marketplace.runs.view import MANY_RUNS_SQL, TERMINAL, read
from marketplace.webhooks import queue, schemes
from marketplace.webhooks.schemes import FINISHED, OUTPUT, PROGRESS, STARTED, Event

log = logging.getLogger(__name__)

AT_ONCE = 2000
PUT_OFF_SECONDS = 60.0
URL_SECONDS = 26 * 3600  # addresses of outputs in a body are good until its last try and beyond
# One row of progress waits per run and it is told half a second late: so at most twice a second.
UNTOLD_SQL = """
SELECT o.id, o.topic, o.key::uuid AS run_id, o.created_at, r.webhooks, (
           SELECT jsonb_agg(jsonb_build_object('id', e.id, 'url', e.url, 'types', e.event_types)
                            ORDER BY e.id)
             FROM webhooks_endpoint e WHERE e.team_id = r.team_id AND e.disabled_at IS NULL
       ) AS endpoints
  FROM (SELECT * FROM runs_outbox
         WHERE topic IN ('run.started', 'run.progress', 'run.finished') AND id <> ALL (%s)
           AND (topic <> 'run.progress' OR created_at < now() - interval '500 ms')
         ORDER BY id LIMIT %s) o
  LEFT JOIN runs_run r ON r.id = o.key::uuid
 ORDER BY o.id"""
TELL_SQL = "SELECT tell_runs(%s, %s)"

put_off: dict[int, float] = {}  # rows whose renderer broke, and until when they are left alone


def deliver() -> int:
    """Queue what has to be told; gives how many events of runs were drained."""
    total = 0
    while found := untold():
        total += len(found)
        told(found)
        if len(found) < AT_ONCE:
            break
    return total


def untold() -> list[Row]:
    for row_id in [r for r, until in put_off.items() if until < time.monotonic()]:
        del put_off[row_id]
    return rows((UNTOLD_SQL, [list(put_off), AT_ONCE]))


def told(found: list[Row]) -> None:
    """Queue the deliveries of these outbox rows and drop the rows, in one commit."""
    wanted = [row for row in found if row["webhooks"] or row["endpoints"]]
    known = runs([row["run_id"] for row in wanted])
    items: list[dict[str, Any]] = []
    done = {row["id"] for row in found}
    for row in wanted:
        try:
            with sign.lasting(URL_SECONDS):
                items += deliveries(row, known[row["run_id"]])
        except Exception:
            log.exception("run %s cannot be told of; it is tried again", row["run_id"])
            put_off[row["id"]] = time.monotonic() + PUT_OFF_SECONDS
            done.discard(row["id"])
    rows((TELL_SQL, [Jsonb(items), list(done)]))


def runs(run_ids: list[UUID]) -> dict[UUID, Row]:
    if not run_ids:
        return {}
    found = rows((MANY_RUNS_SQL, [run_ids]))
    read_rows = [read(row["row_to_json"]) for row in found]
    return {UUID(row["id"]): row for row in read_rows}


def deliveries(untold: Row, run: Row) -> Iterator[dict[str, Any]]:
    """Items of `queue_deliveries` for one outbox row."""
    for event, row in happened(untold, run):
        for n, hook in enumerate(untold["webhooks"] or ()):
            if event.type in hook["events"]:
                yield from one(row, event, hook["scheme"], hook["url"], f"run:{n}")
        for endpoint in untold["endpoints"] or ():
            yield from to_endpoint(row, event, endpoint)


def to_endpoint(row: Row, event: Event, endpoint: Row) -> Iterator[dict[str, Any]]:
    for word in schemes.types_of(event.type, row["state"]):
        if word in endpoint["types"]:
            same = word == event.type
            named = event if same else Event(schemes.event_id(row["id"], word), word, event.at)
            yield from one(
                row,
                named,
                schemes.TYPES[word],
                endpoint["url"],
                f"endpoint:{endpoint['id']}",
                endpoint_id=endpoint["id"],
                rank=schemes.RANKS[event.type],
            )


def one(
    row: Row,
    event: Event,
    scheme: str,
    url: str,
    target: str,
    *,
    endpoint_id: str | None = None,
    rank: int | None = None,
) -> Iterator[dict[str, Any]]:
    """The delivery of `event` to one address, unless its scheme has nothing to say about it."""
    body = schemes.render(scheme, row, event)
    if body is not None:
        yield queue.delivery(
            team_id=row["team_id"],
            run_id=row["id"],
            endpoint_id=endpoint_id,
            target=target,
            url=url,
            scheme=scheme,
            event=event,
            body=body,
            rank=schemes.RANKS[event.type] if rank is None else rank,
        )


def happened(untold: Row, run: Row) -> Iterator[tuple[Event, Row]]:
    """The events in one outbox row, each with the run as it then was, in their order."""
    topic, ended = untold["topic"], run["state"] in TERMINAL
    if topic == STARTED:
        yield event(run, STARTED, run["started_at"]), before_the_end(run) | {"outputs": None}
    elif topic == PROGRESS and not ended:
        yield event(run, PROGRESS, untold["created_at"], untold["id"]), run
    elif topic == FINISHED:
        if run["outputs"]:
            yield event(run, OUTPUT, run["finished_at"]), before_the_end(run)
        yield event(run, FINISHED, run["finished_at"]), run


def event(run: Row, kind: str, at: str | datetime, *more: object) -> Event:
    when = datetime.fromisoformat(at) if isinstance(at, str) else at
    return Event(schemes.event_id(run["id"], kind, *more), kind, when)


def before_the_end(run: Row) -> Row:
    """The row of a run as it was while it ran."""
    nothing = dict.fromkeys(("outcome", "finished_at", "error", "usage", "checks"))
    return run | nothing | {"state": "running", "hold_state": "open", "captured": 0}
