"""Account, Transfer, Entry, Hold, HoldPart, Fold, Audit.

Credits to a team's account are positive. Entries are append-only and sum to 0 per transfer and
currency; triggers refuse anything else. System accounts get entries but their balance columns are
never touched by a run: a Fold brings them up to date. The functions that write here are the `.sql`
files of this folder.
"""

from typing import Any, ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Func, Q

from marketplace.accounts.models import Team


class TransactionId(models.Field):  # type: ignore[type-arg]
    """The id of the transaction that wrote something, PostgreSQL's `xid8`.

    Ids of rows and times come out of order with commits; only this tells what a reader of a later
    snapshot has certainly seen: every id below `pg_snapshot_xmin`.
    """

    def db_type(self, connection: Any) -> str:
        return "xid8"


class PresentTransaction(Func):
    function = "pg_current_xact_id"
    output_field = TransactionId()


class Account(models.Model):
    """A balance holder. available = posted − held + credit_limit."""

    class Kind(models.TextChoices):
        PREPAID = "prepaid"
        PROMO = "promo"
        SYSTEM = "system"

    kind = models.CharField(max_length=10, choices=Kind)
    name = models.CharField(max_length=80, help_text="`revenue:kinora/glyph`, or what a team reads")
    team = models.ForeignKey(Team, null=True, on_delete=models.PROTECT, related_name="accounts")
    currency = models.CharField(max_length=3, default="USD")
    posted = models.BigIntegerField(default=0, help_text="nano-units")
    held = models.BigIntegerField(default=0, help_text="nano-units in open holds")
    credit_limit = models.BigIntegerField(default=0, help_text="nano-units")
    priority = models.SmallIntegerField(default=100, help_text="Lower is spent first.")
    scope = models.JSONField(
        default=list,
        db_default=[],
        help_text="What a credit may be spent on: `lab` and `lab/model`; empty is everything.",
    )
    funder = models.CharField(
        max_length=60, blank=True, db_default="", help_text="Who gave a credit: `kinora` or a lab."
    )
    expires_at = models.DateTimeField(null=True, blank=True)
    voided_at = models.DateTimeField(null=True, help_text="taken back; then it expires too")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(held__gte=0), name="account_held_not_negative"),
            models.CheckConstraint(
                condition=Q(team=None) | Q(posted__gte=F("held") - F("credit_limit")),
                name="account_not_overdrawn",
            ),
            models.UniqueConstraint(
                fields=["name", "currency"],
                condition=Q(team=None),
                name="account_system_name_once",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Transfer(models.Model):
    """A balanced movement. `reference` makes it happen once."""

    class Kind(models.TextChoices):
        GRANT = "grant"
        CHARGE = "charge"
        EXPIRY = "expiry"
        REFUND = "refund"
        VOID = "void"
        COST = "cost"
        ADJUSTMENT = "adjustment"
        PROMOTION = "promotion"
        GUARANTEE = "guarantee"

    kind = models.CharField(max_length=10, choices=Kind)
    reference = models.CharField(max_length=120, unique=True)
    run_id = models.UUIDField(null=True, db_index=True)
    price_id = models.BigIntegerField(null=True)
    agreement_id = models.BigIntegerField(null=True)
    note = models.CharField(max_length=200, blank=True)
    event_at = models.DateTimeField()
    xid = TransactionId(db_default=PresentTransaction(), editable=False)

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["xid"], condition=Q(kind="refund"), name="transfer_refunds_by_xid")
        ]

    def __str__(self) -> str:
        return self.reference


class Entry(models.Model):
    """One signed side of a transfer, nano-units. Never edited."""

    transfer = models.ForeignKey(Transfer, on_delete=models.PROTECT, related_name="entries")
    account = models.ForeignKey(
        Account, on_delete=models.PROTECT, related_name="entries", db_index=False
    )  # `entry_by_account` begins with it
    amount = models.BigIntegerField()
    balance_after = models.BigIntegerField(null=True, help_text="posted after it; team accounts")
    xid = TransactionId(db_default=PresentTransaction(), editable=False)

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["account", "-id"], name="entry_by_account"),
            models.Index(
                fields=["xid"], condition=Q(balance_after=None), name="entry_of_system_by_xid"
            ),
        ]
        constraints: ClassVar = [
            models.CheckConstraint(condition=~Q(amount=0), name="entry_not_zero")
        ]


class Hold(models.Model):
    """Money set aside for one run: open → captured | voided; in_review waits for an admin.

    expired: given back because its run is gone, which nothing should bring about.
    """

    class State(models.TextChoices):
        OPEN = "open"
        CAPTURED = "captured"
        VOIDED = "voided"
        IN_REVIEW = "in_review"
        EXPIRED = "expired"

    run_id = models.UUIDField(primary_key=True)
    team = models.ForeignKey(Team, on_delete=models.PROTECT, db_index=False)
    currency = models.CharField(max_length=3)
    quoted = models.BigIntegerField()
    amount = models.BigIntegerField()
    captured = models.BigIntegerField(default=0)
    state = models.CharField(max_length=10, choices=State, default=State.OPEN)
    price_id = models.BigIntegerField()
    available_before = models.BigIntegerField(help_text="the team's spendable money before it")
    created_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True)
    closed_xid = TransactionId(null=True, editable=False)
    refunded = models.BigIntegerField(default=0, db_default=0)
    spendings = ArrayField(
        models.BigIntegerField(), null=True, help_text="of budgets that it counts in"
    )

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(captured__gte=0, captured__lte=F("amount"), amount__lte=F("quoted")),
                name="hold_captured_within_held_within_quoted",
            ),
            models.CheckConstraint(
                condition=Q(refunded__gte=0, refunded__lte=F("captured")),
                name="hold_refunded_within_captured",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["created_at"], condition=Q(state="open"), name="hold_open"),
            models.Index(
                fields=["closed_xid", "team"],
                condition=Q(closed_xid__isnull=False),
                name="hold_closed_by_xid",
            ),
        ]


class HoldPart(models.Model):
    """Which account a hold stands on, credit by credit; capture takes from these only."""

    hold = models.ForeignKey(Hold, on_delete=models.CASCADE, related_name="parts")
    account = models.ForeignKey(Account, on_delete=models.PROTECT, db_index=False)
    position = models.SmallIntegerField()
    amount = models.BigIntegerField()
    captured = models.BigIntegerField(default=0)


class Fold(models.Model):
    """System accounts were brought up to date with the entries of `since` ≤ xid < `horizon`.

    Each fold begins where the one before it ended; the unique key refuses a second.
    """

    since = TransactionId(unique=True)
    horizon = TransactionId()
    entries = models.BigIntegerField()
    folded_at = models.DateTimeField()


class Audit(models.Model):
    """What was found when every invariant was asked.

    findings: [{sentence, seconds, count, rows: the first at fault}]; good: every count is 0.
    """

    started_at = models.DateTimeField(auto_now_add=True)
    seconds = models.FloatField()
    entries = models.BigIntegerField(help_text="in the ledger, about")
    good = models.BooleanField()
    findings = models.JSONField()
