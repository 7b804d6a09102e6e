"""Outputs, usage and statements over the API, and what labs see of runs.

Runs themselves are served by the hot path.
"""

from datetime import date
from uuid import UUID

from django.http import StreamingHttpResponse
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from marketplace import ids
from marketplace.access.authorise import authorise
from marketplace.accounts.api import KeyView, body_of, presented_key, team_of
from marketplace.catalog.api import LabView, fields_of, lab_of
from marketplace.errors import InvalidInput, NotFound
from marketplace.ledger.models import Hold
from marketplace.money import Money
from marketplace.payouts.invoice import HEAD, read
from marketplace.payouts.models import Difference, Invoice
from marketplace.runs import focus, openapi
from marketplace.runs.demand import demand
from marketplace.runs.invoices import bring
from marketplace.runs.models import Output, RefundRequest, Run
from marketplace.runs.refunds import ask
from marketplace.runs.release_health import LONGEST, health
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
MOST_INVOICES = 100
STATEMENT_LINE = {
    "type": "object",
    "description": "One line of the statement; the fields follow from its kind.",
    "required": ["kind"],
    "properties": {"kind": {"enum": ["kinora.statement", "price", "run", "total"]}},
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
        request={"application/json": openapi.REFUND_WISH},
        responses={201: openapi.REFUND_REQUEST, 200: openapi.REFUND_REQUEST},
    )
    def post(self, request: Request, run: str) -> Response:
        """Ask for a refund of a run. Granted at once where our books agree, or as soon as
        the files were looked at (`looked_at`) and agree; else a person answers by the deadline.
        While one is open, asking again gives that one."""
        key, wish = presented_key(request), body_of(request)
        authorise(scopes=key.scopes, needs="run")
        for field in wish:
            if field not in openapi.REFUND_WISH["properties"]:
                raise InvalidInput(f"{field[:80]} is not a field here.", param=field[:80])
        asked, made = ask(
            run=ids.private("run", run),
            team_id=key.team_id,
            reason=wish.get("reason"),
            note=wish.get("note", ""),
            key=key,
        )
        return Response(asked_json(asked), status=201 if made else 200)

    @extend_schema(operation_id="listRefundRequests", responses={200: openapi.REFUND_REQUESTS})
    def get(self, request: Request, run: str) -> Response:
        """What was asked for a run and how it was decided, oldest first."""
        run_id, team = ids.private("run", run), team_of(request)
        if not run_id or not Run.objects.filter(id=run_id, team=team).exists():
            raise NotFound("There is no such run.")
        found = RefundRequest.objects.filter(run_id=run_id).order_by("id")
        return Response({"data": [asked_json(asked) for asked in found]})


class LabReleases(LabView):
    """A lab's releases and how their runs do."""

    @extend_schema(
        operation_id="listLabReleases",
        parameters=[OpenApiParameter("hours", int, description=f"1 to {LONGEST}; 24 unless told.")],
        responses={200: openapi.LAB_RELEASES},
    )
    def get(self, request: Request) -> Response:
        """Every release of the lab, with how its runs of the last hours ended and how long they
        took."""
        text = request.query_params.get("hours", "24")
        if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= LONGEST:
            raise InvalidInput(f"hours must be from 1 to {LONGEST}.", param="hours")
        return Response({"data": health(lab_of(request), int(text))})


class LabDemand(LabView):
    """The demand for a lab's models."""

    @extend_schema(
        operation_id="getLabDemand",
        parameters=[OpenApiParameter("month", str, required=True, description="`2026-10`")],
        responses={200: openapi.LAB_DEMAND},
    )
    def get(self, request: Request) -> Response:
        """How many accounts tried each model in a month that is over, were charged, and came back.
        Figures are rounded down to tens and not told below ten."""
        month = request.query_params.get("month", "")
        return Response({"month": month, "data": demand(lab_of(request), month)})


class LabInvoices(LabView):
    """A lab's invoices."""

    reads = writes = "money"

    @extend_schema(operation_id="listLabInvoices", responses={200: openapi.LAB_INVOICES})
    def get(self, request: Request) -> Response:
        """What was brought in, the newest first, with where it differs from our books."""
        found = lab_of(request).invoices.prefetch_related("differences")
        return Response({"data": [invoice_json(each) for each in found[:MOST_INVOICES]]})

    @extend_schema(
        operation_id="sendLabInvoice",
        request={"application/json": openapi.LAB_INVOICE_WISH},
        responses={201: openapi.LAB_INVOICE, 200: openapi.LAB_INVOICE},
    )
    def post(self, request: Request) -> Response:
        """Send an invoice, as lines or as the text of a CSV. The same again changes nothing."""
        data = fields_of(request, (*HEAD, "lines", "csv"))
        invoice, new = bring(lab=lab_of(request), bill=read(data))
        return Response(invoice_json(invoice), status=201 if new else 200)


def invoice_json(found: Invoice) -> dict[str, object]:
    told = found.differences.all()
    return {
        "id": found.public_id,
        "reference": found.reference,
        "from": found.start,
        "to": found.end,
        "amount": Money(found.amount, found.currency).as_json(),
        "brought_at": found.brought_at,
        "differences": [difference_json(each, found.currency) for each in told],
    }


def difference_json(found: Difference, currency: str) -> dict[str, object]:
    amounts = {name: getattr(found, name) for name in ("billed", "expected")}
    return {
        "id": found.public_id,
        **{name: getattr(found, name) for name in ("kind", "place", "state", "why")},
        **{name: Money(amount, currency).as_json() for name, amount in amounts.items()},
        "evidence": found.evidence,
    }


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
