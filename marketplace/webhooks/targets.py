"""What a run is given to tell of itself: one address, the events it wants, in whose words."""

from collections.abc import Sequence
from typing import Any

from django.conf import settings

from marketplace import addresses
from marketplace.errors import InvalidInput
from marketplace.webhooks import schemes

MOST = 5  # of one run


def target(
    *,
    url: Any,
    events: Sequence[str] = (schemes.FINISHED,),
    scheme: str = "standard",
    param: str = "webhook",
) -> dict[str, Any]:
    """A webhook of a run, as `prepare(webhooks=[…])` takes it.

    events: of `schemes.EVENTS`. param: what the caller named the address. Raises InvalidInput.
    """
    if not schemes.known(scheme):
        raise ValueError(f"settings.WEBHOOK_RENDERERS names no renderer of {scheme}.")
    unknown = [event for event in events if event not in schemes.EVENTS]
    if unknown or not events:
        raise InvalidInput(f"events must be some of {', '.join(schemes.EVENTS)}.", param=param)
    return {"url": callable_url(url, param), "events": sorted(set(events)), "scheme": scheme}


def callable_url(url: Any, param: str) -> str:
    """`url`, if we may call it. Raises InvalidInput."""
    if not isinstance(url, str):
        raise InvalidInput(f"{param} must be a URL in a string.", param=param)
    if fault := addresses.fault(url, loopback=settings.ALLOW_LOOPBACK_WEBHOOKS):
        raise InvalidInput(f"{param} {fault}.", param=param)
    return url
