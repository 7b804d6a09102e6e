"""What is on sale and what a run would cost, over the API."""

from collections.abc import Mapping
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from marketplace.accounts.api import (
    KeyView,
    OptionalKeyView,
    body_of,
    team_if_any,
    team_of,
)
from marketplace.accounts.models import ApiKey
from marketplace.errors import InvalidInput
from marketplace.metering import outcomes
from marketplace.metering.binding import bind
from marketplace.metering.inputs import validated
from marketplace.metering.limit import cost_limit
from marketplace.metering.models import Quote
from marketplace.metering.offer import Offer, Present
from marketplace.metering.quote import PriceLines
from marketplace.metering.sale import Seen, load_offers, named
from marketplace.metering.units import unit_of
from marketplace.money import Money

MONEY = {"$ref": "#/components/schemas/Money"}
PRICE_LINE = {
    "type": "object",
    "properties": {
        "unit": {"type": "string"},
        "label": {"type": "string"},
        "unit_price": {"type": "string", "description": "Major units of the currency, exact."},
    },
}
OUTCOME = {
    "type": "object",
    "required": ["outcome", "rule", "pays"],
    "properties": {
        "outcome": {"enum": list(outcomes.OUTCOMES)},
        "rule": {"enum": list(outcomes.RULES)},
        "pays": {"type": "string", "examples": ["You pay nothing if we failed."]},
    },
}
EVIDENCE: dict[str, Any] = {
    "version": {"type": "integer"},
    "segment": {
        "type": "string",
        "description": "`list`, `team:<uuid>` where it was agreed with the team, `window:<id>`.",
    },
    "currency": {"type": "string"},
    "effective_from": {"type": "string", "format": "date-time"},
    "digest": {"type": "string", "description": "SHA-256 of what the version says, hex."},
}
PRICED: dict[str, Any] = {
    **EVIDENCE,
    "lines": {"type": "array", "items": PRICE_LINE},
    "outcomes": {"type": "array", "items": OUTCOME},
}
PRICED["announced"] = {
    "type": ["object", "null"],
    "description": "The version that follows, and from when on.",
    "properties": {**EVIDENCE, "lines": {"type": "array", "items": PRICE_LINE}},
}
PRICE = {"type": "object", "properties": PRICED}
PRICE_LIST = {
    "type": "object",
    "properties": {
        "data": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "model": {"type": "string"},
                    "release": {"type": "string"},
                    **PRICED,
                },
            },
        }
    },
}
INSTANT = {"type": ["string", "null"], "format": "date-time"}
ACCESS = {
    "type": "object",
    "properties": {
        "state": {"enum": ["open", "early_access"], "description": "What it is to the caller."},
        "opens_at": INSTANT,
        "exclusive": {
            "type": ["object", "null"],
            "description": "What the lab has promised: since, until (null: for ever), terms.",
        },
    },
}
MODEL = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "examples": ["kinora/glyph"]},
        "release": {"type": "string", "examples": ["2026-11-20"]},
        "lab": {"type": "string"},
        "title": {"type": "string"},
        "task": {"type": "string"},
        "summary": {"type": "string"},
        "output": {
            "type": "object",
            "properties": {"kind": {"type": "string"}, "content_type": {"type": "string"}},
        },
        "input_schema": {"type": "object", "description": "JSON Schema 2020-12 of `inputs`."},
        "price": PRICE,
        "access": ACCESS,
        "deprecated_at": INSTANT,
        "retires_at": INSTANT,
        "successor": {"type": ["string", "null"], "description": "`lab/model@release`."},
    },
}
MODEL_LIST = {"type": "object", "properties": {"data": {"type": "array", "items": MODEL}}}
QUOTE_FIELDS = {
    "model": {"type": "string"},
    "inputs": {"type": "object"},
    "max_cost": {
        "type": "string",
        "description": "Dollars. A maximum above it is refused, and no quote is made.",
    },
}
QUOTE_WISH = {
    "type": "object",
    "required": ["model", "inputs"],
    "additionalProperties": False,
    "properties": QUOTE_FIELDS,
}
PREDICTED = {
    "type": ["object", "null"],
    "description": "What nine of ten such runs cost, where the price is of compute and 30 runs or"
    " more are known. It binds nobody: `maximum` does.",
    "properties": {
        "low": MONEY,
        "high": MONEY,
        "coverage": {"type": "number", "description": "Of the newest runs, those inside."},
        "inside": {"type": "integer"},
        "runs": {"type": "integer", "description": "The newest runs that it was tried on."},
        "mean_absolute_error_seconds": {"type": "number"},
    },
}
QUOTE = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "model": {"type": "string"},
        "release": {"type": "string"},
        "price_version": {"type": "integer"},
        "price": {"type": "object", "properties": EVIDENCE},
        "currency": {"type": "string"},
        "lines": {"type": "array", "items": {"type": "object"}},
        "outcomes": {"type": "array", "items": OUTCOME},
        "maximum": MONEY,
        "expected": MONEY,
        "predicted": PREDICTED,
        "expires_at": {"type": "string", "format": "date-time"},
    },
}


class Models(OptionalKeyView):
    """What is on sale; anybody may look. A team sees its own prices."""

    @extend_schema(operation_id="listModels", responses={200: MODEL_LIST})
    def get(self, request: Request) -> Response:
        """The newest live release of every model, with its schema and present price."""
        return Response({"data": [shown(offer) for offer in newest(request)]})


class OneModel(OptionalKeyView):
    """One model, by name or by name and release."""

    @extend_schema(operation_id="getModel", responses={200: MODEL})
    def get(self, request: Request, model: str) -> Response:
        """A model's schema and price: `kinora/glyph`, or `kinora/glyph@2026-11-21`."""
        return Response(shown(own(request, named(seen(request), model))))


class Prices(OptionalKeyView):
    """What everything costs; anybody may look. A team sees its own prices."""

    @extend_schema(operation_id="listPrices", responses={200: PRICE_LIST})
    def get(self, request: Request) -> Response:
        """The present price of every model, sealed by the digest of what its version says."""
        data = [{"model": o.model, "release": o.version, **price(o)} for o in newest(request)]
        return Response({"data": data})


class Quotes(KeyView):
    """Binding quotes."""

    @extend_schema(
        operation_id="createQuote",
        request={"application/json": QUOTE_WISH},
        responses={201: QUOTE},
    )
    def post(self, request: Request) -> Response:
        """What a run with exactly these inputs costs at most; binding for fifteen minutes."""
        wish = body_of(request)
        for field in wish:
            if field not in QUOTE_FIELDS:
                raise InvalidInput(f"{field[:80]} is not a field here.", param=field[:80])
        offer = own(request, named(seen(request), wish.get("model")))
        inputs = validated(offer, wish.get("inputs"))
        most = cost_limit(wish.get("max_cost"))
        made = bind(offer=offer, inputs=inputs, team_id=team_of(request).id, max_cost=most)
        return Response(quote_json(made, offer, inputs), status=201)


def shown(offer: Offer) -> dict[str, Any]:
    return {
        "id": offer.model,
        "release": offer.version,
        "lab": offer.lab,
        "title": offer.title,
        "task": offer.task,
        "summary": offer.summary,
        "output": {"kind": offer.output_kind, "content_type": offer.content_type},
        "input_schema": offer.schema,
        "price": price(offer),
        "access": {
            "state": "open" if offer.gate == "open" else "early_access",
            "opens_at": offer.opens_at if offer.gate != "open" else None,
            "exclusive": offer.promise,
        },
        "deprecated_at": offer.deprecated_at,
        "retires_at": offer.retires_at,
        "successor": offer.successor,
    }


def seen(request: Request) -> Seen:
    """What the caller sees. A key sees what its team and its maker do."""
    key = request.auth
    if isinstance(key, ApiKey):
        return load_offers(key.team_id, key.created_by_id)
    return load_offers()


def newest(request: Request) -> list[Offer]:
    """The newest live release of every model, as the caller buys it."""
    return [own(request, o) for name, o in seen(request).items() if "@" not in name]


def own(request: Request, offer: Offer) -> Offer:
    team = team_if_any(request)
    return offer.for_team(team.id if team else None)


def price(offer: Offer) -> dict[str, Any]:
    """The price that the caller pays, what its version says, and what comes after it."""
    later = offer.upcoming
    return {
        **evidence(offer.price),
        "lines": labelled(offer.price_lines),
        "announced": later and {**evidence(later), "lines": labelled(later.lines)},
        "outcomes": outcomes.table(offer.price.policy),
    }


def labelled(lines: PriceLines) -> list[dict[str, Any]]:
    return [{**line, "label": unit_of(line["unit"]).label} for line in lines]


def evidence(version: Present) -> dict[str, Any]:
    """Which version a price is. digest: SHA-256 of what it says, see docs/prices.md."""
    return {
        "version": version.version,
        "segment": version.segment,
        "currency": version.currency,
        "effective_from": version.effective_from,
        "digest": version.digest,
    }


def predicted_json(offer: Offer, inputs: Mapping[str, Any]) -> dict[str, Any] | None:
    """What such runs usually cost, and how often that held; None while too few are known."""
    if (found := offer.predicted(inputs)) is None:
        return None
    return {
        "low": Money(found.low, offer.currency).as_json(),
        "high": Money(found.high, offer.currency).as_json(),
        "coverage": round(found.fit.inside / found.fit.tested, 3),
        "inside": found.fit.inside,
        "runs": found.fit.tested,
        "mean_absolute_error_seconds": round(found.fit.error, 3),
    }


def quote_json(quote: Quote, offer: Offer, inputs: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": quote.public_id,
        "model": offer.model,
        "release": offer.version,
        "price_version": offer.price_version,
        "price": evidence(offer.price),
        "currency": offer.currency,
        "lines": quote.lines,
        "outcomes": outcomes.table(offer.price.policy),
        "maximum": Money(quote.maximum, offer.currency).as_json(),
        "expected": Money(quote.expected, offer.currency).as_json(),
        "predicted": predicted_json(offer, inputs),
        "expires_at": quote.expires_at,
    }
