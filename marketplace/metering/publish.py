"""Publish a price version: check that it bounds every run, give notice of a rise, supersede.

A published version is never edited. The one before it in its segment ends where it begins.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from marketplace.catalog.models import Release
from marketplace.errors import Conflict, InvalidInput
from marketplace.metering import outcomes, seal, segments
from marketplace.metering.bounds import check
from marketplace.metering.models import Price
from marketplace.metering.quote import PriceLines, counted_units
from marketplace.metering.rise import rise
from marketplace.metering.segments import LIST, SESSION

SECONDS = "session_second"
FURTHEST = timedelta(days=731)  # beyond it an announcement is a slip of the pen


@transaction.atomic
def publish(
    *,
    release: Release,
    lines: PriceLines,
    segment: str = LIST,
    policy: outcomes.Policy | None = None,
    effective_from: datetime | None = None,
    effective_to: datetime | None = None,
    currency: str = "USD",
) -> Price:
    """Make `lines` the price of `release` for a segment from an instant on, now by default.

    policy: what each outcome costs; None takes the release's, else the standard.
    Ends the segment's present version there. A version that makes any run dearer than what its
    buyers pay until then needs `settings.PRICE_NOTICE_DAYS` of notice. effective_to: only of a
    contract or a window, which end by themselves. Raises InvalidInput naming the field, Conflict
    where a version of the segment holds, or is announced, for the same time. Writes all or nothing.
    """
    now = timezone.now()
    start = effective_from or now
    segment = segments.checked(segment)
    check(release, lines, currency)
    check_use(segment, counted_units(lines))
    matrix = matrix_of(release, policy, lines)
    check_time(segment, start, effective_to, now)
    Release.objects.select_for_update().get(pk=release.pk)
    versions = Price.objects.filter(release=release, currency=currency)
    last = versions.filter(segment=segment).order_by("-version").first()
    check_notice(release, before_it(versions, segment, start), lines, matrix, start, now)
    if last:
        end(last, start)
    version = last.version + 1 if last else 1
    return Price.objects.create(
        release=release,
        currency=currency,
        segment=segment,
        version=version,
        lines=list(lines),
        policy=matrix,
        effective_from=start,
        effective_to=effective_to,
        digest=seal.digest(
            release=release.full_name,
            currency=currency,
            segment=segment,
            version=version,
            lines=lines,
            effective_from=start,
            policy=matrix,
        ),
    )


def matrix_of(
    release: Release, policy: outcomes.Policy | None, lines: PriceLines
) -> dict[str, str]:
    """What each outcome costs. Raises InvalidInput."""
    units = counted_units(lines)
    published = {} if SECONDS in units else release.outcome_policy  # that is of its runs
    return outcomes.checked(policy or published or outcomes.standard(units), units)


def check_use(segment: str, units: Sequence[str]) -> None:
    """Raises InvalidInput: sessions are sold by their seconds, and nothing else is."""
    of_sessions = segment == SESSION
    if of_sessions and set(units) != {SECONDS}:
        raise InvalidInput(f"A session's price counts {SECONDS} and nothing else.", param="lines")
    if not of_sessions and SECONDS in units:
        raise InvalidInput(f"{SECONDS} is counted by the segment `session` only.", param="lines")


def check_time(segment: str, start: datetime, stop: datetime | None, now: datetime) -> None:
    """Raises InvalidInput where a version cannot begin or end at these instants."""
    for param, moment in (("effective_from", start), ("effective_to", stop)):
        if moment and moment.tzinfo is None:
            raise InvalidInput(f"{param} needs an offset, as in 2026-12-24T00:00Z.", param=param)
    if start < now:
        raise InvalidInput("A price cannot begin in the past.", param="effective_from")
    if start > now + FURTHEST:
        raise InvalidInput(
            f"A price can be announced at most {FURTHEST.days} days ahead.", param="effective_from"
        )
    if stop and segment == LIST:
        raise InvalidInput("A list price holds until it is superseded.", param="effective_to")
    if stop and stop <= start:
        raise InvalidInput("A price must end after it begins.", param="effective_to")


def before_it(versions: QuerySet[Price], segment: str, start: datetime) -> Price | None:
    """What the segment's buyers would pay at `start`: its own version, else the list's; a run's
    price says nothing of a session's."""
    held = versions.filter(effective_from__lte=start).exclude(effective_to__lte=start)
    own = held.filter(segment=segment).order_by("-version").first()
    if own or segment == SESSION:
        return own
    return held.filter(segment=LIST).order_by("-version").first()


def check_notice(
    release: Release,
    before: Price | None,
    lines: PriceLines,
    policy: outcomes.Policy,
    start: datetime,
    now: datetime,
) -> None:
    """Raises InvalidInput where a run gets dearer sooner than announced."""
    notice = timedelta(days=settings.PRICE_NOTICE_DAYS)
    if before is None or start >= now + notice:
        return
    found = rise(release, before.lines, lines) or outcomes.dearer(before.policy, policy)
    if found:
        raise InvalidInput(
            f"This price is higher: it needs {notice.days} days of notice. {found}",
            param="effective_from",
        )


def end(last: Price, start: datetime) -> None:
    """End the version before where the new one begins. Raises Conflict."""
    if last.effective_from >= start:
        raise Conflict(
            f"Version {last.version} begins at {last.effective_from:%Y-%m-%d %H:%M} UTC."
        )
    if last.effective_to is None:
        last.effective_to = start
        last.save(update_fields=["effective_to"])
    elif last.effective_to > start:
        raise Conflict(
            f"Version {last.version} holds until {last.effective_to:%Y-%m-%d %H:%M} UTC, and two"
            " versions cannot hold at once."
        )
