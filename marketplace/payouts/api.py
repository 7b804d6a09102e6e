"""What a lab sees of its money over the API, and proposes: agreements, statements, prices."""

from datetime import datetime
from typing import Any

from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from marketplace import ids
from marketplace.catalog.api import LabView, fields_of, lab_key_of, lab_of
from marketplace.catalog.models import Lab
from marketplace.errors import InvalidInput, NotFound
from marketplace.money import Money, plain
from marketplace.payouts import openapi
from marketplace.payouts.close import last_of, line_json, untold
from marketplace.payouts.export import TYPES, download, told
from marketplace.payouts.figures import added
from marketplace.payouts.models import Agreement, PriceProposal, Statement
from marketplace.payouts.propose import propose, release_of, withdraw
from marketplace.payouts.split import WHOLE

LARGEST_PAGE = 1000


class MoneyView(LabView):
    """What takes the right `money`."""

    reads = "money"


class Agreements(MoneyView):
    """The agreement's versions."""

    @extend_schema(operation_id="listLabAgreements", responses={200: openapi.AGREEMENTS})
    def get(self, request: Request) -> Response:
        """The terms with us, the newest first; runs follow those of the instant of their hold."""
        return Response({"data": [agreement_json(a) for a in lab_of(request).agreements.all()]})


class Statements(MoneyView):
    """Statements, closed and open."""

    @extend_schema(operation_id="listLabStatements", responses={200: openapi.STATEMENTS})
    def get(self, request: Request) -> Response:
        """Closed statements, the newest first, and what no statement has told yet."""
        lab = lab_of(request)
        closed = lab.statements.select_related("lab").all()
        return Response({"data": [told(each) for each in closed], "open": opened(lab)})


class OneStatement(MoneyView):
    """One statement."""

    @extend_schema(operation_id="getLabStatement", responses={200: openapi.STATEMENT})
    def get(self, request: Request, statement: str) -> Response:
        """The figures of a closed statement."""
        return Response(told(owned(request, statement)))


class StatementLines(MoneyView):
    """A statement's lines."""

    @extend_schema(
        operation_id="listLabStatementLines",
        parameters=[OpenApiParameter("cursor", int), OpenApiParameter("limit", int)],
        responses={200: openapi.LINES},
    )
    def get(self, request: Request, statement: str) -> Response:
        """Every charge, refund, cost and adjustment, oldest first."""
        found = owned(request, statement)
        first = whole(request, "cursor", 0, 0, 2**31 - 1)
        limit = whole(request, "limit", 100, 1, LARGEST_PAGE)
        page = found.lines.filter(position__gte=first).order_by("position")[: limit + 1]
        rows = [line_json(line.position, vars(line)) for line in page]
        after = rows[limit]["line"] if len(rows) > limit else None
        return Response({"data": rows[:limit], "next_cursor": after})


class StatementExport(MoneyView):
    """A statement as a file."""

    @extend_schema(
        operation_id="exportLabStatement",
        parameters=[OpenApiParameter("as", str, enum=list(TYPES))],
        responses={(200, kind): {"type": "string"} for kind in TYPES.values()},
    )
    def get(self, request: Request, statement: str) -> StreamingHttpResponse:
        """The whole statement as JSON lines, which carry the hash, or as CSV."""
        found, kind = owned(request, statement), request.query_params.get("as", "json")
        if kind not in TYPES:
            raise InvalidInput(f"as must be one of {', '.join(TYPES)}.", param="as")
        return download(found, kind)


class Proposals(LabView):
    """Price proposals."""

    writes = "price"

    @extend_schema(operation_id="listLabProposals", responses={200: openapi.PROPOSALS})
    def get(self, request: Request) -> Response:
        """What was proposed and what became of it, the newest first."""
        found = PriceProposal.objects.filter(release__model__lab=lab_of(request))
        return Response({"data": [proposal_json(p) for p in named(found)[:LARGEST_PAGE]]})

    @extend_schema(
        operation_id="proposeLabPrice",
        request={"application/json": openapi.PROPOSAL_WISH},
        responses={201: openapi.PROPOSAL},
    )
    def post(self, request: Request) -> Response:
        """Propose a price or a tariff. Nothing changes until an admin accepts it."""
        data = fields_of(request, openapi.WISHES, needed=("model", "lines", "effective_from"))
        made = propose(
            release=release_of(lab_of(request), data["model"]),
            kind=data.get("kind", "price"),
            lines=data["lines"],
            policy=data.get("policy"),
            effective_from=instant(data["effective_from"]),
            note=data.get("note", ""),
            key=lab_key_of(request),
        )
        return Response(proposal_json(made), status=201)


class OneProposal(LabView):
    """One price proposal."""

    writes = "price"

    @extend_schema(operation_id="getLabProposal", responses={200: openapi.PROPOSAL})
    def get(self, request: Request, proposal: str) -> Response:
        """One proposal."""
        return Response(proposal_json(proposed(request, proposal)))

    @extend_schema(
        operation_id="withdrawLabProposal", request=None, responses={200: openapi.PROPOSAL}
    )
    def delete(self, request: Request, proposal: str) -> Response:
        """Take back what nobody decided about. Repeats safely."""
        return Response(proposal_json(withdraw(proposal=proposed(request, proposal))))


def named(found: QuerySet[PriceProposal]) -> QuerySet[PriceProposal]:
    """With the names that `proposal_json` says."""
    return found.select_related("release__model__lab", "price", "tariff")


def proposed(request: Request, name: str) -> PriceProposal:
    """The lab's proposal; another's is NotFound like one that never was."""
    value = ids.private("prop", name)
    mine = named(PriceProposal.objects.filter(release__model__lab=lab_of(request)))
    if value and (proposal := mine.filter(id=value).first()):
        return proposal
    raise NotFound("There is no such proposal.", param="proposal")


def instant(value: Any) -> datetime:
    """Raises InvalidInput where there is no time with its offset."""
    try:
        found = parse_datetime(value) if isinstance(value, str) else None
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise InvalidInput(
            "effective_from must be a time such as 2026-12-24T00:00:00Z.", param="effective_from"
        )
    return found


def proposal_json(found: PriceProposal) -> dict[str, Any]:
    begun = found.state == PriceProposal.State.ACCEPTED and found.effective_from <= timezone.now()
    version = found.price or found.tariff
    return {
        "id": found.public_id,
        "model": found.release.full_name,
        **{name: getattr(found, name) for name in openapi.TOLD},
        "state": "published" if begun else found.state,
        "version": version.version if version else None,
    }


def owned(request: Request, name: str) -> Statement:
    """The lab's statement; another's is NotFound like one that never was."""
    value = ids.private("stm", name)
    found = lab_of(request).statements.select_related("lab").filter(id=value) if value else None
    if found and (statement := found.first()):
        return statement
    raise NotFound("There is no such statement.", param="statement")


def whole(request: Request, name: str, usual: int, least: int, most: int) -> int:
    """A whole number of the query. Raises InvalidInput."""
    text = request.query_params.get(name, str(usual))
    if not text.isascii() or not text.isdigit() or not least <= int(text[:12]) <= most:
        raise InvalidInput(f"{name} must be from {least} to {most}.", param=name)
    return int(text)


def opened(lab: Lab, currency: str = "USD") -> dict[str, Any]:
    """What the next statement holds so far, before guarantees."""
    figures, last = added(untold(lab, timezone.now(), currency)), last_of(lab, currency)
    amounts = {name: getattr(figures, name) for name in openapi.SUMS}
    borne = sum(figures.borne.values())
    sums = amounts | {"borne": borne, "due": figures.due}
    return {
        "from": last.end.isoformat() if last else None,
        "lines": figures.lines_count,
        **{name: Money(amount, currency).as_json() for name, amount in sums.items()},
    }


def agreement_json(found: Agreement) -> dict[str, Any]:
    return {
        "id": found.id,
        "version": found.version,
        "currency": found.currency,
        "basis": found.basis,
        "percent": None
        if found.basis == Agreement.Basis.UNIT_COST
        else plain(found.millionths * 10**9 * 100 // WHOLE),
        "promotions": found.promotions,
        "guarantee": Money(found.guarantee, found.currency).as_json(),
        "effective_from": found.effective_from,
        "effective_to": found.effective_to,
        "note": found.note,
    }
