"""A small part of the long proof of tests/proofs, with other seeds than its own."""

from tests.marketplace.metering.generated import (
    Draw,
    as_expected_where_all_is_as_requested,
    grows_with_each_quantity,
    never_above_its_quote,
)

VERSIONS, REQUESTS = 150, 4


def test_drawn_prices_keep_their_word() -> None:
    draw, settled = Draw(seed=1), 0
    for _ in range(VERSIONS):
        lines, facts = draw.version()
        for _ in range(REQUESTS):
            drawn = draw.request(lines, facts)
            settled += never_above_its_quote(drawn, draw)
            as_expected_where_all_is_as_requested(drawn)
            grows_with_each_quantity(drawn, draw)
    assert settled > VERSIONS * REQUESTS // 20
