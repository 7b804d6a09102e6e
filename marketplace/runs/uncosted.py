"""Runs of which no tariff says what they cost us: what waits, and the amount that a person books.

The customer has the output and has paid; this is between us and the lab. Until it is booked the
margin of such a run is too high.
"""

from uuid import UUID

from django.db import transaction
from django.utils import timezone
from psycopg.types.json import Jsonb

from marketplace.accounts.models import User
from marketplace.errors import Conflict, InvalidInput, NotFound
from marketplace.runs import claim
from marketplace.runs.connections import rows
from marketplace.runs.models import Decision, Uncosted
from marketplace.runs.settle import Case, booking

MOST = 200


def waiting() -> list[Uncosted]:
    """The oldest that nobody has booked."""
    found = Uncosted.objects.filter(booked_at=None).order_by("at")
    return list(found.select_related("run__team", "run__release__model__lab")[:MOST])


@transaction.atomic
def book(*, run: UUID, amount: int, admin: User, why: str) -> None:
    """Book what a run cost us, nano-units, 0 for nothing; once. Raises NotFound, Conflict,
    InvalidInput without a reason."""
    if amount < 0 or not why.strip():
        raise InvalidInput("Say what it cost, and by what you know: an invoice, a price list.")
    found = Uncosted.objects.select_for_update().filter(run_id=run).first()
    if found is None:
        raise NotFound("No cost is missing there.")
    if found.booked_at:
        raise Conflict("Its cost is booked already.")
    [known] = rows(claim.cases([run]))
    if amount:
        item = booking(Case.from_row(known, known["attempt"]), amount) | {"run_id": str(run)}
        rows(("SELECT book_costs(%s)", [Jsonb([item])]))
    found.booked_at = timezone.now()
    found.save(update_fields=["booked_at"])
    Decision.objects.create(run_id=run, user=admin, act="cost", amount=amount, why=why[:500])
