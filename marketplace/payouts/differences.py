"""Decide about a difference between an invoice and our books: pay as billed, or not.

What is paid beyond what was booked, or saved, is an adjustment in the ledger, once; it is in the
lab's next statement and in the run's margin.
"""

from django.db import connection, transaction
from django.utils import timezone

from marketplace.accounts.models import User
from marketplace.errors import Conflict, InvalidInput
from marketplace.ledger.accounts import cogs_account
from marketplace.payouts.close import BOOK_SQL
from marketplace.payouts.models import Difference

MOST = 200


def waiting() -> list[Difference]:
    """The open ones, oldest first."""
    found = Difference.objects.filter(state=Difference.State.OPEN).select_related("invoice__lab")
    return list(found.order_by("id")[:MOST])


@transaction.atomic
def settle_difference(
    *, difference: Difference, accepted: bool, admin: User | None, why: str
) -> Difference:
    """Pay as billed, or as booked. Raises InvalidInput without a reason, Conflict where it is
    decided already."""
    if not why.strip():
        raise InvalidInput("Say why: it is kept with the decision.", param="why")
    found = (
        Difference.objects.select_for_update(of=("self",))
        .select_related("invoice__lab")
        .get(pk=difference.pk)
    )
    if found.state != Difference.State.OPEN:
        raise Conflict(f"This difference is {found.state} already.")
    if accepted:
        adjust(found)
    found.state = Difference.State.ACCEPTED if accepted else Difference.State.REFUSED
    found.why, found.decided_by, found.decided_at = why.strip()[:500], admin, timezone.now()
    found.save()
    return found


def adjust(found: Difference) -> None:
    lab, invoice = found.invoice.lab.slug, found.invoice
    with connection.cursor() as cursor:
        cursor.execute(
            BOOK_SQL,
            [
                *(f"adjustment:{found.id}", "adjustment", lab, cogs_account(found.model or lab)),
                *(invoice.currency, found.billed - found.expected, found.run_id, None),
                f"Invoice {invoice.reference}: {found.kind}"[:200],
            ],
        )
