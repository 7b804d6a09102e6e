"""A stacked chart of money by day, as the rectangles of an SVG. Pure: amounts in, shapes out.

The picture is drawn in a box of WIDTH × HEIGHT that a page stretches; its words are HTML beside it.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

WIDTH, HEIGHT = 1000, 200
STEPS = 5  # of the one hue; what is less than these is grey together
OTHERS = "Others"
MOST_BARS = 100  # beyond, a bar is a week
STEADY = (10, 12, 16, 20, 30, 40, 50, 60, 80)  # each has a plain half


@dataclass(frozen=True, slots=True)
class Segment:
    """tone: 1 … 5 from dark to light, 0 for the others."""

    tone: int
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class Bar:
    """first and last: its days. x and width: of the bar; slot and slot_width: of its place."""

    first: date
    last: date
    total: int
    slot: float
    slot_width: float
    x: float
    width: float
    segments: tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class Series:
    """name: None for the others."""

    name: str | None
    tone: int
    total: int


@dataclass(frozen=True, slots=True)
class Chart:
    """top: nano-units at the upper edge. bars: oldest first; series: as stacked, from below."""

    bars: tuple[Bar, ...]
    series: tuple[Series, ...]
    top: int

    @property
    def half(self) -> int:
        return self.top // 2


def chart(first: date, last: date, amounts: Mapping[tuple[date, str], int]) -> Chart:
    """amounts: (day, name) → nano-units, none negative."""
    series = ranked(amounts)
    tones = {each.name: each.tone for each in series if each.name is not None}
    spans = slots(first, last)
    heights: dict[date, Counter[int]] = {start: Counter() for start, _ in spans}
    start_of = {
        start + timedelta(days=n): start
        for start, end in spans
        for n in range((end - start).days + 1)
    }
    for (when, name), amount in amounts.items():
        heights[start_of[when]][tones.get(name, 0)] += amount
    top = rounded_up(max((each.total() for each in heights.values()), default=0))
    order = [each.tone for each in series]
    width = WIDTH / len(spans)
    bars = tuple(
        bar(span, heights[span[0]], order, top, place * width, width)
        for place, span in enumerate(spans)
    )
    return Chart(bars, series, top)


def ranked(amounts: Mapping[tuple[date, str], int]) -> tuple[Series, ...]:
    """The largest names in a tone each, the rest as one."""
    totals: Counter[str] = Counter()
    for (_, name), amount in amounts.items():
        totals[name] += amount
    ranking = sorted(totals.items(), key=lambda each: (-each[1], each[0]))
    named = tuple(Series(name, tone, sum_) for tone, (name, sum_) in enumerate(ranking[:STEPS], 1))
    rest = ranking[STEPS:]
    return named + ((Series(None, 0, sum(sum_ for _, sum_ in rest)),) if rest else ())


def slots(first: date, last: date) -> list[tuple[date, date]]:
    """First and last day of every bar: a day, or a week that ends with the last day."""
    length = 1 if (last - first).days < MOST_BARS else 7
    found, end = [], last
    while end >= first:
        start = max(first, end - timedelta(days=length - 1))
        found.append((start, end))
        end = start - timedelta(days=1)
    return found[::-1]


def bar(
    span: tuple[date, date],
    heights: Counter[int],
    order: Sequence[int],
    top: int,
    slot: float,
    width: float,
) -> Bar:
    y, segments = float(HEIGHT), []
    for tone in order:
        if heights[tone]:
            height = HEIGHT * heights[tone] / top
            y -= height
            segments.append(Segment(tone, round(y, 2), round(height, 2)))
    inner = width * 0.76
    return Bar(
        *span,
        total=heights.total(),
        slot=round(slot, 2),
        slot_width=round(width, 2),
        x=round(slot + (width - inner) / 2, 2),
        width=round(inner, 2),
        segments=tuple(segments),
    )


def rounded_up(amount: int) -> int:
    """The next amount with a plain number at its top and at its half."""
    power: int = 10 ** max(0, len(str(amount)) - 2)
    return next(
        step * power * ten for ten in (1, 10) for step in STEADY if step * power * ten >= amount
    )
