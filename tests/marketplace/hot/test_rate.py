"""Token buckets: exact counts on a clock of the test's own."""

from uuid import UUID

import pytest

from marketplace.errors import Busy
from marketplace.hot.rate import LARGEST, Limiter, Rate

ADA, CY = UUID(int=1), UUID(int=2)


class Clock:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def limiter(clock: Clock) -> Limiter:
    return Limiter({"write": Rate(2, 5), "read": Rate(0, 0)}, clock)


def test_a_burst_passes_and_the_next_is_told_when_to_come() -> None:
    clock = Clock()
    bucket = limiter(clock)
    left = [bucket.take(ADA, "write") for _ in range(5)]
    assert [allowance.remaining for allowance in left if allowance] == [4, 3, 2, 1, 0]
    with pytest.raises(Busy) as refusal:
        bucket.take(ADA, "write")
    assert refusal.value.facts["retry_after"] == 1
    assert bucket.take(CY, "write")


def test_refused_requests_take_nothing() -> None:
    clock = Clock()
    bucket = limiter(clock)
    for _ in range(5):
        bucket.take(ADA, "write")
    for _ in range(6):
        with pytest.raises(Busy):
            bucket.take(ADA, "write")
    clock.seconds += 0.5
    allowance = bucket.take(ADA, "write")
    assert allowance is not None
    assert (allowance.limit, allowance.remaining, allowance.reset) == (5, 0, 2.5)


def test_a_bucket_never_holds_more_than_its_burst() -> None:
    clock = Clock()
    bucket = limiter(clock)
    bucket.take(ADA, "write")
    clock.seconds += 1000
    allowance = bucket.take(ADA, "write")
    assert allowance is not None
    assert allowance.remaining == 4


def test_no_rate_is_no_limit() -> None:
    bucket = limiter(Clock())
    assert [bucket.take(ADA, "read") for _ in range(100)] == [None] * 100


def test_full_buckets_are_forgotten() -> None:
    clock = Clock()
    bucket = limiter(clock)
    for number in range(LARGEST):
        bucket.take(UUID(int=number), "write")
    clock.seconds += 10
    bucket.take(UUID(int=LARGEST), "write")
    assert len(bucket.buckets) == 1
