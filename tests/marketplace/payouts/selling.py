"""Runs of rehearsal/still that end as told, and what the books say of a lab then."""

from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import Sum

from marketplace.ledger.check import check, findings
from marketplace.ledger.models import Entry
from marketplace.payouts.invariants import INVARIANTS
from marketplace.runs.settle import End, failed
from tests.conftest import Person
from tests.journeys.books import settle
from tests.marketplace import worker
from tests.marketplace.runs.test_settle import pictures
from tests.marketplace.supply import admit

PICTURE = 2_000_000  # what a picture costs the customer, nano-units
COST = 1_200_000  # and us, by the lab's tariff


def end(run_id: UUID, attempt: int, count: int) -> None:
    """So many pictures were delivered and nobody disagrees; 0: the lab failed."""
    said = {"image": Decimal(count), "megapixel": Decimal(count * 64 * 64) / 1_000_000}
    told = End("succeeded", pictures(count), reported=said)
    assert settle(run_id, attempt, told if count else failed("supplier_error", "x", "x")) in (
        "settled",
        "replayed",
    )


def sell(person: Person, count: int = 1, *, delivered: int | None = None, **inputs: Any) -> UUID:
    """A run of `count` pictures of which some are delivered, else all."""
    run_id = admit(person, **{"size": "64x64", "count": count} | inputs)
    claimed, attempt = worker.claim()
    assert claimed == run_id
    end(run_id, attempt, count if delivered is None else delivered)
    return run_id


def owed(lab: str = "rehearsal", **which: Any) -> int:
    """What the ledger says that we owe a lab, nano-units."""
    entries = Entry.objects.filter(account__name=f"lab_payable:{lab}", **which)
    return entries.aggregate(sum=Sum("amount"))["sum"] or 0


def faults() -> list[str]:
    """What breaks an invariant of the ledger or of this room."""
    return check() + [f.said for f in findings(INVARIANTS) if f.count]
