"""What a lab charges us, or an own pool costs us: the mirror of a price.

A tariff is a version like a price, in the same line language, with its own rule per outcome; the
one of the instant of a run's hold counts. Margin is the customer's charge less this cost.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.utils import timezone

from marketplace.catalog.models import Release
from marketplace.errors import Conflict, InvalidInput
from marketplace.metering.bounds import check
from marketplace.metering.models import Tariff
from marketplace.metering.outcomes import DELIVERING, OUTCOMES, Policy, rule_of
from marketplace.metering.quote import PriceLines, counted_units, priced_lines, total
from marketplace.metering.units import Facts, unit_of

COMPUTE = "gpu_second"
OWN = "house"  # the adapter of our own pools
RULES = {  # rule → what we owe
    "nothing": "nothing",
    "delivered": "the least that any witness counted of what was delivered",
    "reported": "what the lab reports, at most what was asked for",
    "requested": "all that was asked for",
    "attempts": "the seconds of every attempt by our own clock, also of lost ones",
}
Quantities = Mapping[str, Decimal]


@dataclass(frozen=True, slots=True)
class Used:
    """What an ended run used, unit → quantity. attempts: seconds of all its attempts together."""

    reported: Quantities
    measured: Quantities
    attempts: Decimal


def standard(release: Release) -> dict[str, str]:
    """An own pool costs what it ran; a lab bills what it delivered, and what it had begun."""
    if release.adapter == OWN:
        return dict.fromkeys(OUTCOMES, "attempts")
    begun = {"refused_after": "requested", "cancelled_after": "requested"}
    return dict.fromkeys(OUTCOMES, "nothing") | dict.fromkeys(DELIVERING, "delivered") | begun


@transaction.atomic
def publish_tariff(
    *,
    release: Release,
    lines: PriceLines,
    policy: Policy | None = None,
    effective_from: datetime | None = None,
    currency: str = "USD",
) -> Tariff:
    """Make `lines` what `release` costs us from an instant on, now by default.

    Ends the version before there. Raises InvalidInput naming the field, Conflict where a later
    version is there already.
    """
    start = effective_from or timezone.now()
    check(release, lines, currency)
    matrix = checked(release, policy or standard(release), counted_units(lines))
    Release.objects.select_for_update().get(pk=release.pk)
    last = Tariff.objects.filter(release=release, currency=currency).order_by("-version").first()
    if last and last.effective_from >= start:
        raise Conflict(f"Version {last.version} begins at {last.effective_from:%Y-%m-%d %H:%M}.")
    if last:
        last.effective_to = start
        last.save(update_fields=["effective_to"])
    return Tariff.objects.create(
        release=release,
        currency=currency,
        version=last.version + 1 if last else 1,
        lines=list(lines),
        policy=matrix,
        effective_from=start,
    )


def checked(release: Release, policy: Any, units: Sequence[str]) -> dict[str, str]:
    """Raises InvalidInput where the matrix is not whole or its rules are not possible."""
    own = release.adapter == OWN
    allowed = ["nothing", "attempts"] if own else [rule for rule in RULES if rule != "attempts"]
    if not isinstance(policy, dict) or policy.keys() != set(OUTCOMES):
        raise InvalidInput(f"policy must name {', '.join(OUTCOMES)}.", param="policy")
    for outcome, rule in policy.items():
        if rule not in allowed:
            raise InvalidInput(
                f"policy.{outcome} must be {' or '.join(allowed)}.", param=f"policy.{outcome}"
            )
    if own and [unit for unit in units if unit.partition(":")[0] != COMPUTE]:
        raise InvalidInput("An own pool costs seconds of compute and nothing else.", param="lines")
    return dict(policy)


def cost(
    lines: PriceLines,
    policy: Policy,
    outcome: str,
    inputs: Mapping[str, Any],
    facts: Facts,
    used: Used,
    at: datetime,
) -> int:
    """Nano-units that a run which ended so costs us. outcome: as the lab saw it; at: the hold's."""
    rule = rule_of(policy, outcome)
    if rule == "nothing":
        return 0
    counted = {u: owed(rule, u, inputs, facts, used) for u in counted_units(lines)}
    return total(priced_lines(lines, counted, inputs, at))


def owed(rule: str, unit: str, inputs: Mapping[str, Any], facts: Facts, used: Used) -> Decimal:
    """The quantity of a unit that we acknowledge; a lab's invoice is compared with it."""
    if rule == "attempts":
        return used.attempts
    requested = unit_of(unit).upper_bound(inputs, facts)
    reported, measured = used.reported.get(unit), used.measured.get(unit)
    if rule == "requested" or (rule == "reported" and reported is None):
        return requested
    said = (reported,) if rule == "reported" else (reported, measured)
    return min(requested, *(q for q in said if q is not None))
