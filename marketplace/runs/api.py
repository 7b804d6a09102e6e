"""Outputs over the API. Runs themselves are served by the hot path."""

from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from marketplace import ids
from marketplace.accounts.api import KeyView, team_of
from marketplace.errors import NotFound
from marketplace.runs.models import Output
from marketplace.runs.view import output


class Outputs(KeyView):
    """One output of the team's runs."""

    @extend_schema(
        operation_id="getOutput", responses={200: {"$ref": "#/components/schemas/Output"}}
    )
    def get(self, request: Request, output: str) -> Response:
        """An output's facts with a fresh signed address; private, and it expires."""
        found = owned(team_of(request).id, ids.private("out", output))
        return Response({**shown(found), "run": ids.public("run", found.run_id)})


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
