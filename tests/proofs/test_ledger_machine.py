"""The ledger's state machine in full: 1,000 examples of 50 steps, each step checked to the nano."""

import os
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import invariant, run_state_machine_as_test

from tests.marketplace.ledger.machine import Ledger
from tests.proofs import figures

EXAMPLES = int(os.environ.get("PROOF_EXAMPLES", "1000"))
STEPS = 50

pytestmark = pytest.mark.proofs


class Counted(Ledger):
    examples, steps, begun = 0, 0, 0.0

    def __init__(self) -> None:
        super().__init__()
        Counted.examples += 1
        if Counted.examples % 50 == 0:
            took = time.monotonic() - Counted.begun
            print(f"{Counted.examples} examples, {Counted.steps} steps, {took:.0f} s", flush=True)

    @invariant()
    def count(self) -> None:
        Counted.steps += 1


@pytest.mark.django_db(transaction=True)  # each example is a transaction of its own
def test_the_ledger_agrees_with_plain_python_for_a_thousand_lives() -> None:
    Counted.begun = time.monotonic()
    run_state_machine_as_test(
        Counted,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        ),
    )
    found: dict[str, Any] = {
        "examples": Counted.examples,
        "steps, all invariants after each": Counted.steps,
        "seconds": round(time.monotonic() - Counted.begun),
    }
    assert Counted.examples >= EXAMPLES
    figures.keep("state machine: L1-L7, L10, L12, L14-L16, L18", found)
