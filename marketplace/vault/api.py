"""Labs' secrets over their management API: written, listed by version, ended; never read."""

from datetime import timedelta
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from marketplace import ids
from marketplace.catalog.api import LabView, fields_of, lab_key_of, lab_of
from marketplace.errors import InvalidInput
from marketplace.vault.lock import FIELDS, OVERLAP, end, good, lock
from marketplace.vault.models import LabSecret

SECRET = {
    "type": "object",
    "properties": {
        "field": {"enum": list(FIELDS)},
        "version": {"type": "integer"},
        "made_at": {"type": "string", "format": "date-time"},
        "ends_at": {"type": ["string", "null"], "format": "date-time"},
    },
}
WISH = {
    "type": "object",
    "required": ["field", "secret"],
    "additionalProperties": False,
    "properties": {
        "field": {"enum": list(FIELDS)},
        "secret": {"type": "string", "writeOnly": True, "minLength": 1, "maxLength": 4096},
        "overlap_seconds": {"type": "integer", "minimum": 0, "maximum": 2_592_000},
    },
}


def shown(found: LabSecret) -> dict[str, Any]:
    return {
        "field": found.field,
        "version": found.version,
        "made_at": found.made_at,
        "ends_at": found.ends_at,
    }


class LabSecrets(LabView):
    """The secrets by which the lab knows us."""

    reads = writes = "keys"

    @extend_schema(
        operation_id="listLabSecrets", responses={200: {"type": "array", "items": SECRET}}
    )
    def get(self, request: Request) -> Response:
        """Which there are, and until when; never what they are."""
        return Response([shown(each) for each in good(lab_of(request).slug)])

    @extend_schema(
        operation_id="putLabSecret",
        request={"application/json": WISH},
        responses={201: SECRET},
    )
    def post(self, request: Request) -> Response:
        """Keep a new version. The one before stays good for a day, or as long as is said."""
        known = ("field", "secret", "overlap_seconds")
        data = fields_of(request, known, needed=known[:2])
        kept = lock(
            lab=lab_of(request).slug,
            field=data["field"],
            secret=data["secret"],
            by=ids.public("labkey", lab_key_of(request).id),
            overlap=overlap(data.get("overlap_seconds")),
        )
        return Response(shown(kept), status=201)


class OneLabSecret(LabView):
    """One version of a secret."""

    reads = writes = "keys"

    @extend_schema(operation_id="endLabSecret", responses={204: None})
    def delete(self, request: Request, field: str, version: int) -> Response:
        """Let it end now."""
        end(lab=lab_of(request).slug, field=field, version=version)
        return Response(status=204)


def overlap(seconds: Any) -> timedelta:
    """Raises InvalidInput."""
    if seconds is None:
        return OVERLAP
    if isinstance(seconds, bool) or not isinstance(seconds, int) or not 0 <= seconds <= 2_592_000:
        raise InvalidInput(
            "overlap_seconds must be a whole number from 0 to 2592000.", param="overlap_seconds"
        )
    return timedelta(seconds=seconds)
