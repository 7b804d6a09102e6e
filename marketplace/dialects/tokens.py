"""Tokens that stand for a key for a while and for one use, such as a browser may be given.

They hold the key's id, signed. A token ends when its time is over or its key does.
"""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.core import signing

from marketplace.dialects.contract import Caller
from marketplace.errors import NotAuthenticated

SALT = "kinora.tokens"


def issue(caller: Caller, *, use: str, seconds: int, to: str = "") -> tuple[str, datetime]:
    """The token and when it ends. to: what it may be used on, where that is one thing."""
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=seconds)
    said = {"key": caller.key_id.hex, "use": use, "to": to, "until": int(until.timestamp())}
    return signing.dumps(said, salt=SALT), until


def read(token: str, *, use: str) -> tuple[UUID, str]:
    """The id of the key, and what the token may be used on. Raises NotAuthenticated."""
    try:
        said: dict[str, Any] = signing.loads(token, salt=SALT)
    except signing.BadSignature:
        raise NotAuthenticated("This token is not valid.") from None
    if said["use"] != use or said["until"] <= datetime.now(UTC).timestamp():
        raise NotAuthenticated("This token has expired, or is for something else.")
    return UUID(said["key"]), said["to"]
