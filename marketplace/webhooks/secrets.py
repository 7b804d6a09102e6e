"""The secrets that receivers check our signatures with, and the key pair of those who take ours.

A secret is derived from the house's own (`settings.WEBHOOK_SECRET`) and whom it is for, so no row
holds one and a copy of the database signs nothing. Turning it is counting a generation up.
"""

import base64
import hashlib
import hmac
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.conf import settings

TEAM_GENERATION_SQL = "SELECT generation FROM webhooks_teamsecret WHERE team_id = %s"


def endpoint_secret(endpoint_id: UUID, generation: int) -> str:
    return derived(f"endpoint|{endpoint_id}|{generation}")


def team_secret(team_id: UUID, generation: int) -> str:
    """What signs the webhooks that a team's runs bring along."""
    return derived(f"team|{team_id}|{generation}")


def derived(name: str) -> str:
    """`whsec_` and 32 bytes in standard base 64, which has no `_`: some clients split at it."""
    return "whsec_" + base64.b64encode(raw(name)).decode()


def raw(name: str) -> bytes:
    return hmac.digest(settings.WEBHOOK_SECRET.encode(), name.encode(), "sha256")


def signing_key() -> Ed25519PrivateKey:
    """What signs in fal's scheme."""
    return key_of(settings.WEBHOOK_SIGNING_KEY)


def key_of(text: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(text.encode()).digest())


def jwks() -> dict[str, Any]:
    """The public keys: the one that signs, and the one that will or that did before it.

    Receivers keep the list for a day and try every key in it.
    """
    texts = [settings.WEBHOOK_SIGNING_KEY, settings.WEBHOOK_OTHER_KEY]
    return {"keys": [jwk(key_of(text)) for text in texts if text]}


def jwk(key: Ed25519PrivateKey) -> dict[str, str]:
    public = key.public_key().public_bytes_raw()
    return {
        "kty": "OKP",
        "crv": "Ed25519",
        "use": "sig",
        "alg": "EdDSA",
        "kid": hashlib.sha256(public).hexdigest()[:16],
        "x": base64.urlsafe_b64encode(public).rstrip(b"=").decode(),
    }
