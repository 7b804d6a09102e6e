"""What a team has and how it came to that, over the API."""

from typing import Any
from uuid import UUID

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from marketplace import ids
from marketplace.accounts.api import KeyView, team_of
from marketplace.errors import InvalidInput
from marketplace.ledger.balance import balance
from marketplace.ledger.lines import newest_entries
from marketplace.ledger.models import Entry
from marketplace.money import Money

LARGEST_PAGE = 100
MONEY = {"$ref": "#/components/schemas/Money"}
CREDIT = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "kind": {"enum": ["prepaid", "promo"]},
        "available": MONEY,
        "held": MONEY,
        "priority": {"type": "integer", "description": "Lower is spent first."},
        "scope": {
            "type": "array",
            "items": {"type": "string"},
            "description": "`lab` and `lab/model` that it may be spent on; empty: everything.",
        },
        "funder": {"type": ["string", "null"], "description": "`kinora` or the lab that gave it."},
        "expires_at": {"type": ["string", "null"], "format": "date-time"},
    },
}
BALANCE = {
    "type": "object",
    "properties": {
        "posted": MONEY,
        "held": MONEY,
        "available": MONEY,
        "credits": {"type": "array", "items": CREDIT, "description": "First what is spent first."},
    },
}
ENTRY = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "kind": {"enum": ["grant", "charge", "expiry", "refund", "void"]},
        "transfer": {"type": "string"},
        "account": {"type": "string"},
        "run": {"type": ["string", "null"]},
        "amount": MONEY,
        "balance_after": MONEY,
        "note": {"type": "string"},
        "at": {"type": "string", "format": "date-time"},
    },
}
ENTRY_PAGE = {
    "type": "object",
    "properties": {
        "data": {"type": "array", "items": ENTRY},
        "next_cursor": {"type": ["string", "null"]},
    },
}


class BalanceView(KeyView):
    """The team's money."""

    @extend_schema(
        operation_id="getBalance",
        parameters=[OpenApiParameter("model", str, description="`lab/model`")],
        responses={200: BALANCE},
    )
    def get(self, request: Request) -> Response:
        """What is posted, held by open runs, and can be spent, credit by credit.

        With `model`, only the credits that a run of that model spends, in its order.
        """
        model = request.query_params.get("model")
        return Response(balance(team_of(request).id, model=model).as_json())


class Entries(KeyView):
    """The team's side of every transfer."""

    @extend_schema(
        operation_id="listEntries",
        parameters=[OpenApiParameter("cursor", str), OpenApiParameter("limit", int)],
        responses={200: ENTRY_PAGE},
    )
    def get(self, request: Request) -> Response:
        """The ledger's entries of the team's accounts, newest first."""
        limit = page_size(request.query_params.get("limit", "20"))
        before = cursor(request.query_params.get("cursor"))
        page = newest_entries(team_of(request).id, before=before, limit=limit + 1)
        shown = [entry_json(entry) for entry in page[:limit]]
        more = len(page) > limit
        return Response({"data": shown, "next_cursor": shown[-1]["id"] if more else None})


def entry_json(entry: Entry) -> dict[str, Any]:
    currency, run = entry.account.currency, entry.transfer.run_id
    return {
        "id": ids.public("ent", UUID(int=entry.pk)),
        "kind": entry.transfer.kind,
        "transfer": entry.transfer.reference,
        "account": entry.account.name,
        "run": ids.public("run", run) if run else None,
        "amount": Money(entry.amount, currency).as_json(),
        "balance_after": Money(entry.balance_after or 0, currency).as_json(),
        "note": entry.transfer.note,
        "at": entry.transfer.event_at,
    }


def page_size(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= LARGEST_PAGE:
        raise InvalidInput(f"limit must be from 1 to {LARGEST_PAGE}.", param="limit")
    return int(text)


def cursor(text: str | None) -> int | None:
    if text is None:
        return None
    before = ids.private("ent", text)
    if before is None or before.int >= 1 << 63:
        raise InvalidInput("cursor must be a next_cursor of this list.", param="cursor")
    return before.int
