"""Replicate's API of models as people look for them: lists in an order, search, what each shows.

What a model shows are the catalog's own examples, told as predictions. Knows no run of any team.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import orjson
from django.conf import settings
from django.templatetags.static import static

from marketplace.catalog.models import Example, Model
from marketplace.dialects.contract import Desk, Reply, Request, Route
from marketplace.dialects.orm import reached
from marketplace.dialects.replicate_catalog import (
    BASE,
    MODELS,
    Json,
    Offers,
    collections_with,
    model_json,
    newest,
    on_sale,
    page,
    releases,
    version_id,
)
from marketplace.errors import InvalidInput
from marketplace.metering.offer import Offer

PAGE = 100
SORTS = ("latest_version_created_at", "model_created_at")
DIRECTIONS = ("desc", "asc")
FOUND, MOST_FOUND = 20, 50  # of a search
Examples = Mapping[int, Sequence[Json]]


# ── lists ─────────────────────────────────────────────────────────────────────────────────────


async def models(desk: Desk, request: Request) -> Reply:
    """The newest version first, unless the query says else; `next` is an absolute address."""
    by = chosen(request.query, "sort_by", SORTS)
    falling = chosen(request.query, "sort_direction", DIRECTIONS) == "desc"
    cursor = request.query.get("cursor")
    if cursor is not None and "/" not in cursor:
        raise InvalidInput("cursor must come from `next`.", param="cursor")
    offers = await on_sale(desk, request)
    shown, last = part(ranked(offers, by), falling=falling, cursor=cursor, size=PAGE)
    more = f"{BASE}/models?{urlencode({**request.query, 'cursor': last})}" if last else None
    return Reply({"previous": None, "next": more, "results": await told(desk, shown)})


def chosen(query: Mapping[str, str], name: str, allowed: Sequence[str]) -> str:
    """The first of what is allowed where nothing is said. Raises InvalidInput."""
    said = query.get(name, allowed[0])
    if said not in allowed:
        raise InvalidInput(f"{name} must be one of {', '.join(allowed)}.", param=name)
    return said


def ranked(offers: Offers, by: str) -> dict[str, Offer]:
    """Each model under the instant that it is sorted by and, where two share one, its name."""
    found = {}
    for offer in newest(offers):
        at = offer.published_at
        if by == "model_created_at":
            at = min(other.published_at for other in releases(offers, offer.model))
        found[f"{at}/{offer.model}"] = offer
    return found


def part(
    ranks: Mapping[str, Offer], *, falling: bool, cursor: str | None, size: int
) -> tuple[list[Offer], str | None]:
    """The offers that come after the cursor, and the next one where there are more."""
    rest = sorted(ranks, reverse=falling)
    if cursor is not None:
        rest = [rank for rank in rest if (rank < cursor if falling else rank > cursor)]
    last = rest[size - 1] if len(rest) > size else None
    return [ranks[rank] for rank in rest[:size]], last


async def told(desk: Desk, offers: Sequence[Offer]) -> list[Json]:
    """Each model with its first example."""
    runs, shown = await desk.run_counts(), await examples_of(offers)
    return [model_json(offer, runs, next(iter(shown[offer.release_id]), None)) for offer in offers]


async def model(desk: Desk, request: Request, owner: str, name: str) -> Reply:
    offer = releases(await on_sale(desk, request), f"{owner}/{name}")[0]
    [found] = await told(desk, [offer])
    return Reply(found)


# ── search ────────────────────────────────────────────────────────────────────────────────────


async def search(desk: Desk, request: Request) -> Reply:
    """QUERY: the words are the body, as text or as a JSON string."""
    offers = newest(await on_sale(desk, request))
    text = request.body.decode("utf-8", "replace").strip()
    if text.startswith('"'):
        text = str(orjson.loads(request.body)) if valid(request.body) else text
    return page(await told(desk, matching(offers, text)))


def valid(text: bytes) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


async def search_all(desk: Desk, request: Request) -> Reply:
    """Models and collections that have all the words of `query`; at most `limit` models."""
    offers = newest(await on_sale(desk, request))
    text, most = request.query.get("query", ""), request.query.get("limit", str(FOUND))
    if not text.strip():
        raise InvalidInput("query is required.", param="query")
    if not most.isascii() or not most.isdigit() or not 1 <= int(most[:9]) <= MOST_FOUND:
        raise InvalidInput(f"limit must be from 1 to {MOST_FOUND}.", param="limit")
    found = await told(desk, matching(offers, text)[: int(most)])
    models = [
        {"model": one, "metadata": {"generated_description": one["description"], "tags": []}}
        for one in found
    ]
    collections = collections_with(offers, text)
    return Reply({"query": text, "models": models, "collections": collections, "pages": []})


def matching(offers: Iterable[Offer], text: str) -> list[Offer]:
    words = text.lower().split()
    return [offer for offer in offers if all(word in about(offer) for word in words)]


def about(offer: Offer) -> str:
    return f"{offer.model} {offer.title} {offer.lab} {offer.task} {offer.summary}".lower()


# ── what a model shows ────────────────────────────────────────────────────────────────────────


async def readme(desk: Desk, request: Request, owner: str, name: str) -> Reply:
    """Markdown, as text."""
    offer = releases(await on_sale(desk, request), f"{owner}/{name}")[0]

    def told_about() -> str:
        found = Model.objects.filter(lab__slug=owner, slug=name).values_list("about", flat=True)
        return found.first() or ""

    parts = [f"# {offer.title}", offer.summary, await reached(told_about)]
    text = "\n\n".join(filter(None, parts)) + "\n"
    return Reply(text.encode(), headers={"content-type": "text/plain; charset=utf-8"})


async def examples(desk: Desk, request: Request, owner: str, name: str) -> Reply:
    offer = releases(await on_sale(desk, request), f"{owner}/{name}")[0]
    return page((await examples_of([offer]))[offer.release_id])


async def examples_of(offers: Sequence[Offer]) -> Examples:
    """Release → its examples as predictions. Raises Unavailable."""
    known = {offer.release_id: offer for offer in offers}

    def read() -> Examples:
        found: dict[int, list[Json]] = defaultdict(list)
        for example in Example.objects.filter(release_id__in=known):
            found[example.release_id].append(example_json(known[example.release_id], example))
        return found

    return await reached(read)


def example_json(offer: Offer, example: Example) -> Json:
    """A prediction that nobody can ask for again: it belongs to no team."""
    at = offer.published_at
    moments: dict[str, Any] = dict.fromkeys(("created_at", "started_at", "completed_at"), at)
    return {
        "id": f"example_{example.pk}",
        "model": offer.model,
        "version": version_id(offer.model, offer.version),
        "status": "succeeded",
        "input": example.inputs,
        "output": [f"{settings.SITE_URL}{static(example.image)}"],
        "error": None,
        "logs": "",
        "metrics": {},
        **moments,
        "data_removed": False,
        "source": "web",
        "urls": {"web": f"{settings.SITE_URL}/models/{offer.model}"},
    }


ROUTES = (
    Route("GET", MODELS, models),
    Route("QUERY", MODELS, search),
    Route("GET", f"{MODELS}/{{owner}}/{{name}}", model),
    Route("GET", f"{MODELS}/{{owner}}/{{name}}/readme", readme),
    Route("GET", f"{MODELS}/{{owner}}/{{name}}/examples", examples),
    Route("GET", "/replicate/v1/search", search_all),
)
