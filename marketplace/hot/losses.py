"""Runs whose client was gone before it was answered, for some seconds.

Clients that repeat a POST without an Idempotency-Key after a broken connection get the run that
their first try started, once, instead of a second one that is charged. Knows this process only.
"""

import time
from uuid import UUID

from marketplace.dialects.contract import Trail

SECONDS = 20.0
LARGEST = 10_000
Asked = tuple[UUID, bytes]


class Losses:
    """Team and digest of a request → what was started for it, under way or lost."""

    def __init__(self) -> None:
        self.under_way: dict[Asked, list[tuple[UUID, Trail]]] = {}
        self.lost: dict[Asked, list[tuple[float, UUID]]] = {}

    def begin(self, asked: Asked, run_id: UUID, trail: Trail) -> None:
        """A run was admitted for this request; `end` follows when it has been answered."""
        trail.asked = asked
        self.under_way.setdefault(asked, []).append((run_id, trail))

    def end(self, trail: Trail) -> None:
        """The answer is ready: keep the run for a retry where nobody is there to take it."""
        if (asked := trail.asked) is None:
            return
        for run_id, other in self.under_way.get(asked, []):
            if other is trail and trail.left():
                self.keep(asked, run_id)
        self.drop(asked, trail)

    def keep(self, asked: Asked, run_id: UUID) -> None:
        if len(self.lost) >= LARGEST:
            self.lost.clear()
        self.lost.setdefault(asked, []).append((time.monotonic() + SECONDS, run_id))

    def drop(self, asked: Asked, trail: Trail) -> None:
        """Forget it. One that a retry has claimed is gone already."""
        rest = [entry for entry in self.under_way.get(asked, []) if entry[1] is not trail]
        if rest:
            self.under_way[asked] = rest
        else:
            self.under_way.pop(asked, None)

    def claim(self, asked: Asked) -> UUID | None:
        """A run that this request may be a retry of; each is given once."""
        for run_id, trail in self.under_way.get(asked, []):
            if trail.left():
                self.drop(asked, trail)
                return run_id
        now = time.monotonic()
        fresh = [run_id for until, run_id in self.lost.pop(asked, []) if until > now]
        for run_id in fresh[1:]:
            self.keep(asked, run_id)
        return fresh[0] if fresh else None
