"""fal's clients: run, the queue, their streams. A translation to `submission` and no more."""

import re
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson

from marketplace import body, errors, ids
from marketplace.dialects import fal_bodies as bodies
from marketplace.dialects.contract import Desk, Reply, Request, Route, Row, Surface
from marketplace.dialects.fal_account import ROUTES as ACCOUNT
from marketplace.dialects.fal_platform import ROUTES as PLATFORM
from marketplace.dialects.fal_proxy import Proxy
from marketplace.dialects.fal_realtime import ROUTES as REALTIME
from marketplace.dialects.fal_realtime import SOCKETS, passed
from marketplace.dialects.fal_storage import ROUTES as STORAGE
from marketplace.dialects.fal_storage import kept
from marketplace.dialects.submission import Wish, start
from marketplace.runs.view import TERMINAL
from marketplace.webhooks import secrets
from marketplace.webhooks.targets import target

LONGEST_RUN = 900.0  # seconds that a run's own answer is waited for
PATIENCE = 2  # quiet turns of ten seconds before a stream begins without anything to show
PRIORITY, PRIORITIES = "x-fal-queue-priority", {"normal": 0, "low": -1}
TIMEOUT, LONGEST_START = "x-fal-request-timeout", 86_400
SECONDS = re.compile(r"[0-9]{1,6}(\.[0-9]{1,9})?")
OURS = ("fal_jwt_token", "fal_webhook")  # of a query, and no input
YES = ("1", "true", "yes")

# ── starting ──────────────────────────────────────────────────────────────────────────────────


async def run(desk: Desk, request: Request, model: str) -> Reply:
    """Run and answer with the output."""
    row = await begun(desk, request, model, waits=True)
    if row["state"] not in TERMINAL:
        row = await desk.finished(UUID(row["id"]), LONGEST_RUN) or row
    if row["state"] in TERMINAL:
        return bodies.result(row)
    text = "The run is not done yet; its result can be had from the queue."
    late = bodies.told(text, "request_timeout")
    return Reply(late, 504, bodies.heads(row) | bodies.LATE)


async def submit(desk: Desk, request: Request, model: str) -> Reply:
    """Queue a run and answer with its addresses."""
    row = await begun(desk, request, model, waits=False)
    told = bodies.addresses(row)
    place = await desk.ahead(UUID(row["id"]))
    queued = {"status": "IN_QUEUE", **told, "queue_position": place, "logs": None, "metrics": {}}
    return Reply(queued, 200, bodies.heads(row))


async def begun(desk: Desk, request: Request, model: str, *, waits: bool) -> Row:
    """Admit a run for the model of an address. Raises Kinora's errors."""
    if request.method == "HEAD":
        raise errors.MethodNotAllowed("A run is started with POST.")
    hook = request.query.get("fal_webhook")
    wish = Wish(
        model=model,
        arguments=arguments(request),
        webhooks=[target(url=hook, scheme="fal", param="fal_webhook")] if hook else (),
        waits=waits,
        priority=priority(request),
        start_by=start_by(request),
        kept=kept(request),
        most_attempts=1 if request.headers.get("x-fal-no-retry", "").lower() in YES else None,
    )
    caller = await passed(desk, request, model) if "fal_jwt_token" in request.query else None
    return (await start(desk, request, wish, caller=caller)).row


def priority(request: Request) -> int:
    """Raises MalformedBody."""
    said = request.headers.get(PRIORITY, "normal")
    if said not in PRIORITIES:
        text = f"{PRIORITY.title()} must be one of {', '.join(PRIORITIES)}."
        raise errors.MalformedBody(text, param=PRIORITY.title())
    return PRIORITIES[said]


def start_by(request: Request) -> datetime | None:
    """Until when the run has to have begun. Raises MalformedBody."""
    said = request.headers.get(TIMEOUT)
    if said is None:
        return None
    if not SECONDS.fullmatch(said) or not 0 < float(said) <= LONGEST_START:
        text = f"{TIMEOUT.title()} must be a number of seconds up to {LONGEST_START}."
        raise errors.MalformedBody(text, param=TIMEOUT.title())
    return datetime.now(UTC) + timedelta(seconds=float(said))


def arguments(request: Request) -> Mapping[str, Any]:
    """The input is the body itself, or the query of a GET."""
    if request.method == "GET":
        return {name: said for name, said in request.query.items() if name not in OURS}
    return body.read(request.body) if request.body else {}


# ── the queue ─────────────────────────────────────────────────────────────────────────────────


async def status(desk: Desk, request: Request, model: str, run: str) -> Reply:
    row = await owned(desk, request, model, run)
    lines = bodies.logs(row) if wants_logs(request) else None
    told = bodies.status(row, ahead=await ahead(desk, row), lines=lines)
    return Reply(told, 200 if row["state"] in TERMINAL else 202, bodies.heads(row))


async def result(desk: Desk, request: Request, model: str, run: str) -> Reply:
    return bodies.result(await owned(desk, request, model, run))


async def cancel(desk: Desk, request: Request, model: str, run: str) -> Reply:
    """Ask for the end of a run; one that has ended already says so."""
    try:
        row = await owned(desk, request, model, run)
    except errors.NotFound as missing:
        return Reply(bodies.told(missing.message, missing.code) | {"status": "NOT_FOUND"}, 404)
    if row["state"] in TERMINAL:
        text = "The request has been completed already."
        late = bodies.told(text, "bad_request") | {"status": "ALREADY_COMPLETED"}
        return Reply(late, 400, bodies.heads(row))
    caller = await desk.caller(request, needs="run")
    await desk.cancel(UUID(row["id"]), caller.team_id)
    asked = {"status": "CANCELLATION_REQUESTED"}
    return Reply(asked, 200 if row["state"] == "queued" else 202, bodies.heads(row))


async def owned(desk: Desk, request: Request, model: str, run: str) -> Row:
    """The team's run. The address names its lab and model, and may name more of the model."""
    caller = await desk.caller(request, needs="read")
    run_id = ids.private("run", run)
    row = await desk.run(run_id) if run_id else None
    if row is None or row["team_id"] != str(caller.team_id) or not names(model, row):
        raise errors.NotFound(f"There is no request {run[:80]}.", param="request_id")
    return row


def names(model: str, row: Row) -> bool:
    lab, _, rest = model.partition("/")
    return bool(row["model"] == f"{lab}/{rest.partition('/')[0].partition('@')[0]}")


def wants_logs(request: Request) -> bool:
    return request.query.get("logs", "").lower() in YES


async def ahead(desk: Desk, row: Row) -> int:
    return await desk.ahead(UUID(row["id"])) if row["state"] == "queued" else 0


# ── streams ───────────────────────────────────────────────────────────────────────────────────


async def follow(desk: Desk, request: Request, model: str, run: str) -> Reply:
    """Statuses as server-sent events, until the run has ended."""
    row = await owned(desk, request, model, run)
    return Reply(statuses(desk, row, with_logs=wants_logs(request)), headers=bodies.heads(row))


async def statuses(desk: Desk, row: Row, *, with_logs: bool) -> AsyncIterator[bytes]:
    """Each with the log lines that the one before did not have."""
    sent: set[str] = set()
    async for now in desk.changes(UUID(row["id"])):
        if now is None:
            yield b": keep-alive\n\n"
            continue
        lines = [line for line in bodies.logs(now) if line["message"] not in sent]
        sent.update(line["message"] for line in lines)
        place = await ahead(desk, now)
        yield event(bodies.status(now, ahead=place, lines=lines if with_logs else None))


async def stream(desk: Desk, request: Request, model: str) -> Reply:
    """Run and send what is seen of it: previews first, the output last.

    A run that fails before anything was seen of it answers with its error's own status.
    """
    row = await begun(desk, request, model, waits=True)
    changes = desk.changes(UUID(row["id"]))
    first, quiet = await anext(changes), 0
    while quiet < PATIENCE and not shows(first):
        first = await anext(changes)
        quiet += first is None
    if first and first["state"] in TERMINAL and first["state"] != "succeeded":
        return bodies.result(first)
    return Reply(partials(first, changes), headers=bodies.heads(row))


def shows(row: Row | None) -> bool:
    return bool(row and (row["state"] in TERMINAL or preview(row)))


def preview(row: Row) -> str:
    return (row["progress"] or {}).get("preview") or ""


async def partials(first: Row | None, changes: AsyncIterator[Row | None]) -> AsyncIterator[bytes]:
    last = ""
    async for row in preceded(first, changes):
        if row is None:
            yield b": keep-alive\n\n"
        elif row["state"] in TERMINAL:
            yield event(bodies.result(row).body)
        elif (seen := preview(row)) and seen != last:
            last = seen
            yield event(bodies.partial(row))


async def preceded(
    first: Row | None, changes: AsyncIterator[Row | None]
) -> AsyncIterator[Row | None]:
    yield first
    async for row in changes:
        yield row


def event(data: Any) -> bytes:
    return b"data: " + orjson.dumps(data) + b"\n\n"


async def keys(_desk: Desk, _request: Request) -> Reply:
    """The public keys that sign webhooks."""
    return Reply(secrets.jwks())


async def preflight(_desk: Desk, request: Request, **_: str) -> Reply:
    """A browser's question whether a page may call."""
    headers = {
        "access-control-allow-methods": "GET, POST, PUT, DELETE",
        "access-control-allow-headers": request.headers.get("access-control-request-headers", "*"),
        "access-control-max-age": "600",
    }
    return Reply(b"", 204, headers)


OWN = (
    Route("GET", "/fal/rest/.well-known/jwks.json", keys),
    Route("POST", "/fal/run/{model:path}/stream", stream, keyed=True),
    Route("POST", "/fal/run/{model:path}", run, keyed=True),
    Route("PUT", "/fal/run/{model:path}", run),
    Route("GET", "/fal/run/{model:path}", run),
    Route("GET", "/fal/queue/{model:path}/requests/{run}/status/stream", follow),
    Route("GET", "/fal/queue/{model:path}/requests/{run}/status", status),
    Route("PUT", "/fal/queue/{model:path}/requests/{run}/cancel", cancel),
    Route("GET", "/fal/queue/{model:path}/requests/{run}", result),
    Route("POST", "/fal/queue/{model:path}", submit, keyed=True),
)
ROUTES = (*STORAGE, *REALTIME, *PLATFORM, *ACCOUNT, *OWN)
SERVED = (*ROUTES, *Proxy(ROUTES).routes)
# Any page may call: a key or a token is all that counts, no cookie is read.
ANY_PAGE = {
    "access-control-allow-origin": "*",
    "access-control-expose-headers": f"{bodies.REQUEST_ID}, {bodies.ERROR_TYPE}",
}
SURFACE = Surface(
    ("/fal/",),
    (*SERVED, *(Route("OPTIONS", route.pattern, preflight) for route in SERVED)),
    bodies.refused,
    stamps=(bodies.REQUEST_ID,),
    sockets=SOCKETS,
    always=ANY_PAGE,
    token=b"fal_jwt_token=",
)
