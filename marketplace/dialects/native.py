"""Kinora's own API of runs: create, get, list, cancel, follow, receipt."""

import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID

import orjson

from marketplace import body, errors, ids
from marketplace.access import attribution
from marketplace.access.attribution import Attribution
from marketplace.dialects.contract import Caller, Desk, Reply, Request, Route, Row, Surface
from marketplace.media.lifetime import Lifetime, lifetime
from marketplace.metering.binding import Bound
from marketplace.metering.limit import cost_limit
from marketplace.metering.offer import Offer
from marketplace.metering.sale import named
from marketplace.runs import stream_ticket
from marketplace.runs.models import Run
from marketplace.runs.receipt import drawn
from marketplace.runs.submit import Admission, digest, prepare
from marketplace.runs.view import TERMINAL, as_json
from marketplace.webhooks.targets import target

FIELDS = (
    "model", "inputs", "quote", "max_cost", "wait", "user", "webhook", "expires_in", "forget_in",
)  # fmt: skip
VISIBLE_ASCII = re.compile(r"[\x21-\x7e]{1,255}")
LONGEST_WAIT = 60
LARGEST_PAGE = 100


async def create(desk: Desk, request: Request) -> Reply:
    """Start a run. 201, or 200 where the Idempotency-Key has started it before."""
    caller = await desk.caller(request, needs="run")
    wish = body.read(request.body)
    wait = checked(wish)
    key = idempotency_key(request)
    whose = attribution.attribution(header=request.headers.get, user=wish.get("user"))
    try:
        admission = await priced(desk, wish, caller, key, whose)
        admission = replace(admission, waits=bool(wait))
    except errors.KinoraError:
        # A retry gets its first run even if the quote has expired or the price risen since.
        if key and (row := await desk.earlier(caller.team_id, key, digest(wish, whose))):
            return Reply(as_json(row))
        raise
    admitted = await desk.admit(admission, request.trail)
    row = admitted.row
    if wait and row["state"] not in TERMINAL:
        row = await desk.finished(UUID(row["id"]), wait) or row
    return Reply(as_json(row), 200 if admitted.replayed else 201)


async def priced(
    desk: Desk, wish: Row, caller: Caller, key: str | None, whose: Attribution
) -> Admission:
    quote = await bound(desk, wish.get("quote"), caller)
    return prepare(
        offer=chosen(await desk.offers(caller), wish.get("model"), quote),
        body=wish,
        team_id=caller.team_id,
        key_id=caller.key_id,
        user_id=None,
        idempotency_key=key,
        quote=quote,
        max_cost=cost_limit(wish.get("max_cost")),
        attribution=whose,
        webhooks=hooks(wish.get("webhook")),
        kept=clocks(wish),
    )


def clocks(wish: Row) -> Lifetime | None:
    """`expires_in` and `forget_in`, where the body shortens them. Raises InvalidInput."""
    media, record = wish.get("expires_in"), wish.get("forget_in")
    if media is None and record is None:
        return None
    return lifetime(media=media, record=record)


def checked(wish: Row) -> float:
    """The seconds to wait. Raises InvalidInput where a field is unknown or `wait` is wrong."""
    for name in wish:
        if name not in FIELDS:
            raise errors.InvalidInput(
                f"{name[:80]} is not a field here. Known fields: {', '.join(FIELDS)}.",
                param=name[:80],
            )
    wait = wish.get("wait") or 0
    if isinstance(wait, bool) or not isinstance(wait, int | float) or not 0 <= wait <= LONGEST_WAIT:
        raise errors.InvalidInput(
            f"wait must be a number of seconds from 0 to {LONGEST_WAIT}.", param="wait"
        )
    return wait


def hooks(webhook: Any) -> list[Row]:
    """What `webhook` of a body asks for: an address, or {url, events}. Raises InvalidInput."""
    if webhook is None:
        return []
    if not isinstance(webhook, dict):
        return [target(url=webhook)]
    for name in webhook:
        if name not in ("url", "events"):
            raise errors.InvalidInput(
                f"webhook has no field {name[:80]}; it has url and events.", param="webhook"
            )
    if not isinstance(webhook.get("events", []), list):
        raise errors.InvalidInput("webhook.events must be a list.", param="webhook")
    return [target(**{"url": None, **webhook})]


def idempotency_key(request: Request) -> str | None:
    key = request.headers.get("idempotency-key")
    if key is not None and not VISIBLE_ASCII.fullmatch(key):
        raise errors.InvalidInput(
            "Idempotency-Key must be 1 to 255 visible ASCII characters.", param="Idempotency-Key"
        )
    return key


async def bound(desk: Desk, public_id: Any, caller: Caller) -> Bound | None:
    """The team's stored quote. Raises QuoteUnusable where there is none of this id."""
    if public_id is None:
        return None
    quote_id = ids.private("quote", public_id) if isinstance(public_id, str) else None
    quote = await desk.bound(quote_id, caller.team_id) if quote_id else None
    if quote is None:
        raise errors.QuoteUnusable("There is no such quote.", param="quote")
    return quote


def chosen(offers: Mapping[str, Offer], name: Any, quote: Bound | None) -> Offer:
    """The offer that a body names; a quote pins the release where the body does not.

    Raises InvalidInput, NotFound.
    """
    if quote and quote.release.partition("@")[0] == name:
        name = quote.release
    return named(offers, name)


async def owned(desk: Desk, request: Request, run: str) -> Row:
    """The caller's run; another team's is NotFound like one that never was."""
    caller = await desk.caller(request, needs="read")
    row = await found(desk, run)
    if row["team_id"] != str(caller.team_id):
        raise missing(run)
    return row


async def found(desk: Desk, run: str) -> Row:
    run_id = ids.private("run", run)
    row = await desk.run(run_id) if run_id else None
    if row is None:
        raise missing(run)
    return row


def missing(run: str) -> errors.NotFound:
    return errors.NotFound(f"There is no run {run[:80]}.", param="run")


async def read(desk: Desk, request: Request, run: str) -> Reply:
    """One run."""
    return Reply(as_json(await owned(desk, request, run)))


async def listing(desk: Desk, request: Request) -> Reply:
    """The team's runs, newest first, a page at a time."""
    caller = await desk.caller(request, needs="read")
    limit = page_size(request.query.get("limit", "20"))
    rows = await desk.runs(
        caller.team_id,
        before=cursor(request.query.get("cursor")),
        only=narrowed(request.query),
        limit=limit + 1,
    )
    page = [as_json(row) for row in rows[:limit]]
    return Reply({"data": page, "next_cursor": page[-1]["id"] if len(rows) > limit else None})


def page_size(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= LARGEST_PAGE:
        raise errors.InvalidInput(f"limit must be from 1 to {LARGEST_PAGE}.", param="limit")
    return int(text)


def cursor(text: str | None) -> UUID | None:
    if text is None:
        return None
    if (before := ids.private("run", text)) is None:
        raise errors.InvalidInput("cursor must be a next_cursor of this list.", param="cursor")
    return before


def narrowed(query: Mapping[str, str]) -> dict[str, str]:
    """What a list is narrowed to. Raises InvalidInput."""
    checks = {
        "state": lambda text, _: state(text),
        "project": attribution.project_tag,
        "end_user": attribution.end_user,
    }
    return {name: check(query[name], name) for name, check in checks.items() if name in query}


def state(text: str) -> str:
    if text not in Run.State.values:
        raise errors.InvalidInput(
            f"state must be one of {', '.join(Run.State.values)}.", param="state"
        )
    return text


async def cancel(desk: Desk, request: Request, run: str) -> Reply:
    """Ask for the end of a run. A queued one ends at once, a running one within a step."""
    caller = await desk.caller(request, needs="run")
    run_id = ids.private("run", run)
    if run_id is None or not await desk.cancel(run_id, caller.team_id):
        raise missing(run)
    return Reply(as_json(await found(desk, run)))


async def receipt(desk: Desk, request: Request, run: str) -> Reply:
    """What the run cost, and why."""
    row = await owned(desk, request, run)
    return Reply(drawn(row, await desk.money(UUID(row["id"]))))


async def events(desk: Desk, request: Request, run: str) -> Reply:
    """Follow a run by server-sent events, with a key or a signed ticket."""
    ticket = request.query.get("ticket")
    if ticket is None:
        row = await owned(desk, request, run)
    elif stream_ticket.read(ticket) == ids.private("run", run):
        row = await found(desk, run)
    else:
        raise errors.NotAuthenticated("This ticket is not valid.", param="ticket")
    return Reply(told(desk.changes(UUID(row["id"]))))


async def told(changes: AsyncIterator[Row | None]) -> AsyncIterator[bytes]:
    """Changes of a run as server-sent events."""
    yield b"retry: 1000\n\n"
    async for row in changes:
        if row is None:
            yield b": keep-alive\n\n"
        else:
            yield b"event: run\ndata: " + orjson.dumps(as_json(row)) + b"\n\n"
    yield b"event: done\ndata: {}\n\n"


ROUTES = (
    Route("POST", "/api/v1/runs", create, keyed=True),
    Route("GET", "/api/v1/runs", listing),
    Route("GET", "/api/v1/runs/{run}", read),
    Route("POST", "/api/v1/runs/{run}/cancel", cancel),
    Route("GET", "/api/v1/runs/{run}/events", events),
    Route("GET", "/api/v1/runs/{run}/receipt", receipt),
)


def refused(error: errors.KinoraError) -> Reply:
    return Reply(error.as_json(), error.status, error.headers())


SURFACE = Surface(("/api/v1/runs",), ROUTES, refused)
