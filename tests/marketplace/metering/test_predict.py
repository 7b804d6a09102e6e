"""A predicted interval holds nine of ten runs that it has not seen, and odd runs do not move it."""

from random import Random
from typing import Any

import pytest

from marketplace.metering import predict
from marketplace.metering.predict import Fit, fit

SIZES = (256, 512, 1024)


def past(
    count: int, *, seed: int = 1, by_pixels: bool = False, odd: float = 0.0
) -> list[tuple[dict[str, Any], float]]:
    """Runs of 0.2 s and 0.05 s a step and picture (or megapixel), with noise and odd ones."""
    draw, runs = Random(seed), []
    for _ in range(count):
        inputs = {
            "steps": draw.randint(4, 50), "count": draw.randint(1, 4), "size": draw.choice(SIZES),
        }  # fmt: skip
        work = inputs["steps"] * inputs["count"]
        scale = inputs["size"] ** 2 / 1e6 if by_pixels else 1.0
        seconds = (0.2 + 0.05 * work * scale) * draw.lognormvariate(0, 0.1)
        runs.append((inputs, seconds * 20 if draw.random() < odd else seconds))
    return runs


def fitted(runs: list[tuple[dict[str, Any], float]]) -> Fit:
    found = fit(runs, {})
    assert found
    return found


@pytest.mark.parametrize("count", [0, 1, 29])
def test_few_runs_predict_nothing(count: int) -> None:
    assert fit(past(count), {}) is None


@pytest.mark.parametrize("seed", range(5))
def test_nine_of_ten_newer_runs_lie_inside(seed: int) -> None:
    found = fitted(past(400, seed=seed))
    assert (found.runs, found.tested) == (300, 100)
    assert 80 <= found.inside <= 98
    assert found.slope == pytest.approx(0.05, rel=0.1)
    assert found.low < 1 < found.high
    later = past(1_000, seed=seed + 100)
    held = sum(low <= s <= high for i, s in later for low, high in [found.interval(i, {})])
    assert 800 <= held <= 980


def test_a_few_odd_runs_do_not_move_the_line() -> None:
    plain, odd = fitted(past(300)), fitted(past(300, odd=0.03))
    assert odd.slope == pytest.approx(plain.slope, rel=0.05)
    asked = {"steps": 20, "count": 1, "size": 512}
    assert odd.seconds(asked, {}) == pytest.approx(plain.seconds(asked, {}), rel=0.1)


def test_pixels_count_where_they_explain_the_time() -> None:
    assert fitted(past(300)).factors == ("steps", "count")
    assert fitted(past(300, by_pixels=True)).factors == ("steps", "count", "pixels")


def test_runs_that_are_all_alike_are_predicted_as_they_were() -> None:
    found = fitted([({"steps": 20}, 1.5)] * 30)
    assert found.interval({"steps": 20}, {}) == (1.5, 1.5)
    assert (found.inside, found.tested, found.error) == (10, 10, 0)


def test_what_inputs_do_not_say_the_release_does() -> None:
    assert predict.work(("steps", "count"), {"count": 2}, {"steps": 20}) == 40
    assert predict.work(("steps", "length"), {"seconds": 3, "steps": None}, {}) == 3
    assert predict.pixels({"size": "auto"}) == 1


def test_the_newest_runs_are_the_test_and_a_change_shows_in_it() -> None:
    """A worker that got twice as slow is told by the figure beside the interval."""
    found = fitted([*past(300), *((i, s * 2) for i, s in past(100, seed=2))])
    assert found.inside < 20
