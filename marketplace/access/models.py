"""What a team allows itself (Budget, Spending, BudgetAlert, Lane), and when a lab's release is for
whom (Window, Grant, Evidence, DeniedCalls).

Admission reserves in `budgets.sql`; holds name the spendings that they count in, and a trigger on
holds keeps these true whoever closes them. `windows.sql` decides who sees and calls a release, and
`evidence.sql` keeps what was decided. The ORM makes and reads budgets and windows.
"""

from typing import ClassVar

from django.contrib.postgres.fields import DateTimeRangeField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from marketplace import ids
from marketplace.accounts.models import Team, User
from marketplace.catalog.models import Lab, Release

EACH = "*"


class Budget(models.Model):
    """A limit on what somebody's runs may cost; `spent + held + new ≤ amount` where it is hard.

    kind and subject say whose: '' for the team, `*` for each one of the kind by itself, else a
    member's or key's id in text, a project or an end user. A budget for one by name stands in the
    place of that for each of its kind, period and currency. It counts what starts after it was
    made.
    """

    class Kind(models.TextChoices):
        TEAM = "team"
        MEMBER = "member"
        KEY = "key"
        PROJECT = "project"
        END_USER = "end_user"

    class Period(models.TextChoices):
        DAY = "day"
        MONTH = "month"
        TOTAL = "total"

    id = models.UUIDField(primary_key=True, default=ids.uuid7, editable=False)
    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="budgets")
    kind = models.CharField(max_length=10, choices=Kind)
    subject = models.CharField(max_length=128, blank=True)
    period = models.CharField(max_length=10, choices=Period)
    currency = models.CharField(max_length=3, default="USD")
    amount = models.BigIntegerField(null=True, help_text="nano-units; none: no limit")
    hard = models.BooleanField(default=True, help_text="refuses; a soft one only alerts")
    allowed = models.JSONField(default=list, help_text="`lab` or `lab/model`; empty: any")
    max_per_run = models.BigIntegerField(null=True, help_text="nano-units")
    concurrency = models.IntegerField(null=True, help_text="runs at once; the others wait")
    created_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL)
    created_at = models.DateTimeField(db_default=Now())
    closed_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["team", "kind", "subject", "period", "currency"],
                condition=Q(closed_at=None),
                name="budget_once_for_whom_and_when",
            ),
            models.CheckConstraint(
                condition=(Q(amount=None) | Q(amount__gt=0))
                & (Q(max_per_run=None) | Q(max_per_run__gt=0))
                & (Q(concurrency=None) | Q(concurrency__gt=0)),
                name="budget_limits_positive",
            ),
        ]

    def __str__(self) -> str:
        return self.public_id

    @property
    def public_id(self) -> str:
        return ids.public("budget", self.id)


class Spending(models.Model):
    """What counts in a budget for one subject and period. Made on demand, never deleted."""

    budget = models.ForeignKey(Budget, on_delete=models.PROTECT, related_name="spendings")
    subject = models.CharField(max_length=128, blank=True)
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField(null=True, help_text="the first instant left out")
    spent = models.BigIntegerField(default=0, db_default=0, help_text="nano-units, less refunds")
    held = models.BigIntegerField(default=0, db_default=0, help_text="nano-units in open holds")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["budget", "subject", "starts_at"], name="spending_once_per_period"
            ),
            models.CheckConstraint(
                condition=Q(spent__gte=0, held__gte=0), name="spending_not_negative"
            ),
        ]


class BudgetAlert(models.Model):
    """A crossing that the owners are told of, once for each limit. It is its own outbox."""

    class Cause(models.TextChoices):
        SPENT = "spent"
        REFUSED = "refused"

    spending = models.ForeignKey(Spending, on_delete=models.CASCADE, related_name="alerts")
    cause = models.CharField(max_length=10, choices=Cause)
    percent = models.SmallIntegerField()
    amount = models.BigIntegerField(help_text="nano-units; the limit that was crossed")
    made_at = models.DateTimeField(db_default=Now())
    told_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["spending", "cause", "percent", "amount"], name="alert_once_per_crossing"
            )
        ]
        indexes: ClassVar = [
            models.Index(fields=["id"], condition=Q(told_at=None), name="alert_untold")
        ]


class Lane(models.Model):
    """Whose runs wait for one another under a budget's concurrency; its row is the lock."""

    budget = models.ForeignKey(Budget, on_delete=models.PROTECT, related_name="lanes")
    subject = models.CharField(max_length=128, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["budget", "subject"], name="lane_once_per_subject")
        ]


class Window(models.Model):
    """When a release is for whom: half-open, by the database's clock.

    One `embargo` or `early_access` at most holds at an instant, and one `exclusive`: SQL excludes
    the rest. audience: the reasons for which `early_access` may be granted. quota: runs of each
    granted team. Its price is the segment `window:<id>`. terms: what was agreed, in words.
    """

    class Kind(models.TextChoices):
        EMBARGO = "embargo"
        EARLY_ACCESS = "early_access"
        EXCLUSIVE = "exclusive"

    release = models.ForeignKey(Release, on_delete=models.PROTECT, related_name="windows")
    kind = models.CharField(max_length=12, choices=Kind)
    span = DateTimeRangeField()
    audience = models.JSONField(default=list)
    quota = models.PositiveIntegerField(null=True)
    terms = models.TextField(blank=True)
    created_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL)
    created_at = models.DateTimeField(db_default=Now())
    withdrawn_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.kind} of {self.release}"

    @property
    def segment(self) -> str:
        """The price segment of those whom it lets in."""
        return f"window:{self.pk}"


class Grant(models.Model):
    """A team's way into an `early_access` window.

    waiting → invited → granted, for who waits in line at `position`; the other reasons are granted
    at once. It lets in from granted_at until revoked_at. used: runs that count in the quota.
    """

    class Reason(models.TextChoices):
        ALLOW_LIST = "allow_list"
        WAITLIST = "waitlist"
        TIER = "tier"
        SPEND = "spend"

    window = models.ForeignKey(Window, on_delete=models.PROTECT, related_name="grants")
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="grants")
    reason = models.CharField(max_length=12, choices=Reason)
    position = models.PositiveIntegerField(null=True)
    created_at = models.DateTimeField(db_default=Now())
    invited_at = models.DateTimeField(null=True)
    granted_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)
    used = models.PositiveIntegerField(default=0, db_default=0)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["window", "team"], name="grant_once_per_team"),
            models.UniqueConstraint(fields=["window", "position"], name="grant_position_once"),
        ]

    def __str__(self) -> str:
        return f"{self.team} in {self.window}"

    @property
    def state(self) -> str:
        """waiting, invited, granted or revoked."""
        if self.revoked_at:
            return "revoked"
        if self.granted_at:
            return "granted"
        return "invited" if self.invited_at else "waiting"


class Evidence(models.Model):
    """One decision of a lab's log, chained to the one before it. Written by `evidence.sql` alone.

    body: JSON, the very text that the digest is of, after the digest before it. once: what is
    noted only once.
    """

    lab = models.ForeignKey(Lab, on_delete=models.PROTECT, related_name="evidence")
    number = models.PositiveBigIntegerField()
    body = models.TextField()
    digest = models.BinaryField(max_length=32)
    once = models.CharField(max_length=80, null=True)  # noqa: DJ001 - NULLs never collide

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["lab", "number"], name="evidence_once_per_number"),
            models.UniqueConstraint(fields=["lab", "once"], name="evidence_once"),
        ]

    def __str__(self) -> str:
        return self.body


class DeniedCalls(models.Model):
    """How often a release was asked for within an hour by who may not call it."""

    release = models.ForeignKey(Release, on_delete=models.PROTECT, related_name="+")
    hour = models.DateTimeField()
    decision = models.CharField(max_length=10)
    calls = models.PositiveBigIntegerField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["release", "hour", "decision"], name="denied_once_per_hour"
            )
        ]
