"""The management API of labs: who calls, what its role may do, and the lab's keys.

A view of a lab is a `LabView` that names the right it takes to read and to write. `lab_of(request)`
is the lab; what another lab owns is NotFound like what never was.
"""

from collections.abc import Iterable
from typing import Any, ClassVar

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.utils import extend_schema
from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request
from rest_framework.response import Response

from marketplace import ids
from marketplace.accounts.api import OpenView, body_of
from marketplace.catalog import lab_keys
from marketplace.catalog.models import Lab, LabKey
from marketplace.errors import InvalidInput, NotAuthenticated, NotFound


class LabCaller:
    """Whom a lab's key speaks for, where Django expects a user."""

    is_authenticated = True
    is_active = True

    def __init__(self, key: LabKey) -> None:
        self.key = key
        self.pk = key.id


class LabKeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer kin_lab_…`."""

    def authenticate(self, request: Request) -> tuple[LabCaller, LabKey]:
        if key := lab_keys.found(request.headers.get("Authorization", "")):
            return LabCaller(key), key
        raise NotAuthenticated("This key is not valid here. A lab's key starts with kin_lab_.")

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class LabKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How the OpenAPI document names labs' keys."""

    target_class = LabKeyAuthentication
    name = "labKey"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "bearerFormat": "kin_lab_…"}


class RoleMay(BasePermission):
    """The key's role has the right that the view names for the method."""

    def has_permission(self, request: Request, view: Any) -> bool:
        right = view.reads if request.method in SAFE_METHODS else view.writes
        lab_keys.check(lab_key_of(request), right)
        return True


class LabView(OpenView):
    """What a key of a lab may call. reads, writes: rights, of `lab_keys.RIGHTS`."""

    authentication_classes = (LabKeyAuthentication,)
    permission_classes = (RoleMay,)
    reads: ClassVar[str] = "read"
    writes: ClassVar[str] = "keys"


def lab_key_of(request: Request) -> LabKey:
    """The lab's key that calls."""
    key = request.auth
    if not isinstance(key, LabKey):
        raise NotAuthenticated("Send a lab's key.")
    return key


def lab_of(request: Request) -> Lab:
    return lab_key_of(request).lab


def fields_of(
    request: Request, known: Iterable[str], *, needed: Iterable[str] = ()
) -> dict[str, Any]:
    """The body, which has fields of `known` and no other. Raises InvalidInput."""
    data, known = body_of(request), tuple(known)
    for name in data:
        if name not in known:
            raise InvalidInput(
                f"{name[:80]} is not a field here. Known fields: {', '.join(known)}.",
                param=name[:80],
            )
    for name in needed:
        if name not in data:
            raise InvalidInput(f"{name} is missing.", param=name)
    return data


LAB_KEY = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "examples": ["labkey_01jd7x3yvyte9sagyvwwf6hge6"]},
        "name": {"type": "string"},
        "role": {"enum": list(lab_keys.ROLES)},
        "prefix": {"type": "string", "description": "The start of the key, to tell it by."},
        "created_at": {"type": "string", "format": "date-time"},
        "revoked_at": {"type": ["string", "null"], "format": "date-time"},
        "last_used_at": {"type": ["string", "null"], "format": "date-time"},
    },
}
NEW_LAB_KEY = LAB_KEY | {
    "properties": LAB_KEY["properties"]  # type: ignore[operator]
    | {"key": {"type": "string", "description": "The key itself; told once."}}
}
LAB_KEY_WISH = {
    "type": "object",
    "required": ["name", "role"],
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 80},
        "role": {"enum": list(lab_keys.ROLES)},
    },
}
SELF = {
    "type": "object",
    "properties": {
        "lab": {"type": "string"},
        "name": {"type": "string"},
        "role": {"enum": list(lab_keys.ROLES)},
        "rights": {"type": "array", "items": {"enum": list(lab_keys.RIGHTS)}},
        "models": {"type": "array", "items": {"type": "string"}},
    },
}


class Self(LabView):
    """The lab that calls."""

    @extend_schema(operation_id="getLab", responses={200: SELF})
    def get(self, request: Request) -> Response:
        """The lab, its models, and what this key may do."""
        key = lab_key_of(request)
        return Response(
            {
                "lab": key.lab.slug,
                "name": key.lab.name,
                "role": key.role,
                "rights": [r for r in lab_keys.RIGHTS if r in lab_keys.ROLES[key.role]],
                "models": [f"{key.lab.slug}/{m.slug}" for m in key.lab.models.order_by("slug")],
            }
        )


class LabKeys(LabView):
    """The lab's keys."""

    reads = writes = "keys"

    @extend_schema(
        operation_id="listLabKeys",
        responses={
            200: {"type": "object", "properties": {"data": {"type": "array", "items": LAB_KEY}}}
        },
    )
    def get(self, request: Request) -> Response:
        """The lab's keys, newest first, revoked ones too."""
        return Response({"data": [shown(key) for key in lab_of(request).keys.all()]})

    @extend_schema(
        operation_id="createLabKey",
        request={"application/json": LAB_KEY_WISH},
        responses={201: NEW_LAB_KEY},
    )
    def post(self, request: Request) -> Response:
        """Make a key. Its text is in this answer and nowhere else."""
        data = fields_of(request, ("name", "role"))
        key, text = lab_keys.create(
            lab=lab_of(request), name=data.get("name"), role=data.get("role")
        )
        return Response({**shown(key), "key": text}, status=201)


class OneLabKey(LabView):
    """One key of the lab."""

    @extend_schema(operation_id="revokeLabKey", request=None, responses={200: LAB_KEY})
    def delete(self, request: Request, lab_key: str) -> Response:
        """Revoke a key. Repeats safely."""
        named = ids.private("labkey", lab_key)
        found = lab_of(request).keys.filter(id=named).first() if named else None
        if found is None:
            raise NotFound("There is no such key.", param="lab_key")
        return Response(shown(lab_keys.revoke(key=found)))


def shown(key: LabKey) -> dict[str, Any]:
    return {
        "id": key.public_id,
        **{name: getattr(key, name) for name in ("name", "role", "prefix")},
        **{name: getattr(key, name) for name in ("created_at", "revoked_at", "last_used_at")},
    }
