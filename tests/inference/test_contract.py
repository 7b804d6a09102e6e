"""Walking a family's loop: it gets what it asked for, and says its steps in order."""

from __future__ import annotations

import torch

from inference.models.contract import Forward, Loop, Step, walk


def double(x: torch.Tensor, by: int) -> torch.Tensor:
    return x * by


def test_a_loop_is_sent_the_estimates_of_all_forwards_it_asked_for() -> None:
    got = []

    def loop() -> Loop:
        for index in range(2):
            rows = [{"x": torch.full((1,), float(index))}, {"x": torch.ones(1)}]
            got.append((yield [Forward(double, row, {"by": 2}, tokens=1) for row in rows]))
            yield Step(index + 1, 2, None)

    assert [step.index for step in walk(loop())] == [1, 2]
    assert [[float(x) for x in answers or ()] for answers in got] == [[0, 2], [2, 2]]


def test_a_loop_without_forwards_still_says_its_steps() -> None:
    def loop() -> Loop:
        yield Step(1, 1, None)

    assert [step.index for step in walk(loop())] == [1]


def test_a_loop_that_nobody_walks_on_asks_for_nothing_more() -> None:
    asked = []

    def loop() -> Loop:
        for index in range(5):
            asked.append(index)
            yield [Forward(double, {"x": torch.ones(1)}, {"by": 1}, tokens=1)]
            yield Step(index + 1, 5, None)

    next(walk(loop()))
    assert asked == [0]
