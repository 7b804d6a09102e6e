"""Ask for a refund of a run, and decide about it: by evidence soon, else by an admin in time.

A request never moves more than what is left of the charge, and a run has one open at a time.
"""

import logging
import math
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Sum
from django.utils import timezone

from marketplace.accounts.models import ApiKey, User
from marketplace.errors import Conflict, InvalidInput, NotFound
from marketplace.ledger.models import Entry, Hold
from marketplace.ledger.refund import refund
from marketplace.runs import hint
from marketplace.runs.evidence import DECODING, Evidence, gather
from marketplace.runs.models import Decision, RefundRequest, Run

log = logging.getLogger(__name__)

MOST = 3  # requests per run
LONGEST = 500
PATIENCE = timedelta(seconds=30)  # for a chore that looks at files
SATURDAY = 5
AGREES = "What you told us is what we found."
LATE = "We did not answer in time, so you have it back."


def ask(
    *,
    run: UUID | None,
    team_id: UUID,
    reason: Any,
    note: Any = "",
    user: User | None = None,
    key: ApiKey | None = None,
) -> tuple[RefundRequest, bool]:
    """A request for a refund and whether it is new; one that is open is given as it is.

    Granted before it returns where the books agree. Where files have to be decoded anew a chore
    does it at once (`look`), and the request says so until then. Raises NotFound, also for another
    team's run, InvalidInput, Conflict where nothing can be given back. A refusal writes nothing.
    """
    found = Run.objects.filter(id=run, team_id=team_id).first() if run else None
    if found is None:
        raise NotFound("There is no such run.")
    check_words(reason, note)
    if present := open_request(found):
        return present, False
    check_possible(found)
    evidence = None if reason in DECODING else gather(found, reason)
    with transaction.atomic():
        hold = Hold.objects.select_for_update().get(run_id=found.id)
        if present := open_request(found):
            return present, False
        check_possible(found)
        request = RefundRequest.objects.create(
            run=found,
            user=user,
            key=key,
            reason=reason,
            note=note.strip(),
            evidence=evidence.facts if evidence else {},
            looked_at=timezone.now() if evidence else None,
            deadline_at=working_days(timezone.now(), settings.REFUND_WORKING_DAYS),
        )
        if evidence is None:
            transaction.on_commit(lambda: hint.look(request.id))
        elif evidence.share:
            give(request, amount_of(hold, evidence), admin=None, words=AGREES, why="evidence")
    return request, True


def look(request: UUID) -> bool:
    """Decode the files of a request anew and grant it where we find the same; whether it was due.

    Takes seconds, outside a transaction. Repeats safely: of two that look at once one counts.
    """
    asked = RefundRequest.objects.select_related("run").filter(id=request, looked_at=None).first()
    if asked is None:
        return False
    evidence = gather(asked.run, asked.reason)
    with transaction.atomic():
        found = RefundRequest.objects.select_for_update().get(id=request)
        if found.looked_at:
            return False
        found.evidence, found.looked_at = evidence.facts, timezone.now()
        found.save(update_fields=["evidence", "looked_at"])
        hold = Hold.objects.select_for_update().get(run_id=found.run_id)
        amount = amount_of(hold, evidence)
        if amount and found.state == RefundRequest.State.OPEN:
            give(found, amount, admin=None, words=AGREES, why="evidence")
    return True


def unlooked() -> int:
    """Look where the chore was lost. Gives how many waited: should be 0."""
    since = timezone.now() - PATIENCE
    waiting = RefundRequest.objects.filter(looked_at=None, created_at__lt=since)
    return sum(look(found) for found in list(waiting.values_list("id", flat=True)[:20]))


def check_words(reason: Any, note: Any) -> None:
    """Raises InvalidInput."""
    known = RefundRequest.Reason.values
    if reason not in known:
        raise InvalidInput(f"reason must be one of {', '.join(known)}.", param="reason")
    if not isinstance(note, str) or len(note) > LONGEST:
        raise InvalidInput(f"note must be a text of at most {LONGEST} characters.", param="note")
    if reason == "other" and not note.strip():
        raise InvalidInput("note must say what is wrong.", param="note")


def check_possible(run: Run) -> None:
    """Raises Conflict where there is nothing to give back, or not by a request."""
    if run.finished_at is None:
        raise Conflict("This run has not ended. Cancel it instead.")
    if Hold.objects.get(run_id=run.id).state == Hold.State.IN_REVIEW:
        raise Conflict("Nothing is charged for this run yet: a person looks at it already.")
    if left(run.id) == 0:
        raise Conflict("Nothing is left of this run's charge.")
    if run.finished_at < timezone.now() - timedelta(days=settings.REFUND_DAYS):
        raise Conflict(f"A refund can be asked for within {settings.REFUND_DAYS} days.")
    if run.refund_requests.count() >= MOST:
        raise Conflict(f"A refund of this run was asked for {MOST} times. Write to support.")


def open_request(run: Run) -> RefundRequest | None:
    return run.refund_requests.filter(state=RefundRequest.State.OPEN).first()


def left(run: UUID) -> int:
    """What is left of a run's charge, nano-units."""
    entries = Entry.objects.filter(
        transfer__run_id=run, transfer__kind__in=("charge", "refund"), account__team__isnull=False
    )
    return -(entries.aggregate(sum=Sum("amount"))["sum"] or 0)


def amount_of(hold: Hold, evidence: Evidence) -> int:
    """The faulty share of the charge, rounded up, at most what is left."""
    return min(left(hold.run_id), math.ceil(hold.captured * evidence.share))


def working_days(start: datetime, days: int) -> datetime:
    """The same time of day after so many days that are no weekend."""
    end = start
    while days > 0:
        end += timedelta(days=1)
        days -= end.weekday() < SATURDAY
    return end


# ── decisions ─────────────────────────────────────────────────────────────────────────────────


def grant(
    *, request: UUID, amount: int | None, admin: User | None, words: str, why: str
) -> RefundRequest:
    """Give `amount` nano-units back, None for all that is left. Raises NotFound, Conflict."""
    with transaction.atomic():
        found = locked(request)
        return give(found, amount, admin=admin, words=words, why=why)


def refuse(*, request: UUID, admin: User, words: str, why: str) -> RefundRequest:
    """Keep the charge and say why. Raises NotFound, Conflict, InvalidInput without words."""
    if not words.strip():
        raise InvalidInput("A refusal needs words that the customer reads.", param="words")
    with transaction.atomic():
        return close(locked(request), "refused", 0, admin=admin, words=words, why=why)


def locked(request: UUID) -> RefundRequest:
    """The open request. Raises NotFound, Conflict."""
    found = RefundRequest.objects.select_for_update().filter(id=request).first()
    if found is None:
        raise NotFound("There is no such request.")
    if found.state != RefundRequest.State.OPEN:
        raise Conflict(f"This request is {found.state} already.")
    return found


def give(
    request: RefundRequest, amount: int | None, *, admin: User | None, words: str, why: str
) -> RefundRequest:
    note = words[:200] or f"Refund: {request.reason}"
    done = refund(
        run=request.run_id, amount=amount, reference=f"refund:{request.public_id}", note=note
    )
    return close(request, "granted", done.amount.amount, admin=admin, words=words, why=why)


def close(
    request: RefundRequest, state: str, amount: int, *, admin: User | None, words: str, why: str
) -> RefundRequest:
    request.state, request.amount, request.answer = state, amount, words.strip()[:LONGEST]
    request.decided_by = "admin" if admin else "system"
    request.decided_at = timezone.now()
    request.save()
    Decision.objects.create(
        run_id=request.run_id,
        request=request,
        user=admin,
        act="grant" if state == "granted" else "refuse",
        amount=amount,
        words=request.answer,
        why=why.strip()[:LONGEST],
    )
    return request


def overdue() -> int:
    """Grant what nobody answered in time, where it is small. Gives how many were late: should be 0.

    A larger one stays open and first in the inbox until a person decides.
    """
    late = RefundRequest.objects.filter(state="open", deadline_at__lt=timezone.now())
    found = list(late.order_by("deadline_at")[:200])
    for request in found:
        amount = left(request.run_id)
        if 0 < amount <= settings.REFUND_SMALL_NANO:
            try:
                grant(request=request.id, amount=None, admin=None, words=LATE, why="overdue")
            except Conflict:  # somebody was quicker
                continue
        else:
            log.error("the request %s for a refund is overdue", request.public_id)
    return len(found)
