"""How many requests a team may send: a token bucket each for starting runs and for the rest.

Refused requests take nothing, so a client that knocks six times at once is let in as soon as one
that waited. Each web process counts for itself.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from uuid import UUID

from marketplace.dialects.contract import Allowance
from marketplace.errors import Busy

LARGEST = 100_000  # buckets; full ones are forgotten beyond it


@dataclass(frozen=True, slots=True)
class Rate:
    """per_second: tokens that come back; burst: the most at once. 0 per second is no limit."""

    per_second: float
    burst: int


@dataclass(slots=True)
class Bucket:
    tokens: float
    at: float


class Limiter:
    """rates: kind of request → its rate. now: seconds of a monotonic clock."""

    def __init__(
        self, rates: Mapping[str, Rate], now: Callable[[], float] = time.monotonic
    ) -> None:
        self.rates = rates
        self.now = now
        self.buckets: dict[tuple[UUID, str], Bucket] = {}

    def take(self, team_id: UUID, kind: str) -> Allowance | None:
        """One request; None where there is no limit. Raises Busy where the bucket is empty."""
        rate = self.rates[kind]
        if rate.per_second == 0:
            return None
        bucket = self.filled(team_id, kind, rate)
        if bucket.tokens < 1:
            seconds = (1 - bucket.tokens) / rate.per_second
            raise Busy(
                f"Too many requests. Try again in {max(1, round(seconds))} s.",
                retry_after=max(1, round(seconds + 0.5)),
                limit=rate.burst,
            )
        bucket.tokens -= 1
        missing = (rate.burst - bucket.tokens) / rate.per_second
        return Allowance(rate.burst, int(bucket.tokens), missing)

    def filled(self, team_id: UUID, kind: str, rate: Rate) -> Bucket:
        now = self.now()
        bucket = self.buckets.get((team_id, kind))
        if bucket is None:
            self.forget_full(now)
            bucket = self.buckets[team_id, kind] = Bucket(float(rate.burst), now)
        bucket.tokens = min(rate.burst, bucket.tokens + (now - bucket.at) * rate.per_second)
        bucket.at = now
        return bucket

    def forget_full(self, now: float) -> None:
        """Buckets that time has filled say nothing more than new ones."""
        if len(self.buckets) < LARGEST:
            return
        for key, bucket in list(self.buckets.items()):
            rate = self.rates[key[1]]
            if bucket.tokens + (now - bucket.at) * rate.per_second >= rate.burst:
                del self.buckets[key]
