"""Make and revoke the keys that act for a lab, and what each role may do with one.

A lab's key starts with `kin_lab_` and is otherwise made as a team's. It opens `/api/v1/lab` and
nothing else; a team's key opens nothing there.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.db.models import Q
from django.utils import timezone

from marketplace.accounts import keys
from marketplace.catalog.models import Lab, LabKey
from marketplace.errors import InvalidInput, NotAllowed

PREFIX = "kin_lab_"
SHOWN = len(PREFIX) + 6
RIGHTS: Mapping[str, str] = {
    "read": "see the lab's models, releases, their runs' health and the demand for them",
    "money": "see agreements and statements",
    "price": "propose prices",
    "launch": "manage releases, windows and grants",
    "keys": "manage keys",
}
ROLES: Mapping[str, frozenset[str]] = {
    "owner": frozenset(RIGHTS),
    "finance": frozenset({"read", "money", "price"}),
    "launch": frozenset({"read", "launch"}),
    "viewer": frozenset({"read"}),
}


def create(*, lab: Lab, name: Any, role: Any) -> tuple[LabKey, str]:
    """Store a new key and return it with its text, which cannot be had again.

    Raises InvalidInput naming the field.
    """
    if not isinstance(name, str) or not 1 <= len(name.strip()) <= 80:
        raise InvalidInput("name must have 1 to 80 characters.", param="name")
    if not isinstance(role, str) or role not in ROLES:
        raise InvalidInput(f"role must be one of {', '.join(ROLES)}.", param="role")
    text = keys.drawn(PREFIX)
    key = LabKey.objects.create(
        lab=lab, name=name.strip(), role=role, prefix=text[:SHOWN], digest=keys.digest(text)
    )
    return key, text


def found(authorization: str) -> LabKey | None:
    """The key of an Authorization header, if it holds. Raises NotAuthenticated for a text that is
    no key, without asking the database."""
    digest = keys.presented(authorization)
    held = LabKey.objects.select_related("lab").filter(digest=digest, revoked_at=None).first()
    if held:
        minute = timezone.now() - timedelta(minutes=1)
        stale = Q(last_used_at=None) | Q(last_used_at__lt=minute)
        LabKey.objects.filter(stale, id=held.id).update(last_used_at=timezone.now())
    return held


def check(key: LabKey, right: str) -> None:
    """Raises NotAllowed where the key's role does not have the right."""
    if right not in ROLES.get(key.role, ()):
        able = [role for role, rights in ROLES.items() if right in rights]
        raise NotAllowed(
            f"The role `{key.role}` may not {RIGHTS[right]}; {' or '.join(able)} may.", right=right
        )


def revoke(*, key: LabKey) -> LabKey:
    """End a key. Repeats safely."""
    if key.revoked_at is None:
        key.revoked_at = timezone.now()
        key.save(update_fields=["revoked_at"])
    return key
