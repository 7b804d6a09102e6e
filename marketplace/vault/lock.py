"""Lock a lab's secret away, tell which there are, let one end. Nothing here can open one."""

from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from marketplace.errors import InvalidInput, NotFound, Unavailable
from marketplace.vault import masters
from marketplace.vault.envelope import Envelope, Name, VaultError, seal
from marketplace.vault.models import LabSecret

FIELDS = tuple(LabSecret.Field.values)
LONGEST = 4096  # characters
OVERLAP = timedelta(hours=24)  # for which the version before stays good
MOST_OVERLAP = timedelta(days=30)


def checked(field: Any, secret: Any) -> tuple[str, str]:
    """Raises InvalidInput, which never says the secret."""
    if field not in FIELDS:
        raise InvalidInput(f"field must be one of {', '.join(FIELDS)}.", param="field")
    if not isinstance(secret, str) or not 1 <= len(secret) <= LONGEST:
        raise InvalidInput(f"secret must have 1 to {LONGEST} characters.", param="secret")
    if secret != secret.strip() or not secret.isprintable():
        raise InvalidInput(
            "secret has blanks around it, or characters that no header can carry.", param="secret"
        )
    return field, secret


@transaction.atomic
def lock(*, lab: str, field: Any, secret: Any, by: str, overlap: timedelta = OVERLAP) -> LabSecret:
    """Keep a new version; the one before stays good for `overlap`. Raises InvalidInput,
    Unavailable where this process does not know for whom to lock."""
    field, secret = checked(field, secret)
    if not timedelta(0) <= overlap <= MOST_OVERLAP:
        raise InvalidInput("The version before may stay good for 0 to 30 days.", param="overlap")
    now = timezone.now()
    known = LabSecret.objects.select_for_update().filter(lab=lab, field=field)
    last = max((each.version for each in known), default=0)
    name = Name(lab, field, last + 1)
    try:
        found = seal(secret, name, masters.locking())
    except VaultError as fault:
        raise Unavailable(f"No secret can be kept here: {fault}") from None
    known.filter(Q(ends_at=None) | Q(ends_at__gt=now)).exclude(version=last).update(ends_at=now)
    known.filter(version=last, ends_at=None).update(ends_at=now + overlap)
    return LabSecret.objects.create(
        lab=lab,
        field=field,
        version=name.version,
        made_at=now,
        made_by=by[:80],
        sealed=found.sealed,
        wrapped=found.wrapped,
        master=found.master,
    )


def good(lab: str = "") -> QuerySet[LabSecret]:
    """Those that labs still take, the newest first."""
    found = LabSecret.objects.filter(Q(ends_at=None) | Q(ends_at__gt=timezone.now()))
    return (found.filter(lab=lab) if lab else found).order_by("lab", "field", "-version")


def end(*, lab: str, field: str, version: int) -> None:
    """Let a version end now. Raises NotFound."""
    found = good(lab).filter(field=field, version=version)
    if not found.update(ends_at=timezone.now()):
        raise NotFound("There is no such secret.")


def envelope_of(found: LabSecret) -> tuple[Envelope, Name]:
    name = Name(found.lab, found.field, found.version)
    return Envelope(bytes(found.sealed), bytes(found.wrapped), found.master), name
