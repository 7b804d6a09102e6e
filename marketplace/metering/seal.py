"""What a price version says, in one spelling, and the digest that seals it.

A customer who recomputes a charge hashes the same text: JSON with sorted names, no spaces, UTF-8.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any


def canonical(value: Any) -> bytes:
    """The one spelling that is hashed."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode()


def digest(
    *,
    release: str,
    currency: str,
    segment: str,
    version: int,
    lines: Sequence[Mapping[str, Any]],
    effective_from: datetime,
    policy: Mapping[str, Any] | None = None,
) -> str:
    """Hex SHA-256 of all that a version says. policy: only where the version has one of its own."""
    said = {
        "release": release,
        "currency": currency,
        "segment": segment,
        "version": version,
        "lines": list(lines),
        "effective_from": effective_from.astimezone(UTC).isoformat(),
    }
    if policy:
        said["policy"] = policy
    return hashlib.sha256(canonical(said)).hexdigest()
