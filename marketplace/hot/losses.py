"""Runs whose answer may not have arrived, for some seconds.

Clients that repeat a POST without an Idempotency-Key after a broken connection get the run that
their first try started, once, instead of a second one that is charged. Knows this process only.
"""

import time
from collections import deque
from dataclasses import dataclass
from uuid import UUID

from marketplace.dialects.contract import Trail
from marketplace.hot.peer import Answered

SECONDS = 20.0
LARGEST = 100_000
ALIKE = 64  # tries of one request that are remembered, the newest
Asked = tuple[UUID, bytes]


@dataclass(slots=True, eq=False)
class Try:
    """A request that began or was given a run.

    trail: while it is served. answered: after that, if our server can tell. lost: nobody was there
    to take the answer. streamed: the answer is a stream, which a client may leave when it likes.
    """

    run_id: UUID
    until: float
    trail: Trail | None
    answered: Answered | None = None
    lost: bool = False
    streamed: bool = False

    def received(self) -> bool:
        """Whether the client went on afterwards, on the same connection."""
        return not self.lost and self.answered is not None and self.answered.received()

    def missed(self, *, again: bool) -> bool:
        """Whether the client did not get its answer. again: asked for one that tries again."""
        if self.trail is not None:
            return self.trail.left() or (again and self.trail.relayed)
        if self.lost or self.answered is None:
            return self.lost
        if again:
            return self.answered.doubtful()
        return not self.streamed and self.answered.missed()


class Losses:
    """Team and digest of a request → the tries that brought it."""

    def __init__(self) -> None:
        self.tries: dict[Asked, list[Try]] = {}
        self.answered: deque[tuple[Asked, Try]] = deque()
        self.sent_back: dict[int, list[float]] = {}

    def begin(self, asked: Asked, run_id: UUID, trail: Trail) -> None:
        """A run was admitted for this request; `end` follows when it has its answer."""
        trail.asked = asked
        found = Try(run_id, time.monotonic() + SECONDS, trail)
        alike = [each for each in self.tries.get(asked, []) if not each.received()]
        self.tries[asked] = [*alike[1 - ALIKE :], found]

    def end(self, trail: Trail, answered: Answered | None, *, streamed: bool) -> None:
        """The answer goes out now."""
        if (asked := trail.asked) is None:
            return
        for found in self.tries.get(asked, []):
            if found.trail is trail:
                found.lost, found.trail = trail.left(), None
                found.until = time.monotonic() + SECONDS
                found.answered, found.streamed = answered, streamed
                self.answered.append((asked, found))
        self.forget()

    def refuse(self, trail: Trail) -> None:
        """A first try is told to come back: its second has a run of its own to ask for."""
        if trail.tries == 0:
            if len(self.sent_back) >= LARGEST:
                self.sent_back.clear()
            self.sent_back.setdefault(trail.mark, []).append(time.monotonic() + SECONDS)

    def claim(self, asked: Asked, trail: Trail) -> UUID | None:
        """A run that this request may be a retry of; each is given once."""
        again = bool(trail.tries) and not self.came_back(trail)
        now = time.monotonic()
        for found in self.tries.get(asked, []):
            if (found.trail or found.until > now) and found.missed(again=again):
                self.drop(asked, found)
                return found.run_id
        return None

    def came_back(self, trail: Trail) -> bool:
        now = time.monotonic()
        told = [until for until in self.sent_back.pop(trail.mark, []) if until > now]
        if told[1:]:
            self.sent_back[trail.mark] = told[1:]
        return bool(told)

    def drop(self, asked: Asked, found: Try) -> None:
        if found in (known := self.tries.get(asked, [])):
            known.remove(found)
        if not known:
            self.tries.pop(asked, None)

    def forget(self) -> None:
        """What is too old, or too much."""
        now = time.monotonic()
        while self.answered and (self.answered[0][1].until < now or len(self.answered) > LARGEST):
            self.drop(*self.answered.popleft())
