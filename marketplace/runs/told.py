"""What our own webhooks say of a run: event type, time, and the run as the API shows it."""

import orjson

from marketplace.runs.view import Row, as_json
from marketplace.webhooks.schemes import Event


def render(row: Row, event: Event) -> bytes:
    """`{"type", "timestamp", "data": <run>}`, as Standard Webhooks proposes."""
    return orjson.dumps({"type": event.type, "timestamp": event.at, "data": as_json(row)})
