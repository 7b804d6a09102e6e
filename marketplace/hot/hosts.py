"""Whose host a request is for: some clients can be given a host, but no path in front of theirs.

`run.`, `queue.`, `rest.`, `cdn.` and `api.` before our own name lead to a dialect's addresses. The
services' own names do too, for who puts a proxy with a certificate of its own in front of a client.
"""

from collections.abc import Mapping, MutableMapping
from typing import Any

from django.conf import settings

OWN = {
    "run": "/fal/run",
    "queue": "/fal/queue",
    "queue.run": "/fal/queue",  # where fal's Python client looks if it is told of `run.` alone
    "rest": "/fal/rest",
    "cdn": "/fal/cdn",
    "api": "/replicate",
}
THEIRS = {
    "fal.run": "/fal/run",
    "queue.fal.run": "/fal/queue",
    "rest.fal.ai": "/fal/rest",
    "rest.alpha.fal.ai": "/fal/rest",
    "v3.fal.media": "/fal/cdn",
    "api.fal.ai": "/fal/api",
    "api.replicate.com": "/replicate",
}


def known(site: str) -> Mapping[bytes, str]:
    """Host → what stands before its paths here. site: our own name."""
    own = {f"{label}.{site}": prefix for label, prefix in OWN.items()}
    return {name.encode(): prefix for name, prefix in (own | THEIRS).items()}


KNOWN = known(settings.SITE_HOST)


def aimed(scope: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The request as it would have come to our own name."""
    host = next((value for name, value in scope["headers"] if name == b"host"), b"")
    prefix = KNOWN.get(host.partition(b":")[0].lower())
    return scope if prefix is None else {**scope, "path": prefix + scope["path"]}
