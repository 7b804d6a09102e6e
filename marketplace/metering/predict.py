"""How long a run will compute: a line through past runs, and an interval that was tested on others.

Seconds follow the work asked for: steps × count, and pixels or length where that fits better. The
line is fitted robustly (Theil–Sen) on the older runs, widened by how far others of them lay from it
(split conformal), and tried on the newest, which it has not seen. Pure. A prediction bounds
nothing: the hold stays at the release's hard timeout.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import ceil, floor
from statistics import fmean, median
from typing import Any

from marketplace.metering.units.megapixel import sides

LEAST, MOST = 30, 400  # runs: fewer say nothing, more are too old
TESTED = 100  # of the newest runs, at most
TAIL = 0.05  # of the runs is to lie on either side
SLOPES = 120  # runs that the slope is taken from: 7,140 pairs
SHORTEST = 0.001  # seconds
FACTORS: tuple[tuple[str, ...], ...] = (
    ("steps", "count"),
    ("steps", "count", "pixels"),
    ("steps", "count", "length"),
    ("steps", "count", "pixels", "length"),
)
Point = tuple[float, float]  # work, seconds
Asked = Mapping[str, Any]
Past = tuple[Asked, float]  # inputs, seconds


@dataclass(frozen=True, slots=True)
class Fit:
    """seconds ≈ intercept + slope × work, from `low` to `high` times that for nine runs in ten.

    runs: it was fitted on. inside of tested: how it did on newer ones; error: seconds, the mean of
    |predicted − real| there.
    """

    factors: tuple[str, ...]
    intercept: float
    slope: float
    low: float
    high: float
    runs: int
    tested: int
    inside: int
    error: float

    def seconds(self, inputs: Asked, facts: Asked) -> float:
        return line(self.intercept, self.slope, work(self.factors, inputs, facts))

    def interval(self, inputs: Asked, facts: Asked) -> tuple[float, float]:
        middle = self.seconds(inputs, facts)
        return middle * self.low, middle * self.high


def work(factors: Sequence[str], inputs: Asked, facts: Asked) -> float:
    """What is asked for, as one number; a factor that the inputs and facts do not name is 1."""
    found = 1.0
    for factor in factors:
        if factor == "pixels":
            found *= pixels(inputs)
        else:
            name = "seconds" if factor == "length" else factor
            value = inputs.get(name, facts.get(name))
            found *= float(value) if isinstance(value, int | float) else 1.0
    return found


def pixels(inputs: Asked) -> float:
    """Megapixels of one picture; 1 where the inputs do not say."""
    try:
        width, height = sides(inputs)
    except (KeyError, ArithmeticError):
        return 1.0
    return float(width * height) / 1e6


def line(intercept: float, slope: float, x: float) -> float:
    return max(SHORTEST, intercept + slope * x)


def fit(runs: Sequence[Past], facts: Asked) -> Fit | None:
    """Fit to runs, oldest first: (inputs, seconds). None where they are too few."""
    runs = [run for run in runs if run[1] > 0][-MOST:]
    if len(runs) < LEAST:
        return None
    new = min(TESTED, max(LEAST // 3, len(runs) // 4))
    older, newer = runs[:-new], runs[-new:]
    drawn, aside = older[::2], older[1::2]
    best = min((theil_sen(points(f, drawn, facts), f) for f in FACTORS), key=lambda found: found[0])
    _, intercept, slope, factors = best
    low, high = band(intercept, slope, points(factors, aside, facts))
    seen = points(factors, newer, facts)
    inside = sum(low <= y / line(intercept, slope, x) <= high for x, y in seen)
    error = fmean(abs(y - line(intercept, slope, x)) for x, y in seen)
    return Fit(factors, intercept, slope, low, high, len(older), new, inside, error)


def points(
    factors: Sequence[str], runs: Sequence[tuple[Asked, float]], facts: Asked
) -> list[Point]:
    return [(work(factors, inputs, facts), seconds) for inputs, seconds in runs]


def theil_sen(
    runs: Sequence[Point], factors: tuple[str, ...]
) -> tuple[float, float, float, tuple[str, ...]]:
    """(median distance, intercept, slope, factors): a line that a few odd runs do not move."""
    some = runs[-SLOPES:]
    rises = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in combinations(some, 2) if a[0] != b[0]]
    slope = max(0.0, median(rises)) if rises else 0.0
    intercept = max(0.0, median(y - slope * x for x, y in runs))
    off = median(abs(y - line(intercept, slope, x)) for x, y in runs)
    return off, intercept, slope, factors


def band(intercept: float, slope: float, runs: Sequence[Point]) -> tuple[float, float]:
    """Between which multiples of the line nine of ten runs lie; none of these drew it."""
    ratios = sorted(y / line(intercept, slope, x) for x, y in runs)
    below = floor((len(ratios) + 1) * TAIL)
    above = ceil((len(ratios) + 1) * (1 - TAIL))
    return ratios[max(0, below - 1)], ratios[min(len(ratios), above) - 1]
