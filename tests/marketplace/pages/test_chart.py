"""The shapes of the chart add up to its amounts."""

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from marketplace.pages.chart import HEIGHT, MOST_BARS, WIDTH, chart, rounded_up

DAY = date(2026, 11, 20)
NAMES = st.sampled_from([f"lab/{letter}" for letter in "abcdefgh"])
AMOUNTS = st.dictionaries(
    st.tuples(st.integers(0, 200), NAMES), st.integers(1, 10**13), min_size=1, max_size=40
)


@given(AMOUNTS, st.integers(200, 366))
def test_bars_and_series_hold_every_nano(amounts: dict[tuple[int, str], int], span: int) -> None:
    found = {(DAY + timedelta(days=day), name): sum_ for (day, name), sum_ in amounts.items()}
    made = chart(DAY, DAY + timedelta(days=span), found)
    assert sum(bar.total for bar in made.bars) == sum(found.values())
    assert sum(series.total for series in made.series) == sum(found.values())
    assert made.top >= max(bar.total for bar in made.bars)
    for bar in made.bars:
        heights = sum(segment.height for segment in bar.segments)
        assert abs(heights - HEIGHT * bar.total / made.top) < 0.05
        assert all(-0.01 <= segment.y <= HEIGHT for segment in bar.segments)


def test_days_follow_one_another_without_a_gap() -> None:
    for span in (0, 6, MOST_BARS - 1, MOST_BARS, 365):
        last = DAY + timedelta(days=span)
        bars = chart(DAY, last, {}).bars
        assert (bars[0].first, bars[-1].last) == (DAY, last)
        ends = [bar.last + timedelta(days=1) for bar in bars]
        assert ends[:-1] == [bar.first for bar in bars[1:]]
        assert abs(sum(bar.slot_width for bar in bars) - WIDTH) < 1
        assert len(bars) == (span + 1 if span < MOST_BARS else -(-(span + 1) // 7))


def test_five_names_have_a_tone_and_the_rest_is_grey() -> None:
    amounts = {(DAY, f"lab/{n}"): 10 + n for n in range(7)}
    made = chart(DAY, DAY, amounts)
    assert [(series.name, series.tone) for series in made.series] == [
        ("lab/6", 1), ("lab/5", 2), ("lab/4", 3), ("lab/3", 4), ("lab/2", 5), (None, 0),
    ]  # fmt: skip
    assert made.series[-1].total == 21
    assert [segment.tone for segment in made.bars[0].segments] == [1, 2, 3, 4, 5, 0]


@given(st.integers(0, 10**18))
def test_the_scale_ends_on_a_plain_number(amount: int) -> None:
    top = rounded_up(amount)
    assert amount <= top <= max(10, amount * 2)
    assert top % 2 == 0
    assert len(str(top).rstrip("0")) <= 2
