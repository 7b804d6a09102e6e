"""The shapes of what a lab sees of its money, for the OpenAPI document."""

from typing import Any

from marketplace.payouts.models import Agreement, PriceProposal

Schema = dict[str, Any]
MONEY: Schema = {"$ref": "#/components/schemas/Money"}
TIME: Schema = {"type": "string", "format": "date-time"}
TIME_OR_NONE: Schema = {"type": ["string", "null"], "format": "date-time"}
TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer"}
SUMS = ("gross", "refunded", "share", "cost", "adjustments")
BY_FUNDER: Schema = {"type": "object", "additionalProperties": MONEY}
NANO_BY_FUNDER: Schema = {"type": "object", "additionalProperties": COUNT}


def listed(item: Schema, **more: Schema) -> Schema:
    """A list of them under `data`."""
    return {"type": "object", "properties": {"data": {"type": "array", "items": item}} | more}


AGREEMENT: Schema = {
    "type": "object",
    "properties": {
        "id": COUNT,
        "version": COUNT,
        "currency": TEXT,
        "basis": {
            "enum": Agreement.Basis.values,
            "description": "Of what the percentage is; by unit_cost the tariff says what is owed.",
        },
        "percent": {"type": ["string", "null"], "examples": ["70.00"]},
        "promotions": {"enum": Agreement.Promotions.values, "description": "Who funds credits."},
        "guarantee": MONEY,
        "effective_from": TIME,
        "effective_to": TIME_OR_NONE,
        "note": TEXT,
    },
}
AGREEMENTS = listed(AGREEMENT)
STATEMENT: Schema = {
    "type": "object",
    "description": "share + cost + adjustments - borne - burned = payable, to the nano-unit.",
    "properties": {
        "id": {"type": "string", "examples": ["stm_01jd7x3yvyte9sagyvwwf6hge6"]},
        "lab": TEXT,
        "currency": TEXT,
        "from": TIME,
        "to": TIME,
        "closed_at": TIME,
        "lines": COUNT,
        **dict.fromkeys(SUMS, MONEY),
        "burned": MONEY | {"description": "Of guarantees, which the lab has already."},
        "payable": MONEY,
        "opening": MONEY,
        "closing": MONEY,
        "credits": BY_FUNDER,
        "borne": BY_FUNDER,
        "guarantees": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "agreement": COUNT,
                    **dict.fromkeys(("guaranteed", "earned", "burned", "left"), MONEY),
                },
            },
        },
        "sha256": {"type": "string", "description": "Of the lines, as the JSON export has them."},
    },
}
OPEN: Schema = {
    "type": "object",
    "properties": {
        "from": TIME_OR_NONE,
        "lines": COUNT,
        **dict.fromkeys((*SUMS, "borne", "due"), MONEY),
    },
}
STATEMENTS = listed(STATEMENT, open=OPEN)
LINE: Schema = {
    "type": "object",
    "description": "Amounts are whole nano-units; of a refund they are below 0.",
    "properties": {
        "line": COUNT,
        "run": {"type": ["string", "null"]},
        "at": TIME,
        "kind": {"enum": ["charge", "refund", "cost", "adjustment"]},
        "model": TEXT,
        "gross": COUNT,
        "owed": COUNT,
        "credits": NANO_BY_FUNDER,
        "borne": NANO_BY_FUNDER,
    },
}
LINES = listed(LINE, next_cursor={"type": ["integer", "null"]})
WISHES = ("model", "kind", "lines", "policy", "effective_from", "note")
TOLD = ("kind", "currency", "lines", "policy", "effective_from", "note", "answer", "proposed_at",
        "decided_at")  # fmt: skip
PRICE_LINES: Schema = {"type": "array", "items": {"type": "object"}, "minItems": 1}
POLICY: Schema = {"type": ["object", "null"], "additionalProperties": TEXT}
PROPOSAL: Schema = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "examples": ["prop_01jd7x3yvyte9sagyvwwf6hge6"]},
        "model": {"type": "string", "examples": ["rehearsal/still@2026-11-20"]},
        "kind": {"enum": PriceProposal.Kind.values},
        "currency": TEXT,
        "lines": PRICE_LINES,
        "policy": POLICY,
        "effective_from": TIME,
        "note": TEXT,
        "state": {"enum": [*PriceProposal.State.values, "published"]},
        "answer": TEXT,
        "proposed_at": TIME,
        "decided_at": TIME_OR_NONE,
        "version": {"type": ["integer", "null"], "description": "That it became."},
    },
}
PROPOSALS = listed(PROPOSAL)
PROPOSAL_WISH: Schema = {
    "type": "object",
    "required": ["model", "lines", "effective_from"],
    "additionalProperties": False,
    "properties": {
        "model": {"type": "string", "examples": ["rehearsal/still"]},
        "kind": {"enum": PriceProposal.Kind.values, "default": "price"},
        "lines": PRICE_LINES,
        "policy": POLICY,
        "effective_from": TIME,
        "note": {"type": "string", "maxLength": 500},
    },
}
