"""The headers that prove that we sent it: of Standard Webhooks, or fal's four lines.

Signatures are made anew with each try, since receivers refuse old ones; id and body stay.
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from marketplace import ids
from marketplace.webhooks import secrets


@dataclass(frozen=True, slots=True)
class Parcel:
    """A delivery in hand. number: of this try. turning: the secret before is still good."""

    id: UUID
    url: str
    host: str
    scheme: str
    event_id: str
    rank: int
    run_id: UUID | None
    team_id: UUID
    endpoint_id: UUID | None
    generation: int
    turning: bool
    body: bytes
    number: int
    pardoned: int


def headers(parcel: Parcel, timestamp: int) -> Mapping[str, str]:
    """Of one try at `timestamp` (Unix seconds)."""
    if parcel.scheme == "fal":
        return fal(parcel, timestamp) | {"webhook-id": parcel.event_id}
    return standard(parcel.event_id, timestamp, parcel.body, secrets_of(parcel))


def secrets_of(parcel: Parcel) -> list[str]:
    """The secret, and for a day after a turn the one before it."""
    generations = [parcel.generation, parcel.generation - 1][: 1 + parcel.turning]
    if parcel.endpoint_id:
        return [secrets.endpoint_secret(parcel.endpoint_id, g) for g in generations]
    return [secrets.team_secret(parcel.team_id, g) for g in generations]


def standard(event_id: str, timestamp: int, body: bytes, known: list[str]) -> dict[str, str]:
    """Standard Webhooks: HMAC-SHA256 over `id.timestamp.body`, one signature for each secret."""
    message = f"{event_id}.{timestamp}.".encode() + body
    signatures = []
    for secret in known:
        key = base64.b64decode(secret.removeprefix("whsec_"))
        signatures.append("v1," + base64.b64encode(hmac.digest(key, message, "sha256")).decode())
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signatures),
    }


def fal(parcel: Parcel, timestamp: int) -> dict[str, str]:
    """fal's: Ed25519 over request id, user id, timestamp and the body's SHA-256, a line each."""
    request = ids.public("run", parcel.run_id) if parcel.run_id else parcel.event_id
    user = ids.public("team", parcel.team_id)
    lines = (request, user, str(timestamp), hashlib.sha256(parcel.body).hexdigest())
    signature = secrets.signing_key().sign("\n".join(lines).encode())
    return {
        "X-Fal-Webhook-Request-Id": request,
        "X-Fal-Webhook-User-Id": user,
        "X-Fal-Webhook-Timestamp": str(timestamp),
        "X-Fal-Webhook-Signature": signature.hex(),
    }
