"""The OpenAPI document of one endpoint as fal publishes it: the queue's four calls and two schemas.

The input is the release's own schema; fal's usual words for the same are taken as well.
"""

from typing import Any

from django.conf import settings

from marketplace.metering.offer import Offer

Schema = dict[str, Any]
TEXT: Schema = {"type": "string"}
WHOLE: Schema = {"type": "integer"}
NUMBER: Schema = {"type": "number"}
ADDRESS: Schema = {"type": "string", "format": "uri"}
RUN: Schema = {"name": "request_id", "in": "path", "required": True, "schema": TEXT}
LOGS: Schema = {"name": "logs", "in": "query", "schema": {"type": "boolean"}}
ERROR: Schema = {
    "type": "object",
    "required": ["detail", "message"],
    "properties": {
        "detail": {
            "description": "In words; or, of a wrong input, what is wrong where.",
            "anyOf": [TEXT, {"type": "array", "items": {"type": "object"}}],
        },
        "message": TEXT,
        "error_type": TEXT,
    },
}
FILE = {"url": ADDRESS, "content_type": TEXT, "file_name": TEXT, "file_size": WHOLE}
IMAGE = FILE | {"width": WHOLE, "height": WHOLE}
VIDEO = IMAGE | {"num_frames": WHOLE, "duration": NUMBER, "fps": NUMBER}
SHARED = {
    "timings": {"type": "object", "additionalProperties": NUMBER},
    "seed": WHOLE | {"nullable": True},
    "prompt": TEXT | {"nullable": True},
}


def document(offer: Offer) -> Schema:
    """OpenAPI 3.0."""
    name = "".join(part.title() for part in offer.model.replace("-", "/").split("/"))
    shapes = {
        f"{name}Input": {k: v for k, v in offer.schema.items() if k != "$schema"},
        f"{name}Output": output(offer),
        "QueueStatus": status(),
        "Cancelled": thing({"status": TEXT}) | {"required": ["status"]},
        "Error": ERROR,
    }
    return {
        "openapi": "3.0.4",
        "info": {
            "title": f"Queue OpenAPI for {offer.model}",
            "version": offer.version,
            "description": offer.summary,
            "x-fal-metadata": {
                "endpointId": offer.model,
                "category": offer.task,
                "playgroundUrl": f"{settings.SITE_URL}/models/{offer.model}",
                "documentationUrl": f"{settings.SITE_URL}/models/{offer.model}",
            },
        },
        "components": {
            "securitySchemes": {
                "apiKeyAuth": {"type": "apiKey", "in": "header", "name": "Authorization"}
            },
            "schemas": shapes,
        },
        "paths": paths(offer.model, name),
        "servers": [{"url": f"{settings.SITE_URL}/fal/queue"}],
        "security": [{"apiKeyAuth": []}],
    }


def output(offer: Offer) -> Schema:
    if offer.output_kind == "video":
        own: Schema = {"video": thing(VIDEO)}
    else:
        nothing = {"type": "array", "items": {"type": "boolean"}}
        own = {
            "images": {"type": "array", "items": thing(IMAGE)},
            "has_nsfw_concepts": nothing | {"description": "Always false: nobody looks."},
        }
    return thing(own | SHARED)


def status() -> Schema:
    states = {"type": "string", "enum": ["IN_QUEUE", "IN_PROGRESS", "COMPLETED"]}
    urls = dict.fromkeys(("response_url", "status_url", "cancel_url"), ADDRESS)
    logs = {"type": "array", "nullable": True, "items": {"type": "object"}}
    own = {"status": states, "request_id": TEXT, **urls, "queue_position": WHOLE, "logs": logs}
    return thing(own) | {"required": ["status", "request_id"]}


def thing(properties: Schema) -> Schema:
    return {"type": "object", "properties": properties}


def paths(model: str, name: str) -> Schema:
    one = f"/{model}/requests/{{request_id}}"
    sent = {"required": True, "content": shaped(f"{name}Input")}
    waiting = {"202": said("It waits or runs.", "QueueStatus")}
    asked = {"202": said("It will end as soon as it can.", "Cancelled")}
    return {
        f"/{model}": {"post": call("QueueStatus", requestBody=sent)},
        f"{one}/status": {"get": call("QueueStatus", waiting, parameters=[RUN, LOGS])},
        f"{one}/cancel": {"put": call("Cancelled", asked, parameters=[RUN])},
        one: {"get": call(f"{name}Output", parameters=[RUN])},
    }


def call(shape: str, others: Schema | None = None, **more: Any) -> Schema:
    """An operation that answers with a shape, in other ways, or with an error."""
    answers = {"200": said("OK", shape), **(others or {}), "default": said("Error", "Error")}
    return {**more, "responses": answers}


def said(what: str, shape: str) -> Schema:
    return {"description": what, "content": shaped(shape)}


def shaped(shape: str) -> Schema:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{shape}"}}}
