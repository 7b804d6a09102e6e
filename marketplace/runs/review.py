"""Runs whose witnesses disagreed: what waits for an admin, and the admin's decision.

The customer has the output already; the hold stays as it was. A decision names what is charged in
units, so that the receipt's arithmetic holds, and never exceeds the hold. What nobody decides in
time is not charged: a disagreement between witnesses is not the customer's to wait for.
"""

import logging
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

from django.conf import settings
from django.contrib.postgres.functions import TransactionNow
from django.db import transaction
from django.utils import timezone

from marketplace.accounts.models import User
from marketplace.errors import Conflict, InvalidInput, NotFound
from marketplace.ledger import capture
from marketplace.ledger.models import Hold
from marketplace.metering.models import MeterEvent
from marketplace.metering.quote import counted_units, priced_lines, total
from marketplace.money import Money
from marketplace.runs import claim
from marketplace.runs.connections import Row, rows
from marketplace.runs.models import Decision, Run
from marketplace.runs.refunds import working_days
from marketplace.runs.settle import Case, captured

log = logging.getLogger(__name__)

WAITING_SQL = """
    SELECT h.run_id, h.amount AS held, h.currency, b.slug || '/' || m.slug AS model,
           e.unit, e.requested, e.reported, e.measured
      FROM ledger_hold h
      JOIN runs_run r ON r.id = h.run_id
      JOIN catalog_release l ON l.id = r.release_id
      JOIN catalog_model m ON m.id = l.model_id
      JOIN catalog_lab b ON b.id = m.lab_id
      LEFT JOIN metering_meterevent e ON e.run_id = h.run_id
     WHERE h.state = 'in_review' ORDER BY h.created_at, e.unit"""

LATE = "We did not look at it in time, so nothing was charged."


def answer_by(ended: datetime) -> datetime:
    """Until when a person decides about a run that ended then."""
    return working_days(ended, settings.REFUND_WORKING_DAYS)


def overdue() -> int:
    """Void the holds that nobody decided about in time. Gives how many: should be 0."""
    now = timezone.now()
    in_review = Hold.objects.filter(state=Hold.State.IN_REVIEW).values("run_id")
    ended = Run.objects.filter(
        id__in=in_review, finished_at__lt=now - timedelta(days=settings.REFUND_WORKING_DAYS)
    )
    late = [run for run in ended.order_by("finished_at")[:200] if answer_by(ended_at(run)) < now]
    for run in late:
        log.error("nobody decided about %s in time: it is not charged", run.public_id)
        with suppress(Conflict):  # somebody was quicker
            decide(run=run.id, charged={}, words=LATE, why="overdue")
    return len(late)


def ended_at(run: Run) -> datetime:
    return run.finished_at or run.created_at


def waiting() -> list[Row]:
    """What the three witnesses said of each run in review, oldest first; a row per unit."""
    return rows((WAITING_SQL, []))


@transaction.atomic
def decide(
    *,
    run: UUID,
    charged: Mapping[str, Decimal],
    admin: User | None = None,
    words: str = "",
    why: str = "",
) -> Money:
    """Charge these quantities, unit → quantity, or nothing; gives what was captured.

    words: what the team reads of it; why: our note. Both are kept with who decided.
    Captures or voids the hold and writes the quantities to the run's meter events. Raises
    NotFound, InvalidInput for a unit that the price lacks, Conflict where the run is not in review
    or the charge would exceed the hold.
    """
    known = rows(claim.cases([run]))
    if not known:
        raise NotFound("There is no such run.")
    amount = cost(known[0], charged)
    if amount > known[0]["held"]:
        raise Conflict(f"Only {Money(known[0]['held'], known[0]['currency'])} is held.")
    case = Case.from_row(known[0], known[0]["attempt"])
    closing = captured(case, amount) if amount else capture.voided()
    lock_in_review(run)
    capture.close(closings={run: closing})
    for unit, quantity in charged.items():  # counted on the day that it is charged
        event = MeterEvent.objects.filter(run_id=run, unit=unit)
        event.update(quantity=quantity, timestamp=TransactionNow())
    act = "charge" if amount else "void"
    Decision.objects.create(run_id=run, user=admin, act=act, amount=amount, words=words, why=why)
    return Money(amount, known[0]["currency"])


def cost(known: Row, charged: Mapping[str, Decimal]) -> int:
    """Nano-units of these quantities at the run's own price. Raises InvalidInput."""
    units = counted_units(known["lines"])
    for unit, quantity in charged.items():
        if unit not in units or not quantity.is_finite() or quantity < 0:
            raise InvalidInput(f"`{unit}` cannot be charged here.", param=unit)
    used = dict.fromkeys(units, Decimal(0)) | dict(charged)
    return total(priced_lines(known["lines"], used, known["inputs"], known["created_at"]))


def lock_in_review(run: UUID) -> None:
    """Raises Conflict where the hold is closed, or still open for a run that goes on."""
    hold = Hold.objects.select_for_update().get(run_id=run)
    if hold.state != Hold.State.IN_REVIEW:
        raise Conflict(f"This run's hold is {hold.state}, not in review.")
