"""Outputs and statements over the API. Runs themselves are served by the hot path."""

from datetime import date
from uuid import UUID

from django.http import StreamingHttpResponse
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from marketplace import ids
from marketplace.accounts.api import KeyView, team_of
from marketplace.errors import NotFound
from marketplace.runs.models import Output
from marketplace.runs.statement import CONTENT_TYPE, period, streamed
from marketplace.runs.view import output

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
