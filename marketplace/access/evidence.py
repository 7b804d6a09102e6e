"""A lab's log of what was decided, as a signed report that `docs/verify_window.py` verifies.

The chain is `evidence.sql`'s. The signature is over the lab, the instant, how many rows there are
and the last one's digest: so rows cannot be left off at the end either.
"""

import hashlib
import json
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.conf import settings
from django.db import connection, transaction

from marketplace.access.models import Evidence
from marketplace.catalog.models import Lab

BEGINNING = "0" * 64
SIGNED = ("lab", "at", "count", "head", "key")


def catch_up(lab: Lab) -> int:
    """Note what the clock has brought about since. Repeats safely; gives how many rows are new."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT catch_up_evidence(%s)", [lab.pk])
        return int(cursor.fetchone()[0])


def catch_up_all() -> int:
    """The same for every lab. A chore of the beat; nothing depends on when it is done."""
    return sum(catch_up(lab) for lab in Lab.objects.order_by("id"))


def report(lab: Lab) -> dict[str, Any]:
    """The whole log of a lab, up to this instant, signed with Ed25519."""
    catch_up(lab)
    rows = [
        {"number": row.number, "body": row.body, "digest": bytes(row.digest).hex()}
        for row in Evidence.objects.filter(lab=lab).order_by("number")
    ]
    with connection.cursor() as cursor:
        cursor.execute("SELECT instant(now())")
        at = cursor.fetchone()[0]
    head = rows[-1]["digest"] if rows else BEGINNING
    told = {"lab": lab.slug, "at": at, "count": len(rows), "head": head, "key": public_key()}
    return told | {"signature": key().sign(text(told)).hex(), "rows": rows}


def text(told: dict[str, Any]) -> bytes:
    """What is signed."""
    named = {name: told[name] for name in SIGNED}
    return json.dumps(named, sort_keys=True, separators=(",", ":")).encode()


def key() -> Ed25519PrivateKey:
    """Derived from the house's signing secret for this use alone."""
    secret = hashlib.sha256(f"kinora.evidence:{settings.WEBHOOK_SIGNING_KEY}".encode())
    return Ed25519PrivateKey.from_private_bytes(secret.digest())


def public_key() -> str:
    """Hex."""
    return key().public_key().public_bytes_raw().hex()
