"""Make, check and revoke API keys: `kin_live_` + 30 random base-62 characters + 6 of CRC-32.

The checksum rejects a typo without a query; the SHA-256 of the whole key is what is stored
(178 bits of entropy, so a slow hash would add nothing but load).
"""

import hashlib
import re
import secrets
import zlib
from collections.abc import Sequence
from datetime import timedelta

from django.utils import timezone

from marketplace.accounts.models import ApiKey, Team, User
from marketplace.errors import NotAllowed, NotAuthenticated

BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
PREFIX = "kin_live_"
SHAPE = re.compile(r"kin_(live|test|lab)_[0-9A-Za-z]{36}")
SCHEMES = ("bearer", "key", "token")
SCOPES = ("run", "read", "manage")
USUAL = ("run", "read")  # a key that leaks must not lift its own limits
SHOWN = len(PREFIX) + 6


def checksum(text: str) -> str:
    """Six base-62 digits of the CRC-32 of `text`."""
    number, digits = zlib.crc32(text.encode()), ""
    for _ in range(6):
        number, digit = divmod(number, 62)
        digits = BASE62[digit] + digits
    return digits


def well_formed(key: str) -> bool:
    """Whether `key` has the shape and the checksum of a key; asks no database."""
    return bool(SHAPE.fullmatch(key)) and secrets.compare_digest(key[-6:], checksum(key[:-6]))


def digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def presented(authorization: str) -> bytes:
    """The digest of the key in an Authorization header. Asks no database.

    Clients of other services say `Key` or `Token` for `Bearer`, and may put an id and a colon
    before the key. Raises NotAuthenticated where there is none or its checksum is wrong.
    """
    scheme, _, said = authorization.strip().partition(" ")
    if scheme.lower() not in SCHEMES or not said:
        raise NotAuthenticated("Send your API key as `Authorization: Bearer kin_live_…`.")
    key = said.strip().rpartition(":")[2]
    if not well_formed(key):
        raise NotAuthenticated("This is not an API key: its checksum is wrong.")
    return digest(key)


def drawn(prefix: str) -> str:
    """The text of a new key."""
    body = prefix + "".join(secrets.choice(BASE62) for _ in range(30))
    return body + checksum(body)


def create(
    *, team: Team, name: str, created_by: User | None = None, scopes: Sequence[str] = USUAL
) -> tuple[ApiKey, str]:
    """Store a new key and return it with its text, which cannot be had again."""
    text = drawn(PREFIX)
    key = ApiKey.objects.create(
        team=team,
        name=name,
        prefix=text[:SHOWN],
        digest=digest(text),
        scopes=list(scopes),
        created_by=created_by,
    )
    return key, text


def within(key: ApiKey, scopes: Sequence[str]) -> None:
    """Raises NotAllowed where `scopes` hold one that `key` has not."""
    if lacking := sorted(set(scopes) - set(key.scopes)):
        raise NotAllowed(
            f"This key lacks the scope `{lacking[0]}`, so it cannot manage keys that have it.",
            scope=lacking[0],
        )


def note_use(key: ApiKey) -> None:
    """Keep when a key was used last, to the minute."""
    now = timezone.now()
    if key.last_used_at is None or now - key.last_used_at > timedelta(minutes=1):
        ApiKey.objects.filter(id=key.id).update(last_used_at=now)


def revoke(*, key: ApiKey) -> ApiKey:
    """End a key. Repeats safely; takes effect in every web process within 2 s."""
    if key.revoked_at is None:
        key.revoked_at = timezone.now()
        key.save(update_fields=["revoked_at"])
    return key
