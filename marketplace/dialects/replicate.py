"""Replicate's API of predictions: create, wait, read, list, cancel, stream.

Written after the HTTP that its clients speak. A wait that runs out says `starting`, since both
clients take anything else for the end. Knows no money; models are `replicate_catalog`'s.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import orjson
from django.conf import settings

from marketplace import body, errors, ids
from marketplace.dialects import replicate_catalog as catalog
from marketplace.dialects import replicate_files, replicate_showcase
from marketplace.dialects.contract import Desk, Reply, Request, Route, Row, Surface
from marketplace.dialects.submission import Wish, start
from marketplace.dialects.vocabulary import Unfit
from marketplace.runs import stream_ticket
from marketplace.runs.history import first_id
from marketplace.runs.view import TERMINAL, as_json
from marketplace.webhooks import schemes, targets

BASE = catalog.BASE
STATUS = {
    "queued": "starting",
    "running": "processing",
    "succeeded": "succeeded",
    "failed": "failed",
    "cancelled": "canceled",
}
EVENTS = {
    "start": schemes.STARTED,
    "logs": schemes.PROGRESS,
    "output": schemes.OUTPUT,
    "completed": schemes.FINISHED,
}
PREFER = re.compile(r"wait(?:=([1-9]|[1-9][0-9]|60))?")
LONGEST_WAIT = 60
AFTER = re.compile(r"(?:([0-9]{1,2})h)?(?:([0-9]{1,4})m)?(?:([0-9]{1,5})s?)?")
SHORTEST, LONGEST = 5, 24 * 3600  # seconds until a prediction is cancelled
PAGE = 100
SLACK = timedelta(hours=1)  # between the clock that a run's id has and the database's, at most
BETWEEN = (("created_after", "first", -SLACK), ("created_before", "end", SLACK))
NEVER = datetime(1, 1, 1, tzinfo=UTC)
TITLES = {
    400: "Bad request",
    401: "Unauthenticated",
    402: "Insufficient credit",
    403: "Forbidden",
    404: "Not found",
    405: "Method not allowed",
    409: "Conflict",
    413: "Payload too large",
    422: "Input validation failed",
    423: "Locked",
    429: "Too many requests",
    503: "Service unavailable",
}


# ── create ────────────────────────────────────────────────────────────────────────────────────


async def create(desk: Desk, request: Request) -> Reply:
    """By `version`: its 64 hex digits, `owner/name:version`, or `owner/name`."""
    caller = await desk.caller(request, needs="run")
    said = body.read(request.body)
    version = said.get("version")
    if not isinstance(version, str) or not version:
        raise errors.InvalidInput("version is required.", param="version")
    offers = await desk.offers(caller)
    return await predicted(desk, request, said, catalog.versioned(offers, version).full_name)


async def create_for_model(desk: Desk, request: Request, owner: str, name: str) -> Reply:
    """By model or deployment: the newest release, unless the body pins one."""
    caller = await desk.caller(request, needs="run")
    said = body.read(request.body)
    version = said.get("version")
    model = f"{owner}/{name}"
    if isinstance(version, str) and version:
        offers = await desk.offers(caller)
        model = catalog.versioned(offers, f"{model}:{version}").full_name
    return await predicted(desk, request, said, model)


async def predicted(desk: Desk, request: Request, said: Row, model: str) -> Reply:
    """Start it, and hold the answer as long as `Prefer` asks."""
    arguments = said.get("input")
    if not isinstance(arguments, dict):
        raise errors.InvalidInput("input must be an object.", param="input")
    wait = patience(request.headers.get("prefer"))
    deadline = cancel_at(request.headers.get("cancel-after"))
    wish = Wish(model, arguments, webhooks=told_to(said), waits=wait > 0, cancel_at=deadline)
    admitted = await start(desk, request, wish)
    row = admitted.row
    if wait and row["state"] not in TERMINAL:
        row = await desk.finished(UUID(row["id"]), wait) or row
    done = row["state"] in TERMINAL
    found = prediction(row) if done else prediction(row) | {"status": "starting"}
    return Reply(found, 201 if done or not wait else 202)


def told_to(said: Row) -> list[dict[str, Any]]:
    """The webhooks that a body names. Raises InvalidInput."""
    found = []
    if (url := said.get("webhook")) is not None:
        wanted = said.get("webhook_events_filter") or list(EVENTS)
        if not isinstance(wanted, list) or any(event not in EVENTS for event in wanted):
            raise errors.InvalidInput(
                f"webhook_events_filter must be some of {', '.join(EVENTS)}.",
                param="webhook_events_filter",
            )
        events = [EVENTS[event] for event in wanted]
        found.append(targets.target(url=url, events=events, scheme="replicate"))
    if (url := said.get("webhook_completed")) is not None:
        found.append(targets.target(url=url, scheme="replicate", param="webhook_completed"))
    return found


def render(row: Row, _event: schemes.Event) -> bytes:
    """What a webhook of Replicate's kind sends: the prediction."""
    return orjson.dumps(prediction(row))


def patience(prefer: str | None) -> int:
    """Seconds to hold the answer. Raises InvalidInput for another preference."""
    if prefer is None or prefer == "respond-async":
        return 0
    asked = PREFER.fullmatch(prefer.replace(" ", ""))
    if not asked:
        raise errors.InvalidInput("Prefer must be wait or wait=1 to wait=60.", param="Prefer")
    return int(asked[1] or LONGEST_WAIT)


def cancel_at(after: str | None) -> datetime | None:
    """When to cancel what has not ended by then. Raises InvalidInput."""
    if after is None:
        return None
    asked = AFTER.fullmatch(after.strip())
    hours, minutes, seconds = (int(part or 0) for part in asked.groups()) if asked else (0, 0, 0)
    span = hours * 3600 + minutes * 60 + seconds
    if not SHORTEST <= span <= LONGEST:
        raise errors.InvalidInput(
            "Cancel-After must be a time from 5s to 24h, such as 30s, 5m or 1h30m.",
            param="Cancel-After",
        )
    return datetime.now(UTC) + timedelta(seconds=span)


# ── a prediction ──────────────────────────────────────────────────────────────────────────────


def prediction(row: Row) -> dict[str, Any]:
    """The prediction object. `output` is a list of addresses for pictures, one for a clip."""
    run = as_json(row)
    gone = bool(run["outputs"]) and not any(o["url"] for o in run["outputs"])
    found = {
        "id": run["id"],
        "model": run["model"],
        "version": catalog.version_id(run["model"], run["release"]),
        "status": STATUS[run["state"]],
        "input": {} if gone else run["inputs"],
        "output": output(run["outputs"]),
        "error": run["error"]["message"] if run["error"] else None,
        "logs": logs(run),
        "metrics": metrics(run),
        "created_at": run["created_at"],
        "started_at": run["started_at"],
        "completed_at": run["finished_at"],
        "data_removed": gone,
        "source": "web" if row.get("by_hand") else "api",
        "urls": urls(UUID(row["id"]), run["id"]),
    }
    return found | {"deadline": row["cancel_at"]} if row.get("cancel_at") else found


def urls(run_id: UUID, public_id: str) -> dict[str, str]:
    """`stream` is read without credentials, so it carries a signed ticket."""
    own = f"{BASE}/predictions/{public_id}"
    return {
        "get": own,
        "cancel": f"{own}/cancel",
        "web": f"{settings.SITE_URL}/runs/{public_id}",
        "stream": f"{BASE}/streams/{stream_ticket.sign(run_id)}",
    }


def output(outputs: list[dict[str, Any]]) -> Any:
    """Signed addresses; None until there are some, and once all have expired."""
    found = [o["url"] for o in outputs if o["url"]]
    single = len(outputs) == 1 and outputs[0]["kind"] == "video"
    return (found[0] if single else found) if found else None


def metrics(run: Mapping[str, Any]) -> dict[str, float]:
    if run["finished_at"] is None:
        return {}
    running, waiting = run["running_seconds"] or 0.0, run["waiting_seconds"] or 0.0
    return {"predict_time": running, "total_time": round(running + waiting, 3)}


def logs(run: Mapping[str, Any]) -> str:
    """The line that the clients' `progress` reads."""
    told = run["progress"]
    if not told or not told["steps"]:
        return ""
    step, steps = told["step"], told["steps"]
    bar = "#" * (10 * step // steps)
    return f"{100 * step // steps:3d}%|{bar:<10}| {step}/{steps} [{told['stage']}]\n"


# ── read, list, cancel, stream ────────────────────────────────────────────────────────────────


async def owned(desk: Desk, request: Request, run: str) -> Row:
    caller = await desk.caller(request, needs="read")
    run_id = ids.private("run", run)
    row = await desk.run(run_id) if run_id else None
    if row is None or row["team_id"] != str(caller.team_id):
        raise errors.NotFound("The requested resource could not be found.")
    return row


async def read(desk: Desk, request: Request, run: str) -> Reply:
    return Reply(prediction(await owned(desk, request, run)))


async def listing(desk: Desk, request: Request) -> Reply:
    """A hundred per page, newest first; `next` is an absolute address with the same filters."""
    caller = await desk.caller(request, needs="read")
    cursor = request.query.get("cursor")
    before = ids.private("run", cursor) if cursor else None
    if cursor and before is None:
        raise errors.InvalidInput("cursor must come from `next`.", param="cursor")
    only = narrowed(request.query)
    rows = await desk.runs(caller.team_id, before=before, only=only, limit=PAGE + 1)
    page = [prediction(row) for row in rows[:PAGE]]
    more = None
    if len(rows) > PAGE:
        more = f"{BASE}/predictions?{urlencode({**request.query, 'cursor': page[-1]['id']})}"
    return Reply({"previous": None, "next": more, "results": page})


def narrowed(query: Mapping[str, str]) -> dict[str, Any]:
    """What `desk.runs` narrows by. Raises InvalidInput."""
    only: dict[str, Any] = {}
    for name, bound, slack in (
        ("created_after", "first", -SLACK),
        ("created_before", "end", SLACK),
    ):
        if name in query:
            only[name] = instant(query[name], name)
            only[bound] = first_id(only[name] + slack)
    if "source" in query:
        if query["source"] != "web":
            raise errors.InvalidInput("source must be web, or not be said.", param="source")
        only["by_hand"] = True
    return only


def instant(said: str, name: str) -> datetime:
    """Raises InvalidInput."""
    try:
        found = datetime.fromisoformat(said)
    except ValueError:
        found = NEVER
    if not 2000 < found.year < 2200:
        raise errors.InvalidInput(
            f"{name} must be a time such as 2026-11-20T00:00:00Z.", param=name
        )
    return found if found.tzinfo else found.replace(tzinfo=UTC)


async def cancel(desk: Desk, request: Request, run: str) -> Reply:
    """The prediction as it is then; one that has ended stays as it was."""
    await owned(desk, request, run)
    caller = await desk.caller(request, needs="run")
    run_id = ids.private("run", run)
    if run_id is None or not await desk.cancel(run_id, caller.team_id):
        raise errors.NotFound("The requested resource could not be found.")
    return Reply(prediction(await owned(desk, request, run)))


async def stream(desk: Desk, _request: Request, ticket: str) -> Reply:
    """Server-sent events of one run, for whoever holds its ticket."""
    if (run_id := stream_ticket.read(ticket)) is None:
        raise errors.NotFound("The requested resource could not be found.")
    return Reply(told(desk.changes(run_id)))


async def told(changes: AsyncIterator[Row | None]) -> AsyncIterator[bytes]:
    """Every event has an id: a client drops those without one."""
    number, last = 0, ""
    async for row in changes:
        if row is None:
            yield b": keep-alive\n\n"
            continue
        for event, data in events(row, last):
            number += 1
            last = data if event == "logs" else last
            yield f"event: {event}\nid: {number}:0\n{lines(data)}\n\n".encode()
    await asyncio.sleep(0)


def events(row: Row, last: str) -> list[tuple[str, str]]:
    """What is new about a run: its progress; at its end its outputs or its error, then `done`."""
    found = prediction(row)
    if row["state"] not in TERMINAL:
        return [("logs", found["logs"])] if found["logs"] not in ("", last) else []
    if found["status"] == "failed":
        reason = orjson.dumps({"reason": "error"}).decode()
        return [("error", orjson.dumps({"detail": found["error"]}).decode()), ("done", reason)]
    if found["status"] == "canceled":
        return [("done", orjson.dumps({"reason": "canceled"}).decode())]
    made = found["output"] or []
    several = made if isinstance(made, list) else [made]
    return [*(("output", address) for address in several), ("done", "{}")]


def lines(data: str) -> str:
    return "\n".join(f"data: {line}" for line in data.rstrip("\n").split("\n"))


# ── errors ────────────────────────────────────────────────────────────────────────────────────


def refused(error: errors.KinoraError) -> Reply:
    """RFC 7807, always an object, whose `detail` is text."""
    found: dict[str, Any] = {
        "title": TITLES.get(error.status, "Internal server error"),
        "detail": error.message,
        "status": error.status,
        "type": f"{settings.SITE_URL}/docs/errors#{error.code}",
    }
    if error.status == 422 and error.param:
        field = f"input.{error.param}" if isinstance(error, Unfit) else error.param
        fault = {"type": error.code, "field": field, "description": error.message}
        found["invalid_fields"] = [fault]
    return Reply(found, error.status, error.headers())


PREDICTIONS = "/replicate/v1/predictions"
ROUTES = (
    Route("POST", PREDICTIONS, create, keyed=True),
    Route("GET", PREDICTIONS, listing),
    Route("GET", f"{PREDICTIONS}/{{run}}", read),
    Route("POST", f"{PREDICTIONS}/{{run}}/cancel", cancel),
    Route("POST", "/replicate/v1/models/{owner}/{name}/predictions", create_for_model, keyed=True),
    Route(
        "POST", "/replicate/v1/deployments/{owner}/{name}/predictions", create_for_model, keyed=True
    ),
    Route("GET", "/replicate/v1/streams/{ticket}", stream),
    *replicate_showcase.ROUTES,
    *catalog.ROUTES,
    *replicate_files.ROUTES,
)
SURFACE = Surface(("/replicate/",), ROUTES, refused)
