"""100,000 drawn (price version, request, witnesses): quotes bind, expectations hold, more is more.

Prints what was drawn; `make prove` shows it.
"""

import time

import pytest

from tests.marketplace.metering.generated import (
    Draw,
    as_expected_where_all_is_as_requested,
    grows_with_each_quantity,
    never_above_its_quote,
)

pytestmark = pytest.mark.proofs

VERSIONS, REQUESTS = 10_000, 10


def test_no_quote_is_ever_exceeded() -> None:
    draw, settled, begun = Draw(seed=20_261_120), 0, time.monotonic()
    for _ in range(VERSIONS):
        lines, facts = draw.version()
        for _ in range(REQUESTS):
            drawn = draw.request(lines, facts)
            settled += never_above_its_quote(drawn, draw)
            as_expected_where_all_is_as_requested(drawn)
            grows_with_each_quantity(drawn, draw)
    print(
        f"\n{VERSIONS:,} versions × {REQUESTS} requests: quote ≥ charge, expected = charge,"
        f" monotone in each quantity; {settled:,} of the random witnesses agreed and were charged,"
        f" the rest went to review; {time.monotonic() - begun:.0f} s"
    )
    assert settled > VERSIONS * REQUESTS // 20
