"""Agree with a lab on what it gets, from an instant on; the version before ends there.

A run's terms are those of the instant of its hold, like its price and its tariff; its settlement
keeps which version that was.
"""

from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from django.db import transaction
from django.utils import timezone

from marketplace.accounts.models import User
from marketplace.catalog.models import Lab
from marketplace.errors import Conflict, InvalidInput
from marketplace.money import LARGEST
from marketplace.payouts.models import Agreement
from marketplace.payouts.split import WHOLE

OURS = "kinora"


@transaction.atomic
def agree(
    *,
    lab: Lab,
    basis: str,
    percent: Any = None,
    promotions: str = Agreement.Promotions.GIVER,
    guarantee: int = 0,
    effective_from: datetime | None = None,
    currency: str = "USD",
    note: str = "",
    admin: User | None = None,
) -> Agreement:
    """Make these the terms with `lab` from an instant on, now by default.

    percent: the lab's part as a decimal such as "70" or "12.5", for the bases gross and net.
    guarantee: nano-units. Raises InvalidInput naming the field, Conflict where a version begins
    later already. Writes all or nothing.
    """
    now = timezone.now()
    start = effective_from or now
    check(lab, basis, promotions, guarantee, start, now)
    millionths = part(basis, percent)
    Lab.objects.select_for_update().get(pk=lab.pk)
    last = Agreement.objects.filter(lab=lab, currency=currency).order_by("-version").first()
    if last and last.effective_from >= start:
        raise Conflict(f"Version {last.version} begins at {last.effective_from:%Y-%m-%d %H:%M}.")
    if last:
        last.effective_to = start
        last.save(update_fields=["effective_to"])
    return Agreement.objects.create(
        lab=lab,
        version=last.version + 1 if last else 1,
        currency=currency,
        basis=basis,
        millionths=millionths,
        promotions=promotions,
        guarantee=guarantee,
        effective_from=start,
        note=note[:500],
        made_by=admin,
    )


def check(
    lab: Lab, basis: str, promotions: str, guarantee: int, start: datetime, now: datetime
) -> None:
    """Raises InvalidInput for what no agreement can say."""
    if lab.slug == OURS:
        raise InvalidInput("kinora is ours: there is nobody to agree with.", param="lab")
    if basis not in Agreement.Basis.values:
        raise InvalidInput(
            f"basis must be one of {', '.join(Agreement.Basis.values)}.", param="basis"
        )
    if promotions not in Agreement.Promotions.values:
        raise InvalidInput(
            f"promotions must be one of {', '.join(Agreement.Promotions.values)}.",
            param="promotions",
        )
    if not 0 <= guarantee <= LARGEST:
        raise InvalidInput("guarantee must be an amount from 0.", param="guarantee")
    if start.tzinfo is None:
        raise InvalidInput(
            "effective_from needs an offset, as in 2026-12-24T00:00Z.", param="effective_from"
        )
    if start < now:
        raise InvalidInput("An agreement cannot begin in the past.", param="effective_from")


def part(basis: str, percent: Any) -> int:
    """Millionths of a percentage with at most four places. Raises InvalidInput."""
    if basis == Agreement.Basis.UNIT_COST:
        if percent is not None:
            raise InvalidInput("By unit cost a lab has no percentage.", param="percent")
        return 0
    try:
        millionths = Decimal(str(percent)) * (WHOLE // 100)
    except InvalidOperation:
        millionths = Decimal("NaN")
    if not millionths.is_finite() or not 0 <= millionths <= WHOLE or millionths % 1:
        raise InvalidInput(
            "percent must be from 0 to 100, with at most four decimal places.", param="percent"
        )
    return int(millionths)
