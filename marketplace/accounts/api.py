"""Keys over the API, and what every room's `api.py` shares: who calls, bodies, errors.

A key manages no key that could do more than itself.
"""

import logging
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.db import OperationalError
from django.db.models import Q
from django.http import Http404
from django.utils import timezone
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.utils import extend_schema
from rest_framework import exceptions
from rest_framework.authentication import BaseAuthentication
from rest_framework.parsers import BaseParser
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from marketplace import body, errors, ids
from marketplace.accounts import keys
from marketplace.accounts.models import ApiKey, Team

log = logging.getLogger(__name__)
CODES: Mapping[type[Exception], type[errors.KinoraError]] = {
    Http404: errors.NotFound,
    exceptions.NotFound: errors.NotFound,
    PermissionDenied: errors.NotAllowed,
    exceptions.PermissionDenied: errors.NotAllowed,
    exceptions.NotAuthenticated: errors.NotAuthenticated,
    exceptions.AuthenticationFailed: errors.NotAuthenticated,
    exceptions.ParseError: errors.MalformedBody,
    exceptions.ValidationError: errors.InvalidInput,
    exceptions.MethodNotAllowed: errors.MethodNotAllowed,
    exceptions.UnsupportedMediaType: errors.MalformedBody,
}


class Caller:
    """Whom a key speaks for, where Django expects a user."""

    is_authenticated = True
    is_active = True

    def __init__(self, key: ApiKey) -> None:
        self.key = key
        self.pk = key.id


class KeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer kin_live_…`. A key with a wrong checksum costs no query.

    needed: else nobody calls where no key is sent.
    """

    def __init__(self, *, needed: bool = True) -> None:
        self.needed = needed

    def authenticate(self, request: Request) -> tuple[Caller, ApiKey] | None:
        if not self.needed and "Authorization" not in request.headers:
            return None
        digest = keys.presented(request.headers.get("Authorization", ""))
        live = Q(expires_at=None) | Q(expires_at__gt=timezone.now())
        key = ApiKey.objects.select_related("team").filter(live, digest=digest, revoked_at=None)
        if found := key.first():
            keys.note_use(found)
            return Caller(found), found
        raise errors.NotAuthenticated("This key is not valid.")

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class KeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How the OpenAPI document names our keys."""

    target_class = KeyAuthentication
    name = "key"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "bearerFormat": "kin_live_…"}


class Reads(BasePermission):
    """The key has the scope `read`."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        if "read" not in presented_key(request).scopes:
            raise errors.NotAllowed("This key lacks the scope `read`.", scope="read")
        return True


class StrictJSON(BaseParser):
    """JSON bodies under the same limits as on the hot path."""

    media_type = "application/json"

    def parse(
        self,
        stream: Any,
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        text = stream.read(settings.BODY_BYTES + 1)
        if len(text) > settings.BODY_BYTES:
            raise errors.TooLarge("The body is too large.", param="body")
        return body.read(text)


def presented_key(request: Request) -> ApiKey:
    """The key that calls."""
    key = request.auth
    if not isinstance(key, ApiKey):
        raise errors.NotAuthenticated("Send an API key.")
    return key


def body_of(request: Request) -> dict[str, Any]:
    """The JSON object that was sent, or an empty one."""
    data = request.data
    return data if isinstance(data, dict) else {}


def team_of(request: Request) -> Team:
    return presented_key(request).team


def team_if_any(request: Request) -> Team | None:
    """The team of the key that was sent, on views that take none too."""
    return request.auth.team if isinstance(request.auth, ApiKey) else None


def render_error(fault: Exception, context: Mapping[str, Any]) -> Response:
    """Any error in the one shape of the API. What is not foreseen is logged and told as 500."""
    error = fault if isinstance(fault, errors.KinoraError) else translated(fault)
    if error is None:
        log.error("%s failed", context["request"].path, exc_info=fault)
        error = errors.KinoraError("Something went wrong on our side.")
    return Response(error.as_json(), status=error.status, headers=error.headers())


def translated(fault: Exception) -> errors.KinoraError | None:
    if isinstance(fault, OperationalError):
        return errors.database_away()
    for kind, ours in CODES.items():
        if isinstance(fault, kind):
            return ours(str(getattr(fault, "detail", "")) or "There is no such thing.")
    return None


class OpenView(APIView):
    """What anybody may call: strict bodies, errors in the one shape."""

    parser_classes = (StrictJSON,)

    def get_exception_handler(self) -> Any:
        return render_error


class OptionalKeyView(OpenView):
    """What anybody may call, and a team sees as its own."""

    def get_authenticators(self) -> list[BaseAuthentication]:
        return [KeyAuthentication(needed=False)]


class KeyView(OpenView):
    """What a key with the scope `read` may call."""

    authentication_classes = (KeyAuthentication,)
    permission_classes = (Reads,)


class Nowhere(OpenView):
    """Every address below /api/ that is none."""

    schema = None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        raise errors.NotFound("There is no such address.")


KEY_SCHEMA = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "examples": ["key_01jd7x3yvyte9sagyvwwf6hge6"]},
        "name": {"type": "string"},
        "prefix": {"type": "string", "description": "The start of the key, to tell it by."},
        "scopes": {"type": "array", "items": {"enum": list(keys.SCOPES)}},
        "created_at": {"type": "string", "format": "date-time"},
        "expires_at": {"type": ["string", "null"], "format": "date-time"},
        "revoked_at": {"type": ["string", "null"], "format": "date-time"},
        "last_used_at": {"type": ["string", "null"], "format": "date-time"},
        "key": {
            "type": "string",
            "description": "The key itself; only in the answer to its making.",
        },
    },
}
KEY_LIST = {"type": "object", "properties": {"data": {"type": "array", "items": KEY_SCHEMA}}}
KEY_WISH = {
    "type": "object",
    "required": ["name"],
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 80},
        "scopes": {"type": "array", "items": {"enum": list(keys.SCOPES)}, "minItems": 1},
    },
}


class Keys(KeyView):
    """The team's keys."""

    @extend_schema(operation_id="listKeys", responses={200: KEY_LIST})
    def get(self, request: Request) -> Response:
        """The team's keys, newest first, revoked ones too."""
        return Response({"data": [shown(key) for key in team_of(request).keys.all()]})

    @extend_schema(
        operation_id="createKey",
        request={"application/json": KEY_WISH},
        responses={201: KEY_SCHEMA},
    )
    def post(self, request: Request) -> Response:
        """Make a key. Its text is in this answer and nowhere else."""
        maker = presented_key(request)
        name, scopes = wished(body_of(request))
        keys.within(maker, scopes)
        key, text = keys.create(
            team=maker.team, name=name, scopes=scopes, created_by=maker.created_by
        )
        return Response({**shown(key), "key": text}, status=201)


class OneKey(KeyView):
    """One key of the team."""

    @extend_schema(operation_id="revokeKey", request=None, responses={200: KEY_SCHEMA})
    def delete(self, request: Request, key: str) -> Response:
        """Revoke a key. Repeats safely; works everywhere within two seconds."""
        found = owned(team_of(request), ids.private("key", key))
        keys.within(presented_key(request), found.scopes)
        return Response(shown(keys.revoke(key=found)))


def owned(team: Team, key_id: UUID | None) -> ApiKey:
    """The team's key; another team's is NotFound like one that never was."""
    if key_id and (key := team.keys.filter(id=key_id).first()):
        return key
    raise errors.NotFound("There is no such key.", param="key")


def wished(data: Mapping[str, Any]) -> tuple[str, list[str]]:
    """The name and scopes of a new key. Raises InvalidInput."""
    for field in data:
        if field not in ("name", "scopes"):
            raise errors.InvalidInput(f"{field[:80]} is not a field here.", param=field[:80])
    name, scopes = data.get("name"), data.get("scopes", list(keys.USUAL))
    if not isinstance(name, str) or not 1 <= len(name.strip()) <= 80:
        raise errors.InvalidInput("name must have 1 to 80 characters.", param="name")
    if not isinstance(scopes, list) or not scopes or any(s not in keys.SCOPES for s in scopes):
        raise errors.InvalidInput(
            f"scopes must be some of {', '.join(keys.SCOPES)}.", param="scopes"
        )
    return name.strip(), scopes


def shown(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.public_id,
        "name": key.name,
        "prefix": key.prefix,
        "scopes": key.scopes,
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
        "last_used_at": key.last_used_at,
    }
