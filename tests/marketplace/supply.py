"""Runs to be executed: admitted as anybody's are, and a supplier in a thread to execute them."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from marketplace.ledger.check import check
from marketplace.ledger.models import Hold
from marketplace.metering.sale import load_offers
from marketplace.runs.models import Run
from marketplace.runs.submit import submit_now
from marketplace.runs.supplier import Supplier
from tests.conftest import Person

suppliers: list[Supplier] = []
SMALL = {"size": "64x64", "latency_ms": 0}


def admit(person: Person, model: str = "rehearsal/still", **inputs: Any) -> UUID:
    """A queued run with its hold."""
    asked = {"prompt": "dusk"} | inputs
    run_id = submit_now(offer=load_offers()[model], inputs=asked, team_id=person.team.id)
    for supplier in suppliers:
        supplier.wake()  # what the hint does in the supplier's own process
    return run_id


def until(true: Callable[[], Any], seconds: float = 20) -> Any:
    """What `true` gives as soon as it is something."""
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.02)
    return found


def ended(run_id: UUID) -> Run:
    """The run, once it has ended."""
    until(lambda: Run.objects.filter(id=run_id, finished_at__isnull=False).exists())
    return Run.objects.get(id=run_id)


def closed(run_id: UUID) -> tuple[str, int]:
    """State and captured amount of a run's hold; and the ledger must be sound."""
    assert check() == []
    hold = Hold.objects.get(run_id=run_id)
    return hold.state, hold.captured


@contextmanager
def supplying(queue: str = "labs") -> Iterator[Supplier]:
    """A supplier of this process until the block ends."""
    supplier = Supplier(queue)
    supplier.start()
    suppliers.append(supplier)
    try:
        yield supplier
    finally:
        suppliers.remove(supplier)
        supplier.stop()
        supplier.join(10)
