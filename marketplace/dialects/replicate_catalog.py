"""Replicate's API of what is on sale: versions with their schemas, collections, hardware.

A version's id is the SHA-256 of `lab/model@release`. Every model is a deployment of itself, and
nothing here is made, trained or deleted by its clients. Lists of models are `replicate_showcase`'s.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from django.conf import settings

from marketplace import errors
from marketplace.dialects.contract import Desk, Reply, Request, Route
from marketplace.metering.inputs import in_order
from marketplace.metering.offer import Offer

BASE = f"{settings.SITE_URL}/replicate/v1"
MISSING = "The requested resource could not be found."
COG = "kinora"
COLLECTIONS = {
    "text-to-image": "Pictures from words",
    "image-to-image": "Pictures from pictures",
    "text-to-video": "Clips from words",
    "image-to-video": "Clips from pictures",
}
Offers = Mapping[str, Offer]
Json = dict[str, Any]


def missing() -> errors.NotFound:
    return errors.NotFound(MISSING)


@lru_cache(maxsize=4096)
def version_id(model: str, release: str) -> str:
    return hashlib.sha256(f"{model}@{release}".encode()).hexdigest()


def newest(offers: Offers) -> list[Offer]:
    """One offer per model, its newest release."""
    return [offer for name, offer in offers.items() if "@" not in name]


def releases(offers: Offers, model: str) -> list[Offer]:
    """All releases of a model that can be called. Raises NotFound where there is none."""
    if found := [offer for name, offer in offers.items() if name.startswith(f"{model}@")]:
        return found
    raise missing()


def versioned(offers: Offers, said: str) -> Offer:
    """The offer that a `version` names. Raises NotFound."""
    model, _, version = said.rpartition(":")
    if not model and "/" in version:
        model, version = version, ""
    for offer in releases(offers, model) if model else offers.values():
        known = (offer.version, version_id(offer.model, offer.version), "")
        if version in known:
            return offer
    raise missing()


# ── objects ───────────────────────────────────────────────────────────────────────────────────


def model_json(offer: Offer, runs: Mapping[str, int], example: Json | None = None) -> Json:
    """runs: model → how many it has had. example: a prediction that shows what it does."""
    owner, name = offer.model.split("/")
    return {
        "url": f"{settings.SITE_URL}/models/{offer.model}",
        "owner": owner,
        "name": name,
        "description": offer.summary,
        "visibility": "public",
        "is_official": True,
        "github_url": None,
        "paper_url": None,
        "license_url": None,
        "run_count": runs.get(offer.model, 0),
        "cover_image_url": example["output"][0] if example else None,
        "default_example": example,
        "latest_version": version_json(offer),
    }


def version_json(offer: Offer) -> Json:
    return {
        "id": version_id(offer.model, offer.version),
        "created_at": offer.published_at,
        "cog_version": COG,
        "openapi_schema": openapi(offer),
    }


def openapi(offer: Offer) -> Json:
    """The document of one version: how a run is asked for and what it gives."""
    address = {"type": "string", "format": "uri"}
    several = offer.output_kind == "image"
    output = {"type": "array", "items": address} if several else address
    return {
        "openapi": "3.0.2",
        "info": {"title": offer.title, "version": offer.version},
        "paths": {},
        "components": {
            "schemas": {"Input": input_schema(offer), "Output": {"title": "Output", **output}}
            | choices(offer)
        },
    }


def input_schema(offer: Offer) -> Json:
    declared = offer.schema.get("properties", {})
    properties = {
        name: field(name, declared[name]) | {"x-order": place}
        for place, name in enumerate(in_order(offer.schema))
    }
    required = list(offer.schema.get("required", []))
    return {"type": "object", "title": "Input", "required": required, "properties": properties}


def field(name: str, schema: Json) -> Json:
    """One input; a list of choices becomes a reference, as Replicate's own documents have it."""
    if "enum" not in schema:
        return dict(schema)
    rest = {key: value for key, value in schema.items() if key not in ("enum", "type")}
    return rest | {"allOf": [{"$ref": f"#/components/schemas/{name}"}]}


def choices(offer: Offer) -> Json:
    return {
        name: {"enum": schema["enum"], "type": schema.get("type", "string"), "title": name}
        for name, schema in offer.schema.get("properties", {}).items()
        if "enum" in schema
    }


def deployment(offer: Offer) -> Json:
    owner, name = offer.model.split("/")
    return {
        "owner": owner,
        "name": name,
        "current_release": {
            "number": 1,
            "model": offer.model,
            "version": version_id(offer.model, offer.version),
            "created_at": offer.published_at,
            "created_by": {"type": "organization", "username": owner, "name": offer.lab},
            "configuration": {
                "hardware": offer.queue,
                "min_instances": 0,
                "max_instances": 1,
                "scaling_config": {},
            },
        },
    }


# ── routes ────────────────────────────────────────────────────────────────────────────────────


def page(results: Iterable[Json]) -> Reply:
    return Reply({"previous": None, "next": None, "results": list(results)})


async def on_sale(desk: Desk, request: Request) -> Offers:
    return await desk.offers(await desk.caller(request, needs="read"))


async def versions(desk: Desk, request: Request, owner: str, name: str) -> Reply:
    return page(map(version_json, releases(await on_sale(desk, request), f"{owner}/{name}")))


async def version(desk: Desk, request: Request, owner: str, name: str, version: str) -> Reply:
    offers = await on_sale(desk, request)
    return Reply(version_json(versioned(offers, f"{owner}/{name}:{version}")))


async def deployments(desk: Desk, request: Request) -> Reply:
    return page(map(deployment, newest(await on_sale(desk, request))))


async def one_deployment(desk: Desk, request: Request, owner: str, name: str) -> Reply:
    return Reply(deployment(releases(await on_sale(desk, request), f"{owner}/{name}")[0]))


async def collections(desk: Desk, request: Request) -> Reply:
    offers = newest(await on_sale(desk, request))
    return page(collection_json(task, []) for task in tasks_of(offers))


def tasks_of(offers: Iterable[Offer]) -> list[str]:
    return sorted({offer.task for offer in offers})


async def collection(desk: Desk, request: Request, slug: str) -> Reply:
    offers = [o for o in newest(await on_sale(desk, request)) if o.task == slug]
    if not offers:
        raise missing()
    runs = await desk.run_counts()
    return Reply(collection_json(slug, [model_json(offer, runs) for offer in offers]))


def collection_json(task: str, found: list[Json]) -> Json:
    said = COLLECTIONS.get(task, task)
    return {"name": said, "slug": task, "description": f"{said}.", "models": found}


def collections_with(offers: Sequence[Offer], text: str) -> list[Json]:
    """Those whose name or slug has all the words; each names its models."""
    words = text.lower().split()
    return [
        collection_json(task, []) | {"models": [o.model for o in offers if o.task == task]}
        for task in tasks_of(offers)
        if all(word in f"{task} {COLLECTIONS.get(task, '')}".lower() for word in words)
    ]


async def hardware(desk: Desk, request: Request) -> Reply:
    queues = sorted({offer.queue for offer in (await on_sale(desk, request)).values()})
    return Reply([{"sku": queue, "name": hardware_name(queue)} for queue in queues])


def hardware_name(queue: str) -> str:
    return "The lab's own" if queue == "labs" else queue


async def account(desk: Desk, request: Request) -> Reply:
    caller = await desk.caller(request, needs="read")
    team = await desk.team(caller.team_id)
    return Reply(
        {"type": "organization", "username": team["id"], "name": team["name"], "github_url": None}
    )


async def webhook_secret(desk: Desk, request: Request) -> Reply:
    caller = await desk.caller(request, needs="read")
    return Reply({"key": await desk.webhook_secret(caller.team_id)})


async def no_trainings(desk: Desk, request: Request) -> Reply:
    await desk.caller(request, needs="read")
    return page([])


async def no_training(desk: Desk, request: Request, training: str) -> Reply:
    """Raises NotFound, whatever is asked for."""
    await desk.caller(request, needs="read")
    raise missing()


def closed(what: str) -> Callable[..., Any]:
    async def refuse(desk: Desk, request: Request, **_path: str) -> Reply:
        await desk.caller(request, needs="read")
        raise errors.NotAllowed(what)

    return refuse


MODELS, DEPLOYMENTS = "/replicate/v1/models", "/replicate/v1/deployments"
NO_MODELS = closed("Models are put on sale by their labs, not over this API.")
NO_DEPLOYMENTS = closed("Kinora runs every model for all; there is nothing to deploy.")
NO_TRAININGS = closed("Kinora trains no models for others; it runs those that labs put on sale.")
TRAININGS = "/replicate/v1/trainings"
ROUTES = (
    Route("POST", MODELS, NO_MODELS),
    Route("PATCH", f"{MODELS}/{{owner}}/{{name}}", NO_MODELS),
    Route("DELETE", f"{MODELS}/{{owner}}/{{name}}", NO_MODELS),
    Route("GET", f"{MODELS}/{{owner}}/{{name}}/versions", versions),
    Route("GET", f"{MODELS}/{{owner}}/{{name}}/versions/{{version}}", version),
    Route("DELETE", f"{MODELS}/{{owner}}/{{name}}/versions/{{version}}", NO_MODELS),
    Route("POST", f"{MODELS}/{{owner}}/{{name}}/versions/{{version}}/trainings", NO_TRAININGS),
    Route("GET", TRAININGS, no_trainings),
    Route("GET", f"{TRAININGS}/{{training}}", no_training),
    Route("POST", f"{TRAININGS}/{{training}}/cancel", no_training),
    Route("GET", DEPLOYMENTS, deployments),
    Route("POST", DEPLOYMENTS, NO_DEPLOYMENTS),
    Route("GET", f"{DEPLOYMENTS}/{{owner}}/{{name}}", one_deployment),
    Route("PATCH", f"{DEPLOYMENTS}/{{owner}}/{{name}}", NO_DEPLOYMENTS),
    Route("DELETE", f"{DEPLOYMENTS}/{{owner}}/{{name}}", NO_DEPLOYMENTS),
    Route("GET", "/replicate/v1/collections", collections),
    Route("GET", "/replicate/v1/collections/{slug}", collection),
    Route("GET", "/replicate/v1/hardware", hardware),
    Route("GET", "/replicate/v1/account", account),
    Route("GET", "/replicate/v1/webhooks/default/secret", webhook_secret),
)
