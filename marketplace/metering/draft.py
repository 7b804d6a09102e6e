"""A price's life: a draft is edited, published and then superseded, and never edited again.

A draft is a row of its own, so that nothing which prices a run can ever find one.
"""

from datetime import datetime

from django.db import transaction

from marketplace.catalog.models import Release
from marketplace.errors import NotFound
from marketplace.metering import outcomes, segments
from marketplace.metering.bounds import check
from marketplace.metering.models import Price, PriceDraft
from marketplace.metering.publish import matrix_of, publish
from marketplace.metering.quote import PriceLines
from marketplace.metering.segments import LIST


def draft(
    *,
    release: Release,
    lines: PriceLines,
    segment: str = LIST,
    policy: outcomes.Policy | None = None,
    effective_from: datetime | None = None,
    effective_to: datetime | None = None,
) -> PriceDraft:
    """Keep a price to publish later; another one for the same segment takes its place.

    Checked as a published one is, but for notice and dates, which depend on when that happens.
    Raises InvalidInput naming the field; then the draft before stays as it was.
    """
    segment = segments.checked(segment)
    check(release, lines, "USD")
    if policy is not None:
        matrix_of(release, policy, lines)
    said = {
        "lines": list(lines),
        "policy": policy,
        "effective_from": effective_from,
        "effective_to": effective_to,
    }
    found, _ = PriceDraft.objects.update_or_create(release=release, segment=segment, defaults=said)
    return found


@transaction.atomic
def publish_draft(*, release: Release, segment: str = LIST) -> Price:
    """Publish what was drafted for a segment; the draft is gone. Raises as `publish`, NotFound."""
    drafts = PriceDraft.objects.select_for_update().filter(release=release, segment=segment)
    if (found := drafts.first()) is None:
        raise NotFound(f"There is no draft of {release} for {segment}.")
    price = publish(
        release=release,
        lines=found.lines,
        segment=segment,
        policy=found.policy,
        effective_from=found.effective_from,
        effective_to=found.effective_to,
        currency=found.currency,
    )
    found.delete()
    return price
