"""The shapes of refunds and of what labs see of runs, for the OpenAPI document."""

from typing import Any

from marketplace.metering.outcomes import OUTCOMES
from marketplace.payouts.models import Difference
from marketplace.payouts.openapi import COUNT, MONEY, TEXT, TIME, TIME_OR_NONE, listed
from marketplace.runs.models import RefundRequest

REFUND_WISH: dict[str, Any] = {
    "type": "object",
    "required": ["reason"],
    "additionalProperties": False,
    "properties": {
        "reason": {"enum": RefundRequest.Reason.values},
        "note": {"type": "string", "maxLength": 500},
    },
}
REFUND_REQUEST = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "run": {"type": "string"},
        "reason": {"enum": RefundRequest.Reason.values},
        "note": {"type": "string"},
        "state": {"enum": RefundRequest.State.values},
        "amount": {"$ref": "#/components/schemas/Money"},
        "decided_by": {"enum": ["system", "admin", None]},
        "answer": {"type": "string", "description": "What we say to it."},
        "created_at": {"type": "string", "format": "date-time"},
        "looked_at": {
            "type": ["string", "null"],
            "format": "date-time",
            "description": "Null while the files are being decoded anew.",
        },
        "deadline_at": {"type": "string", "format": "date-time"},
        "decided_at": {"type": ["string", "null"], "format": "date-time"},
    },
}
REFUND_REQUESTS = {
    "type": "object",
    "properties": {"data": {"type": "array", "items": REFUND_REQUEST}},
}
NUMBER: dict[str, Any] = {"type": ["number", "null"]}
FIGURE: dict[str, Any] = {"type": ["integer", "null"], "description": "Null below ten."}
LAB_RELEASES = listed(
    {
        "type": "object",
        "properties": {
            "release": {"type": "string", "examples": ["rehearsal/still@2026-11-20"]},
            "published_at": TIME_OR_NONE,
            "retired_at": TIME_OR_NONE,
            "runs": COUNT,
            "outcomes": {"type": "object", "properties": dict.fromkeys(OUTCOMES, COUNT)},
            "success": NUMBER,
            "seconds": {"type": "object", "properties": {"p50": NUMBER, "p95": NUMBER}},
        },
    }
)
LAB_DEMAND = listed(
    {
        "type": "object",
        "properties": {
            "model": TEXT,
            **dict.fromkeys(("tried", "paid", "before", "back"), FIGURE),
            "conversion": NUMBER,
            "retention": NUMBER,
        },
    },
    month=TEXT,
)
DIFFERENCE: dict[str, Any] = {
    "type": "object",
    "properties": {
        "id": TEXT,
        "kind": {"enum": Difference.Kind.values},
        "place": {"type": "string", "description": "The job, or the run that is missing."},
        "state": {"enum": Difference.State.values},
        "why": TEXT,
        "billed": MONEY,
        "expected": MONEY,
        "evidence": {"type": "object"},
    },
}
LAB_INVOICE: dict[str, Any] = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "examples": ["inv_01jd7x3yvyte9sagyvwwf6hge6"]},
        "reference": TEXT,
        "from": {"type": "string", "format": "date"},
        "to": {"type": "string", "format": "date"},
        "amount": MONEY,
        "brought_at": TIME,
        "differences": {"type": "array", "items": DIFFERENCE},
    },
}
LAB_INVOICES = listed(LAB_INVOICE)
LAB_INVOICE_WISH: dict[str, Any] = {
    "type": "object",
    "required": ["reference", "from", "to"],
    "additionalProperties": False,
    "properties": {
        "reference": {"type": "string", "minLength": 1, "maxLength": 120},
        "currency": {"enum": ["USD"]},
        "from": {"type": "string", "format": "date"},
        "to": {"type": "string", "format": "date"},
        "lines": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["job", "unit", "quantity", "unit_price"],
                "additionalProperties": False,
                "properties": dict.fromkeys(
                    ("job", "unit", "quantity", "unit_price", "amount"), TEXT
                ),
            },
        },
        "csv": {"type": "string", "description": "In place of lines."},
    },
}
