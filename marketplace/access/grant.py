"""Let teams into early access: by name, in their turn of a line, by tier or by what they spend.

Tier and spend are judged when the lab asks, and each team that is let in is on record by itself.
Takes effect with the commit, everywhere within two seconds.
"""

from collections.abc import Iterable
from decimal import Decimal

from django.db import connection, transaction
from django.db.models import Max
from django.db.models.functions import Now

from marketplace.access.models import Grant, Window
from marketplace.access.window import checked
from marketplace.accounts.models import Team
from marketplace.errors import Conflict, InvalidInput, NotFound
from marketplace.money import NANO

TIERS = {"starter": 10, "pro": 100, "scale": 1000}  # dollars captured in the last 90 days
LARGEST = 1000  # teams of one call
SPENT_SQL = """
INSERT INTO access_grant (window_id, team_id, reason, created_at, granted_at, used)
SELECT %s, h.team_id, %s, now(), now(), 0 FROM ledger_hold h
 WHERE h.currency = 'USD' AND h.created_at > now() - make_interval(days => %s)
 GROUP BY h.team_id HAVING sum(h.captured - h.refunded) >= %s
 ORDER BY h.team_id
ON CONFLICT (window_id, team_id) DO NOTHING RETURNING id
"""


def allow(*, window: Window, teams: Iterable[Team]) -> list[Grant]:
    """Put teams on the allow-list; one that waits in line stays in it and is let in. Repeats
    safely, also for a team whose grant was revoked. Raises InvalidInput, Conflict."""
    wanted = sorted({team.id: team for team in teams}.values(), key=lambda team: team.id)
    if not 0 < len(wanted) <= LARGEST:
        raise InvalidInput(f"teams must be 1 to {LARGEST}.", param="teams")
    with checked():
        for team in wanted:
            by_name = {"reason": Grant.Reason.ALLOW_LIST, "granted_at": Now()}
            Grant.objects.get_or_create(window=window, team=team, defaults=by_name)
        mine = Grant.objects.filter(window=window, team__in=wanted)
        for grant in mine.select_for_update().order_by("id"):
            opened(grant)
    return list(mine.order_by("id"))


def opened(grant: Grant) -> None:
    if grant.granted_at is None or grant.revoked_at is not None:
        Grant.objects.filter(pk=grant.pk).update(granted_at=Now(), revoked_at=None)


def by_spend(*, window: Window, dollars: Decimal, days: int = 90) -> int:
    """Let in every team that paid so much in so many days. Gives how many are new."""
    if dollars <= 0 or not 0 < days <= 366:
        raise InvalidInput("dollars must be above 0, and days from 1 to 366.", param="dollars")
    return judged(window, Grant.Reason.SPEND, int(dollars * NANO), days)


def by_tier(*, window: Window, tier: str) -> int:
    """Let in every team of a tier or a higher one. Gives how many are new."""
    if tier not in TIERS:
        raise InvalidInput(f"tier must be one of {', '.join(TIERS)}.", param="tier")
    return judged(window, Grant.Reason.TIER, TIERS[tier] * NANO, 90)


def judged(window: Window, reason: str, least: int, days: int) -> int:
    with checked(), connection.cursor() as cursor:
        cursor.execute(SPENT_SQL, [window.pk, reason, days, least])
        return len(cursor.fetchall())


# ── the line ──────────────────────────────────────────────────────────────────────────────────


def join(*, window: Window, team: Team) -> Grant:
    """Stand in line, at the place after the last. Repeats safely. Raises Conflict."""
    with checked():
        Window.objects.select_for_update().get(pk=window.pk)  # one place after the other
        found = Grant.objects.filter(window=window, team=team).first()
        if found is not None:
            return found
        last = window.grants.aggregate(last=Max("position"))["last"] or 0
        return Grant.objects.create(
            window=window, team=team, reason=Grant.Reason.WAITLIST, position=last + 1
        )


def invite(*, window: Window, most: int) -> list[Grant]:
    """Invite the first `most` of those who wait."""
    if not 0 < most <= LARGEST:
        raise InvalidInput(f"most must be from 1 to {LARGEST}.", param="most")
    waiting = Grant.objects.filter(window=window, position__isnull=False, invited_at=None)
    with checked():
        first = waiting.filter(granted_at=None, revoked_at=None).order_by("position")
        chosen = [grant.pk for grant in first.select_for_update()[:most]]
        Grant.objects.filter(pk__in=chosen).update(invited_at=Now())
    return list(Grant.objects.filter(pk__in=chosen).order_by("position"))


def accept(*, window: Window, team: Team) -> Grant:
    """Take an invitation. Repeats safely. Raises NotFound, Conflict."""
    with transaction.atomic():
        grant = Grant.objects.select_for_update().filter(window=window, team=team).first()
        if grant is None:
            raise NotFound("Your team does not stand in this line.")
        if grant.state not in ("invited", "granted"):
            raise Conflict("Your team is not invited yet.")
        opened(grant)
    grant.refresh_from_db()
    return grant


def ahead(grant: Grant) -> int:
    """How many wait before it."""
    before = Grant.objects.filter(window=grant.window_id, invited_at=None, granted_at=None)
    return before.filter(position__lt=grant.position or 0, revoked_at=None).count()


def revoke(*, window: Window, team: Team) -> Grant:
    """Let the team in no more; runs that were admitted end as they would. Repeats safely.

    Raises NotFound.
    """
    with transaction.atomic():
        grant = Grant.objects.select_for_update().filter(window=window, team=team).first()
        if grant is None:
            raise NotFound("This team has no grant here.")
        if grant.revoked_at is None:
            Grant.objects.filter(pk=grant.pk).update(revoked_at=Now())
    grant.refresh_from_db()
    return grant
