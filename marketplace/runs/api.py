"""Outputs, usage and statements over the API. Runs themselves are served by the hot path."""

from datetime import date
from typing import Any
from uuid import UUID

from django.http import StreamingHttpResponse
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from marketplace import ids
from marketplace.access.authorise import authorise
from marketplace.accounts.api import KeyView, body_of, presented_key, team_of
from marketplace.errors import InvalidInput, NotFound
from marketplace.ledger.models import Hold
from marketplace.money import Money
from marketplace.runs import focus
from marketplace.runs.models import Output, RefundRequest, Run
from marketplace.runs.refunds import ask
from marketplace.runs.statement import CONTENT_TYPE, period, streamed
from marketplace.runs.usage import PLAYGROUND, PUBLIC, grouping_named, usage, wished
from marketplace.runs.view import output

MONEY = {"$ref": "#/components/schemas/Money"}
USED = {
    "runs": {"type": "integer", "description": "Runs that ended."},
    "charged_runs": {"type": "integer", "description": "Those of them that were charged."},
    "captured": MONEY,
    "given_back": MONEY | {"description": "Held for them, and not charged."},
    "refunded": MONEY | {"description": "On the day that it was refunded."},
    "paid": MONEY | {"description": "captured less refunded."},
    "units": {
        "type": "array",
        "description": "What was charged for.",
        "items": {
            "type": "object",
            "properties": {"unit": {"type": "string"}, "quantity": {"type": "string"}},
        },
    },
}
GROUPED = {
    "day": {"type": "string", "format": "date"},
    "model": {"type": "string", "examples": ["kinora/glyph"]},
    "release": {"type": "string", "examples": ["2026-11-20"]},
    "key": {"type": "string", "description": f"A key's id, or `{PLAYGROUND}`."},
    "project": {"type": "string", "description": "Empty where a run named none."},
}
USAGE = {
    "type": "object",
    "properties": {
        "from": {"type": "string", "format": "date"},
        "to": {"type": "string", "format": "date"},
        "group_by": {"type": "array", "items": {"enum": list(PUBLIC)}},
        "totals": {
            "type": "array",
            "description": "One per currency.",
            "items": {"type": "object", "properties": USED},
        },
        "data": {"type": "array", "items": {"type": "object", "properties": GROUPED | USED}},
    },
}
FILTERS = [
    OpenApiParameter("from", date, description="The first day, UTC; 29 days before `to`."),
    OpenApiParameter("to", date, description="The last day, UTC; today."),
    OpenApiParameter("model", description="`kinora/glyph`"),
    OpenApiParameter("release", description="`kinora/glyph@2026-11-20`"),
    OpenApiParameter("key", description=f"A key's id, or `{PLAYGROUND}`."),
    OpenApiParameter("project", description="Empty: runs that named none."),
]

MOST_LINES = 20_000
STATEMENT_LINE = {
    "type": "object",
    "description": "One line of the statement; the fields follow from its kind.",
    "required": ["kind"],
    "properties": {"kind": {"enum": ["kinora.statement", "price", "run", "total"]}},
}


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


class Outputs(KeyView):
    """One output of the team's runs."""

    @extend_schema(
        operation_id="getOutput", responses={200: {"$ref": "#/components/schemas/Output"}}
    )
    def get(self, request: Request, output: str) -> Response:
        """An output's facts with a fresh signed address; private, and it expires."""
        found = owned(team_of(request).id, ids.private("out", output))
        return Response({**shown(found), "run": ids.public("run", found.run_id)})


class Lines(JSONRenderer):
    """Lets a client ask for JSON lines by name; an error is one of them."""

    media_type = CONTENT_TYPE


class Statement(KeyView):
    """What every charge of a period follows from."""

    renderer_classes = (JSONRenderer, Lines)

    @extend_schema(
        operation_id="getStatement",
        parameters=[
            OpenApiParameter("from", date, required=True, description="The first day, UTC."),
            OpenApiParameter("to", date, required=True, description="The first day left out."),
        ],
        responses={(200, CONTENT_TYPE): STATEMENT_LINE},
    )
    def get(self, request: Request) -> StreamingHttpResponse:
        """Runs, prices, quantities and entries as JSON lines; `docs/verify_statement.py` redoes
        every charge from them. A run belongs to the day it was admitted on."""
        return streamed(team_of(request).id, *period(request.query_params))


class Usage(KeyView):
    """What the team used and paid."""

    @extend_schema(
        operation_id="getUsage",
        parameters=[
            *FILTERS,
            OpenApiParameter(
                "group_by", description=f"Some of {', '.join(PUBLIC)}; `day,release` unless told."
            ),
        ],
        responses={200: USAGE},
    )
    def get(self, request: Request) -> Response:
        """Runs, units and money, exact to the last commit. A run counts on the day (UTC) that it
        was charged or given back, a refund on the day that it was made."""
        asked = request.query_params
        wish = wished(team_of(request).id, asked)
        names = grouping_named(asked.get("group_by", "day,release"))
        totals, lines = usage(wish, (), names) if names else usage(wish, ()) * 2
        if len(lines) > MOST_LINES:
            raise InvalidInput(
                f"These are {len(lines)} lines; group by less or ask for fewer days.",
                param="group_by",
            )
        return Response(
            {
                "from": wish.first,
                "to": wish.last,
                "group_by": names,
                "totals": [total.as_json() for total in totals],
                "data": [line.as_json() for line in lines],
            }
        )


class Table(JSONRenderer):
    """Lets a client ask for CSV by name; an error is JSON."""

    media_type = "text/csv"


class Focus(KeyView):
    """Usage for a FinOps tool."""

    renderer_classes = (JSONRenderer, Table)

    @extend_schema(
        operation_id="getFocusUsage",
        parameters=[
            OpenApiParameter("first", date, description="The first day, UTC."),
            OpenApiParameter("last", date, description="The last day, UTC; today."),
        ],
        responses={(200, "text/csv"): {"type": "string"}},
    )
    def get(self, request: Request) -> StreamingHttpResponse:
        """Charges and refunds as FOCUS 1.2 rows in CSV; the sum of BilledCost is what the ledger
        took."""
        team = team_of(request)
        return focus.streamed(team, wished(team.id, request.query_params, names=("first", "last")))


class Refunds(KeyView):
    """Refunds that the team asks for."""

    @extend_schema(
        operation_id="askForRefund",
        request={"application/json": REFUND_WISH},
        responses={201: REFUND_REQUEST, 200: REFUND_REQUEST},
    )
    def post(self, request: Request, run: str) -> Response:
        """Ask for a refund of a run. Granted at once where our books agree, or as soon as
        the files were looked at (`looked_at`) and agree; else a person answers by the deadline.
        While one is open, asking again gives that one."""
        key, wish = presented_key(request), body_of(request)
        authorise(scopes=key.scopes, needs="run")
        for field in wish:
            if field not in REFUND_WISH["properties"]:
                raise InvalidInput(f"{field[:80]} is not a field here.", param=field[:80])
        asked, made = ask(
            run=ids.private("run", run),
            team_id=key.team_id,
            reason=wish.get("reason"),
            note=wish.get("note", ""),
            key=key,
        )
        return Response(asked_json(asked), status=201 if made else 200)

    @extend_schema(operation_id="listRefundRequests", responses={200: REFUND_REQUESTS})
    def get(self, request: Request, run: str) -> Response:
        """What was asked for a run and how it was decided, oldest first."""
        run_id, team = ids.private("run", run), team_of(request)
        if not run_id or not Run.objects.filter(id=run_id, team=team).exists():
            raise NotFound("There is no such run.")
        found = RefundRequest.objects.filter(run_id=run_id).order_by("id")
        return Response({"data": [asked_json(asked) for asked in found]})


def asked_json(asked: RefundRequest) -> dict[str, object]:
    currency = Hold.objects.values_list("currency", flat=True).get(run_id=asked.run_id)
    told = ("reason", "note", "state", "answer")
    times = ("created_at", "looked_at", "deadline_at", "decided_at")
    return {
        "id": asked.public_id,
        "run": ids.public("run", asked.run_id),
        **{name: getattr(asked, name) for name in told + times},
        "amount": Money(asked.amount, currency).as_json(),
        "decided_by": asked.decided_by or None,
    }


def owned(team_id: UUID, output_id: UUID | None) -> Output:
    """The team's output; another team's is NotFound like one that never was."""
    if output_id and (found := Output.objects.filter(id=output_id, run__team_id=team_id).first()):
        return found
    raise NotFound("There is no such output.", param="output")


def shown(found: Output) -> dict[str, object]:
    return output(
        {
            "id": str(found.id),
            "kind": found.kind,
            "content_type": found.content_type,
            "path": found.path,
            "expires_at": found.expires_at.isoformat(),
            "bytes": found.bytes,
            "sha256": bytes(found.sha256).hex(),
            "width": found.width,
            "height": found.height,
            "frames": found.frames,
            "seconds": float(found.seconds) if found.seconds is not None else None,
            "sound": found.sound,
        }
    )
