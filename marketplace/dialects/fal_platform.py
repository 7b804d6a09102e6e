"""fal's platform API: what is on sale, what it costs, and what a team's runs were and cost.

All of it is read from what the native API reads; nothing is kept for it. Keys and balances are
`fal_account`'s.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.conf import settings

from marketplace import body, errors, ids
from marketplace.dialects import fal_openapi, fal_spans
from marketplace.dialects.contract import Caller, Desk, Reply, Request, Route, Row
from marketplace.dialects.fal_bodies import FAULTS
from marketplace.dialects.fal_lists import MOST_IDS, listed, more, page_size
from marketplace.metering.offer import Offer
from marketplace.money import NANO
from marketplace.runs.history import Past

BASE = "/fal/api/v1"
LONGEST = timedelta(days=366)
MOMENTS = ("p50", "p75", "p90")
COUNTS = {
    "request_count": "runs",
    "success_count": "succeeded",
    "user_error_count": "refused",
    "error_count": "failed",
}
TIMES = {"duration": "durations", "prepare_duration": "waits"}
Json = dict[str, Any]


# ── what is on sale ───────────────────────────────────────────────────────────────────────────


async def models(desk: Desk, request: Request) -> Reply:
    """Read without a key. Cursors are the last endpoint's id."""
    found = await wanted(desk, request)
    words = request.query.get("q", "").lower().split()
    category = request.query.get("category")
    fitting = [
        offer
        for offer in found
        if on_sale(request)
        and (category in (None, offer.task))
        and all(word in f"{offer.model} {offer.title} {offer.summary}".lower() for word in words)
    ]
    after = request.query.get("cursor", "")
    rest = [offer for offer in fitting if offer.model > after]
    limit = page_size(request)
    openapi = "openapi-3.0" in listed(request, "expand")
    page = [model(offer, openapi=openapi) for offer in rest[:limit]]
    return Reply({"models": page, **more(page, len(rest) > limit, "endpoint_id")})


def on_sale(request: Request) -> bool:
    """Whether `status` asks for what there is: a deprecated model is not listed here."""
    status = request.query.get("status", "active")
    if status not in ("active", "deprecated"):
        raise errors.InvalidInput("status must be active or deprecated.", param="status")
    return status == "active"


def model(offer: Offer, *, openapi: bool) -> Json:
    metadata = {
        "display_name": offer.title,
        "category": offer.task,
        "description": offer.summary,
        "status": "active",
        "tags": [],
        "updated_at": offer.published_at,
        "date": offer.published_at,
        "is_favorited": False,
        "thumbnail_url": "",
        "model_url": f"{settings.SITE_URL}/models/{offer.model}",
        "license_type": "commercial",
        "highlighted": False,
        "pinned": False,
        "kind": "inference",
    }
    told: Json = {"endpoint_id": offer.model, "metadata": metadata}
    return told | {"openapi": fal_openapi.document(offer)} if openapi else told


async def schema(desk: Desk, request: Request) -> Reply:
    """The OpenAPI document of one endpoint. Read without a key."""
    [offer] = (await wanted(desk, request, required=True))[:1]
    return Reply(fal_openapi.document(offer))


async def pricing(desk: Desk, request: Request) -> Reply:
    """The price of each endpoint's first unit, as this team buys it."""
    caller = await desk.caller(request, needs="read")
    found = await wanted(desk, request, required=True)
    prices = [priced(offer.for_team(caller.team_id)) for offer in found]
    return Reply({"prices": prices, **more([], False, "")})


def priced(offer: Offer) -> Json:
    line = offer.price_lines[0]
    price = line.get("unit_price")
    return {
        "endpoint_id": offer.model,
        "unit_price": None if price is None else float(price),
        "unit": line["unit"],
        "currency": offer.currency,
        "lines": list(offer.price_lines),
    }


async def estimate(desk: Desk, request: Request) -> Reply:
    """What calls cost by this team's past, or units by their price. No quote: that one binds."""
    caller = await desk.caller(request, needs="read")
    said = body.read(request.body)
    kind, endpoints = said.get("estimate_type"), said.get("endpoints")
    if kind not in ("unit_price", "historical_api_price"):
        raise errors.InvalidInput(
            "estimate_type must be unit_price or historical_api_price.", param="estimate_type"
        )
    if not isinstance(endpoints, dict) or not 0 < len(endpoints) <= MOST_IDS:
        raise errors.InvalidInput("endpoints must name 1 to 50 endpoints.", param="endpoints")
    name = "unit_quantity" if kind == "unit_price" else "call_quantity"
    total = Decimal(0)
    for model_id, wish in endpoints.items():
        offer = (await desk.offer(model_id, caller)).for_team(caller.team_id)
        each = await price_of(desk, caller, offer, by_unit=kind == "unit_price")
        total += each * quantity(wish, name, model_id)
    return Reply({"estimate_type": kind, "total_cost": float(total), "currency": "USD"})


def quantity(wish: Any, name: str, model_id: str) -> Decimal:
    found = wish.get(name) if isinstance(wish, dict) else None
    if isinstance(found, bool) or not isinstance(found, int | float) or not 0 < found <= 1e9:
        place = f"endpoints.{model_id}.{name}"
        raise errors.InvalidInput(f"{place} must be a number above 0.", param=place)
    return Decimal(str(found))


async def price_of(desk: Desk, caller: Caller, offer: Offer, *, by_unit: bool) -> Decimal:
    """In major units: of a unit, or of a run as they were in the last 30 days."""
    if by_unit:
        return Decimal(offer.price_lines[0].get("unit_price") or 0)
    now = datetime.now(UTC)
    past = Past(caller.team_id, now - timedelta(days=30), now, [offer.model])
    sums = await desk.past(past.sums("month"))
    runs = sum(row["runs"] for row in sums)
    return Decimal(sum(row["captured"] for row in sums)) / NANO / (runs or 1)


# ── what was run ──────────────────────────────────────────────────────────────────────────────


async def billing_events(desk: Desk, request: Request) -> Reply:
    """Newest first; `request_id` narrows them to some runs."""
    rows, last = await page_of(desk, request)
    return Reply({"billing_events": [event(row) for row in rows], **last})


def event(row: Row) -> Json:
    """cost_estimate_nano_usd is what was captured: not an estimate here."""
    units = Decimal(row["quantity"] or 0)
    price = Decimal(row["captured"]) / NANO / units if units else Decimal(0)
    return {
        "request_id": ids.public("run", UUID(row["id"])),
        "endpoint_id": row["model"],
        "timestamp": row["finished_at"],
        "output_units": float(units),
        "unit_price": float(price),
        "percent_discount": 0,
        "cost_estimate_nano_usd": row["captured"],
    }


async def requests(desk: Desk, request: Request) -> Reply:
    rows, last = await page_of(desk, request, required=True)
    return Reply({"items": [item(row) for row in rows], **last})


def item(row: Row) -> Json:
    failed = (row["error"] or {}).get("code") == "start_timeout"
    code = 504 if failed else FAULTS.get(row["outcome"], (200, ""))[0]
    return {
        "request_id": ids.public("run", UUID(row["id"])),
        "endpoint_id": row["model"],
        "started_at": row["created_at"],
        "ended_at": row["finished_at"],
        "status_code": code,
        "duration": row["seconds"],
        "billable_units": float(row["quantity"] or 0),
    }


async def usage(desk: Desk, request: Request) -> Reply:
    """Units and cost per endpoint: of the whole time, and by span where that is asked for.

    `expand=auth_method` tells them apart by key.
    """
    wish = listed(request, "expand")
    rows = await sums(desk, request, by_key="auth_method" in wish)
    spans = {at: [used(row) for row in found] for at, found in buckets(rows).items()}
    series = [{"bucket": at, "results": found} for at, found in spans.items()]
    shown = "time_series" in wish or "summary" not in wish
    told: Json = {"time_series": series if shown else None}
    if "summary" in wish:
        told["summary"] = [used(row) for row in together(rows)]
    return Reply(told | more([], False, ""))


def used(row: Row) -> Json:
    units = Decimal(row["quantity"] or 0)
    cost = Decimal(row["captured"]) / NANO
    named = {} if row["key"] is None else {"auth_method": row["key"] or "Playground"}
    return {
        "endpoint_id": row["model"],
        **named,
        "unit": row["unit"],
        "quantity": float(units),
        "unit_price": float(cost / units) if units else 0.0,
        "cost": float(cost),
        "currency": "USD",
    }


def together(rows: list[Row]) -> Iterator[Row]:
    """The rows of all spans, one for each model, unit and key."""
    found: dict[tuple[Any, ...], Row] = {}
    for row in rows:
        place = row["model"], row["unit"], row["key"]
        one = found.setdefault(place, row | {"captured": 0, "quantity": Decimal(0)})
        one["captured"] += row["captured"]
        one["quantity"] += Decimal(row["quantity"] or 0)
    yield from found.values()


async def analytics(desk: Desk, request: Request) -> Reply:
    """Counts and times per endpoint and span; only what `expand` names is filled."""
    rows = await sums(desk, request, required=True)
    wish = listed(request, "expand") or ["request_count"]
    spans = {at: [measured(row, wish) for row in found] for at, found in buckets(rows).items()}
    series = [{"bucket": at, "results": found} for at, found in spans.items()]
    return Reply({"time_series": series, **more([], False, "")})


def measured(row: Row, wish: list[str]) -> Json:
    told: Json = {"endpoint_id": row["model"]}
    told |= {name: row[column] for name, column in COUNTS.items() if name in wish}
    for name, column in TIMES.items():
        for place, moment in enumerate(MOMENTS):
            if f"{moment}_{name}" in wish:
                told[f"{moment}_{name}"] = row[column][place] if row[column] else None
    return told


def buckets(rows: list[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["bucket"], []).append(row)
    return found


# ── what is asked for ─────────────────────────────────────────────────────────────────────────


async def sums(
    desk: Desk, request: Request, *, required: bool = False, by_key: bool = False
) -> list[Row]:
    """By model and span; of whole spans unless the query says no. Raises InvalidInput."""
    span, zone = fal_spans.chosen(request.query)
    asked = await past(desk, request, required=required)
    if fal_spans.bound(request.query):
        start, end = fal_spans.first(asked.start, span, zone), fal_spans.last(asked.end, span, zone)
        asked = replace(asked, start=start, end=end)
    return await desk.past(asked.sums(span, zone, by_key=by_key))


async def page_of(
    desk: Desk, request: Request, *, required: bool = False
) -> tuple[list[Row], Json]:
    """A page of runs, and how it goes on."""
    limit = page_size(request)
    cursor = request.query.get("cursor")
    before = ids.private("run", cursor) if cursor else None
    if cursor and before is None:
        raise errors.InvalidInput("cursor must be a next_cursor of this list.", param="cursor")
    asked = await past(desk, request, required=required)
    rows = await desk.past(asked.runs(before=before, limit=limit + 1))
    page = [{"id": ids.public("run", UUID(row["id"]))} for row in rows[:limit]]
    return rows[:limit], more(page, len(rows) > limit, "id")


async def past(desk: Desk, request: Request, *, required: bool) -> Past:
    """Raises InvalidInput."""
    caller = await desk.caller(request, needs="read")
    names = listed(request, "endpoint_id")
    if required and not names:
        raise errors.InvalidInput("endpoint_id is required.", param="endpoint_id")
    now = datetime.now(UTC)
    start = moment(request, "start", now - timedelta(days=1))
    end = moment(request, "end", now + timedelta(seconds=1))
    if not timedelta() < end - start <= LONGEST:
        raise errors.InvalidInput("start must be before end, by a year at most.", param="start")
    return Past(caller.team_id, start, end, names or None, some_runs(request))


def some_runs(request: Request) -> list[UUID] | None:
    """The runs that `request_id` names; one that is none names nobody's."""
    named = listed(request, "request_id")
    return [ids.private("run", run) or UUID(int=0) for run in named] if named else None


def moment(request: Request, name: str, default: datetime) -> datetime:
    said = request.query.get(name)
    if said is None:
        return default
    try:
        found = datetime.fromisoformat(said)
    except ValueError:
        found = default.replace(year=1)
    if not 2000 < found.year < 2200:
        raise errors.InvalidInput(
            f"{name} must be a time such as 2026-11-20T00:00:00Z.", param=name
        )
    return found if found.tzinfo else found.replace(tzinfo=UTC)


async def wanted(desk: Desk, request: Request, *, required: bool = False) -> list[Offer]:
    """The endpoints that are asked for, or all; each model's newest release.

    Raises InvalidInput, NotFound.
    """
    names = listed(request, "endpoint_id")
    visitor = await desk.visitor(request)
    if names:
        return [await desk.offer(name, visitor) for name in names]
    if required:
        raise errors.InvalidInput("endpoint_id is required.", param="endpoint_id")
    offers = await desk.offers(visitor)
    return sorted((o for n, o in offers.items() if "@" not in n), key=lambda offer: offer.model)


ROUTES = (
    Route("GET", f"{BASE}/models", models),
    Route("GET", f"{BASE}/models/pricing", pricing),
    Route("POST", f"{BASE}/models/pricing/estimate", estimate),
    Route("GET", f"{BASE}/models/usage", usage),
    Route("GET", f"{BASE}/models/analytics", analytics),
    Route("GET", f"{BASE}/models/billing-events", billing_events),
    Route("GET", f"{BASE}/models/requests/by-endpoint", requests),
    Route("GET", f"{BASE}/serverless/requests/by-endpoint", requests),
    Route("GET", "/fal/api/openapi/queue/openapi.json", schema),
)
