"""Give back what a run was charged, in whole or in part. The function is `refund.sql`.

Whether a refund is due is somebody else's decision.
"""

from dataclasses import dataclass
from uuid import UUID

from django.db import connection

from marketplace.errors import Conflict, IdempotencyConflict, InvalidInput
from marketplace.ledger.models import Hold
from marketplace.money import Money


@dataclass(frozen=True, slots=True)
class Refund:
    """amount: what it gave back; remaining: of the charge, what can still be given back."""

    transfer_id: int
    amount: Money
    remaining: Money


def refund(*, run: UUID, amount: int | None, reference: str, note: str) -> Refund:
    """Give `amount` nano-units of a run's charge back to where they were taken; None: the rest.

    Repeats safely: the same `reference` gives the transfer made first. Raises Conflict where it is
    more than is left or nothing was charged, IdempotencyConflict where the reference stands for
    another refund. Runs inside the caller's transaction, which refunds no other run.
    """
    if amount is not None and amount <= 0:
        raise InvalidInput("A refund is more than 0.", param="amount")
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT code, transfer_id, refunded, refundable FROM refund_run(%s, %s, %s, %s)",
            [run, amount, reference, note],
        )
        code, transfer, refunded, remaining = cursor.fetchone()
    if code == "not_charged":
        raise Conflict("Nothing was charged for this run.")
    if code == "reference_used":
        raise IdempotencyConflict("This reference stands for another refund.", param="reference")
    currency = Hold.objects.values_list("currency", flat=True).get(run_id=run)
    left = Money(remaining, currency)
    if code == "too_much":
        raise Conflict(f"Only {left} of the charge is left.", refundable=left.as_json())
    return Refund(transfer, Money(refunded, currency), left)
