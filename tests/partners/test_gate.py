"""A lab is asked no faster than it allows, and hardly at all while it is down."""

from dataclasses import dataclass

import pytest

from partners.contract import Retry
from partners.gate import FAILURES, LONGEST_REST, Gate


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


def told_to_wait(gate: Gate) -> float:
    with pytest.raises(Retry) as caught, gate.call():
        raise AssertionError("it was let through")
    return caught.value.after


def fails(gate: Gate, times: int = 1) -> None:
    for _ in range(times):
        with gate.call():
            gate.failed()


def succeeds(gate: Gate) -> None:
    with gate.call():
        gate.succeeded()


def test_calls_are_spaced_out_after_the_first_burst() -> None:
    clock = Clock()
    gate = Gate(2.0, 3, clock=clock)
    for _ in range(3):
        succeeds(gate)
    assert [told_to_wait(gate) for _ in range(3)] == [0.5, 1.0, 1.5]  # one after the other
    for _ in range(3):
        clock.now += 0.5
        succeeds(gate)
    clock.now += 3600
    for _ in range(3):
        succeeds(gate)
    assert told_to_wait(gate) == 0.5


def test_without_a_rate_as_many_pass_as_come() -> None:
    gate = Gate(clock=Clock())
    for _ in range(1000):
        succeeds(gate)


def test_failures_in_a_row_shut_it_and_others_do_not() -> None:
    gate = Gate(clock=Clock())
    fails(gate, FAILURES - 1)
    succeeds(gate)
    fails(gate, FAILURES - 1)
    assert gate.state == "open"
    fails(gate)
    assert gate.state == "shut"
    assert told_to_wait(gate) == 1.0


def test_one_call_finds_out_while_the_others_wait() -> None:
    clock = Clock()
    gate = Gate(clock=clock)
    fails(gate, FAILURES)
    clock.now += 1
    assert gate.state == "probing"
    with gate.call():
        assert told_to_wait(gate) == 1.0
        gate.succeeded()
    assert gate.state == "open"
    succeeds(gate)


def test_each_failed_finding_out_rests_twice_as_long_up_to_a_limit() -> None:
    clock = Clock()
    gate = Gate(clock=clock)
    fails(gate, FAILURES)
    rests = []
    for _ in range(7):
        rests.append(told_to_wait(gate))
        clock.now += rests[-1]
        fails(gate)
    assert rests == [1.0, 2.0, 4.0, 8.0, 16.0, LONGEST_REST, LONGEST_REST]


def test_failures_of_calls_that_were_under_way_do_not_lengthen_the_rest() -> None:
    gate = Gate(clock=Clock())
    fails(gate, FAILURES)
    for _ in range(50):
        gate.failed()
    assert told_to_wait(gate) == 1.0


def test_a_finding_out_that_was_given_up_leaves_it_to_the_next() -> None:
    clock = Clock()
    gate = Gate(clock=clock)
    fails(gate, FAILURES)
    clock.now += 1
    with pytest.raises(KeyboardInterrupt), gate.call():
        raise KeyboardInterrupt
    succeeds(gate)
    assert gate.state == "open"


def test_a_lab_that_hangs_holds_only_so_many_calls() -> None:
    gate = Gate(most_open=2, clock=Clock())
    with gate.call(), gate.call():
        assert told_to_wait(gate) > 0
    succeeds(gate)
