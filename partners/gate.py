"""The gate before a lab: how fast it is asked, and not at all while it is down.

A bucket of tokens spaces the calls out. A breaker shuts after failures in a row, lets one call
through when it has rested, and opens or rests twice as long after what became of that. Nobody waits
here: who may not call is told for how long, so that one lab's trouble holds up no other's runs.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from partners.contract import Retry

FAILURES = 5
REST_SECONDS, LONGEST_REST = 1.0, 30.0


class Gate:
    """rate: calls a second, 0 for as many as come; burst: how many of them may come at once;
    most_open: how many may wait for their answers, 0 for any."""

    def __init__(
        self,
        rate: float = 0.0,
        burst: int = 1,
        *,
        most_open: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.most_open, self.open = most_open, 0
        self.line = 0.0  # when the last of those is due who were told to come again
        self.rate, self.burst, self.clock = rate, burst, clock
        self.tokens, self.counted = float(burst), clock()
        self.failures, self.rest, self.shut_until = 0, 0.0, 0.0
        self.probing = False

    @property
    def state(self) -> str:
        """open (calls pass), shut, or probing (one call finds out)."""
        if not self.rest:
            return "open"
        return "probing" if self.probing or self.clock() >= self.shut_until else "shut"

    @contextmanager
    def call(self) -> Iterator[None]:
        """Around one call. Raises Retry where it may not be made."""
        probe = self.enter()
        self.open += 1
        try:
            yield
        finally:
            self.open -= 1
            if probe:
                self.probing = False  # also of a call that was given up: the next one finds out

    def enter(self) -> bool:
        """Whether this call is the one that finds out. Raises Retry."""
        now = self.clock()
        if self.rest and (self.probing or now < self.shut_until):
            raise Retry("the lab is down", max(self.shut_until - now, REST_SECONDS))
        if self.most_open and self.open >= self.most_open:
            raise Retry("the lab has not answered so many calls", REST_SECONDS)
        self.take(now)
        self.probing = bool(self.rest)
        return self.probing

    def take(self, now: float) -> None:
        if not self.rate:
            return
        self.tokens = min(self.burst, self.tokens + (now - self.counted) * self.rate)
        self.counted = now
        if self.tokens < 1:
            self.line = max(self.line, now + (-self.tokens) / self.rate) + 1 / self.rate
            raise Retry("the lab is asked as fast as it allows", self.line - now)
        self.tokens -= 1

    def succeeded(self) -> None:
        self.failures, self.rest = 0, 0.0

    def failed(self) -> None:
        """The lab answered with its own failure, or not at all."""
        self.failures += 1
        if self.probing or (self.failures >= FAILURES and not self.rest):
            self.rest = min(self.rest * 2 or REST_SECONDS, LONGEST_REST)
            self.shut_until = self.clock() + self.rest
