"""What is told, in whose words: events, schemes, and the renderers that dialects bring.

A scheme is how one kind of client wants to be told. Its renderer is named in
`settings.WEBHOOK_RENDERERS` by its dotted path, so this room imports no dialect.
"""

import hashlib
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.utils.module_loading import import_string

from marketplace import ids

Row = Mapping[str, Any]

STARTED, PROGRESS, OUTPUT, FINISHED = "run.started", "run.progress", "run.output", "run.finished"
RANKS = {STARTED: 0, PROGRESS: 1, OUTPUT: 2, FINISHED: 3}
EVENTS = tuple(RANKS)  # what a run's own webhook may ask for

# What an endpoint may ask for, and the scheme that it is then told in.
TYPES = {
    STARTED: "standard",
    FINISHED: "standard",
    "video.completed": "openai",
    "video.failed": "openai",
}


@dataclass(frozen=True, slots=True)
class Event:
    """id: the same over all tries and for all addresses. type: one of EVENTS, or of TYPES for an
    endpoint that asked for that word."""

    id: str
    type: str
    at: datetime


# What to send about a run, given its row of `runs.view.RUN_SQL` as it was at the event; None where
# the scheme has nothing to say about it. The same row and event must give the same bytes.
Render = Callable[[Row, Event], bytes | None]


def known(scheme: str) -> bool:
    return scheme in settings.WEBHOOK_RENDERERS


def render(scheme: str, row: Row, event: Event) -> bytes | None:
    """The body that `scheme` sends."""
    renderer: Render = import_string(settings.WEBHOOK_RENDERERS[scheme])
    return renderer(row, event)


def types_of(event: str, state: str) -> list[str]:
    """The words for an event that endpoints may have asked for."""
    if event != FINISHED:
        return [event] if event in TYPES else []
    return [FINISHED, "video.completed" if state == "succeeded" else "video.failed"]


def event_id(*parts: object) -> str:
    """`evt_…`, always the same for the same parts: telling again never makes a second event."""
    digest = hashlib.sha256("|".join(map(str, parts)).encode()).digest()
    return ids.public("evt", uuid.UUID(bytes=digest[:16]))
