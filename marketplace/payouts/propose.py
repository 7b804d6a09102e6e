"""Price proposals: a lab proposes, an admin accepts or refuses with words, an instant publishes.

What publishing would refuse is refused when it is proposed: lines that do not bound a run, a rise
without its notice, an instant that is taken.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from marketplace.accounts.models import User
from marketplace.catalog.models import Lab, LabKey, Release
from marketplace.errors import Conflict, InvalidInput, NotFound
from marketplace.metering.models import Price, Tariff
from marketplace.metering.publish import publish
from marketplace.metering.tariff import publish_tariff
from marketplace.payouts.models import PriceProposal

State = PriceProposal.State
LONGEST = 500


def propose(
    *,
    release: Release,
    kind: Any,
    lines: Any,
    effective_from: datetime,
    policy: Any = None,
    note: Any = "",
    key: LabKey | None = None,
) -> PriceProposal:
    """Keep a lab's wish. Raises InvalidInput naming the field, Conflict where one is open."""
    check(kind, lines, policy, note)
    asked = PriceProposal(
        release=release,
        kind=kind,
        lines=lines,
        policy=policy,
        effective_from=effective_from,
        note=note.strip(),
        proposed_by=key,
    )
    with transaction.atomic():
        published(asked, effective_from)
        transaction.set_rollback(True)
    try:
        with transaction.atomic():
            asked.save(force_insert=True)
    except IntegrityError:
        raise Conflict(f"A {kind} is proposed for {release} already. Withdraw it first.") from None
    return asked


def check(kind: Any, lines: Any, policy: Any, note: Any) -> None:
    """Raises InvalidInput for what is no proposal."""
    if kind not in PriceProposal.Kind.values:
        raise InvalidInput(
            f"kind must be one of {', '.join(PriceProposal.Kind.values)}.", param="kind"
        )
    if not isinstance(lines, list) or not lines or not all(isinstance(x, dict) for x in lines):
        raise InvalidInput("lines must be a list of price lines.", param="lines")
    if policy is not None and not isinstance(policy, Mapping):
        raise InvalidInput("policy must name a rule per outcome.", param="policy")
    if not isinstance(note, str) or len(note) > LONGEST:
        raise InvalidInput(f"note must be a text of at most {LONGEST} characters.", param="note")


def published(proposal: PriceProposal, start: datetime) -> Price | Tariff:
    """Publish what is proposed. Raises InvalidInput, Conflict."""
    terms: dict[str, Any] = {
        "release": proposal.release,
        "lines": proposal.lines,
        "policy": proposal.policy,
        "effective_from": start,
        "currency": proposal.currency,
    }
    if proposal.kind == PriceProposal.Kind.PRICE:
        return publish(**terms)
    if start < timezone.now():
        raise InvalidInput("A tariff cannot begin in the past.", param="effective_from")
    return publish_tariff(**terms)


@transaction.atomic
def accept(
    *,
    proposal: PriceProposal,
    admin: User | None,
    answer: str = "",
    effective_from: datetime | None = None,
) -> PriceProposal:
    """Publish it for its instant, or for a later one that is named where its notice has become too
    short. Raises Conflict, InvalidInput; then nothing is decided."""
    found = locked(proposal)
    start = effective_from or found.effective_from
    if start < found.effective_from:
        raise InvalidInput("Not before the instant that was proposed.", param="effective_from")
    made = published(found, start)
    found.effective_from = start
    found.price = made if isinstance(made, Price) else None
    found.tariff = made if isinstance(made, Tariff) else None
    return decided(found, State.ACCEPTED, admin, answer)


@transaction.atomic
def refuse(*, proposal: PriceProposal, admin: User | None, answer: str) -> PriceProposal:
    """Say no, and why. Raises InvalidInput without words, Conflict."""
    if not answer.strip():
        raise InvalidInput("A refusal needs words that the lab reads.", param="answer")
    return decided(locked(proposal), State.REFUSED, admin, answer)


@transaction.atomic
def withdraw(*, proposal: PriceProposal) -> PriceProposal:
    """Take a proposal back that nobody decided about. Repeats safely; raises Conflict."""
    found = PriceProposal.objects.select_for_update().get(pk=proposal.pk)
    if found.state == State.WITHDRAWN:
        return found
    return decided(locked(proposal), State.WITHDRAWN, None, "")


def locked(proposal: PriceProposal) -> PriceProposal:
    """The open proposal. Raises Conflict."""
    found = PriceProposal.objects.select_for_update().get(pk=proposal.pk)
    if found.state != State.PROPOSED:
        raise Conflict(f"This proposal is {found.state} already.")
    return found


def decided(found: PriceProposal, state: str, admin: User | None, answer: str) -> PriceProposal:
    found.state, found.answer = state, answer.strip()[:LONGEST]
    found.decided_by, found.decided_at = admin, timezone.now()
    found.save()
    return found


def release_of(lab: Lab, name: Any) -> Release:
    """The lab's release of a name such as `lab/model@version`; without a version the newest.

    Raises NotFound, also for another lab's.
    """
    said, _, version = name.partition("@") if isinstance(name, str) else ("", "", "")
    owner, _, slug = said.partition("/")
    found = Release.objects.select_related("model__lab").filter(model__lab=lab, model__slug=slug)
    if version:
        found = found.filter(version=version)
    release = found.order_by("-version").first() if owner == lab.slug else None
    if release is None:
        raise NotFound("You have no such model.", param="model")
    return release
