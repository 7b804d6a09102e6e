"""The shapes of the webhooks' API, for its OpenAPI document."""

from typing import Any

from marketplace.webhooks.models import Delivery, Endpoint
from marketplace.webhooks.schemes import TYPES

WHEN = {"type": "string", "format": "date-time"}
WHEN_IF = {"type": ["string", "null"], "format": "date-time"}
TEXT = {"type": "string"}
TEXT_IF = {"type": ["string", "null"]}
NUMBER_IF = {"type": ["integer", "null"]}
SECRET = {
    "type": "string",
    "examples": ["whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oDyt2Tk3YlG0s="],
    "description": "What signatures are checked with. Only in this answer.",
}


def thing(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def listing(of: dict[str, Any], **more: Any) -> dict[str, Any]:
    return thing(data={"type": "array", "items": of}, **more)


def wish(required: list[str], **properties: Any) -> dict[str, Any]:
    shape = thing(**properties) | {"additionalProperties": False}
    return {"application/json": shape | ({"required": required} if required else {})}


URL = {
    "type": "string",
    "format": "uri",
    "maxLength": 2048,
    "description": "https, on port 443 or 8443.",
}
EVENT_TYPES = {"type": "array", "minItems": 1, "items": {"enum": list(TYPES)}}
NAME = {"type": "string", "maxLength": 80}

ENDPOINT = thing(
    id={"type": "string", "examples": ["whe_01jd7x3yvyte9sagyvwwf6hge6"]},
    name=NAME,
    url=URL,
    event_types=EVENT_TYPES,
    created_at=WHEN,
    rotated_at=WHEN_IF,
    failing_since=WHEN_IF,
    disabled_at=WHEN_IF,
    disabled_reason={"enum": [*Endpoint.Reason.values, None]},
)
NEW_ENDPOINT = thing(**ENDPOINT["properties"], secret=SECRET)
ENDPOINTS = listing(ENDPOINT)
ENDPOINT_WISH = wish(["url", "event_types"], url=URL, event_types=EVENT_TYPES, name=NAME)
ENDPOINT_CHANGE = wish(
    [], url=URL, event_types=EVENT_TYPES, name=NAME, disabled={"type": "boolean"}
)
ATTEMPT = thing(
    number={"type": "integer"},
    at=WHEN,
    ended_at=WHEN_IF,
    status=NUMBER_IF,
    latency_ms=NUMBER_IF,
    error=TEXT_IF,
    answer={"type": "string", "description": "The first characters of what was answered."},
)
DELIVERY = thing(
    id={"type": "string", "examples": ["whd_01jd7x3yvyte9sagyvwwf6hge6"]},
    event={"type": "string", "description": "The webhook-id: the same over all tries."},
    event_type=TEXT,
    scheme=TEXT,
    endpoint=TEXT_IF,
    url=TEXT,
    run=TEXT_IF,
    state={"enum": Delivery.State.values},
    created_at=WHEN,
    ended_at=WHEN_IF,
    next_at=WHEN_IF,
    attempts={"type": "array", "items": ATTEMPT},
)
SENT = {202: DELIVERY, 409: {"$ref": "#/components/schemas/Error"}}
DELIVERIES = listing(DELIVERY, next_cursor=TEXT_IF)
REPLAY_WISH = {
    "application/json": wish(
        ["from", "to"],
        to=WHEN,
        endpoint=TEXT,
        states={
            "type": "array",
            "minItems": 1,
            "items": {"enum": ["dead", "delivered"]},
            "default": ["dead"],
        },
    )["application/json"]
}
REPLAY_WISH["application/json"]["properties"]["from"] = WHEN
REPLAYED = thing(replayed={"type": "integer", "description": "How many deliveries are due again."})
ONE_SECRET = thing(secret=SECRET | {"description": "What signs the webhooks of runs."})
