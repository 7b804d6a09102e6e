"""Account, Transfer, Entry, Hold, HoldPart.

Credits to a team's account are positive. Entries are append-only and sum to 0 per transfer and
currency; triggers refuse anything else. System accounts get entries but their balance columns are
never touched by a run. The functions that write here are the `.sql` files of this folder.
"""

from typing import ClassVar

from django.db import models
from django.db.models import F, Q

from marketplace.accounts.models import Team


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
    expires_at = models.DateTimeField(null=True, blank=True)
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

    kind = models.CharField(max_length=10, choices=Kind)
    reference = models.CharField(max_length=120, unique=True)
    run_id = models.UUIDField(null=True, db_index=True)
    price_id = models.BigIntegerField(null=True)
    note = models.CharField(max_length=200, blank=True)
    event_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.reference


class Entry(models.Model):
    """One signed side of a transfer, nano-units. Never edited."""

    transfer = models.ForeignKey(Transfer, on_delete=models.PROTECT, related_name="entries")
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="entries")
    amount = models.BigIntegerField()
    balance_after = models.BigIntegerField(null=True, help_text="posted after it; team accounts")

    class Meta:
        indexes: ClassVar = [models.Index(fields=["account", "-id"], name="entry_by_account")]
        constraints: ClassVar = [
            models.CheckConstraint(condition=~Q(amount=0), name="entry_not_zero")
        ]


class Hold(models.Model):
    """Money set aside for one run: open → captured | voided; in_review waits for an admin."""

    class State(models.TextChoices):
        OPEN = "open"
        CAPTURED = "captured"
        VOIDED = "voided"
        IN_REVIEW = "in_review"

    run_id = models.UUIDField(primary_key=True)
    team = models.ForeignKey(Team, on_delete=models.PROTECT)
    currency = models.CharField(max_length=3)
    quoted = models.BigIntegerField()
    amount = models.BigIntegerField()
    captured = models.BigIntegerField(default=0)
    state = models.CharField(max_length=10, choices=State, default=State.OPEN)
    price_id = models.BigIntegerField()
    available_before = models.BigIntegerField(help_text="the team's spendable money before it")
    created_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(captured__gte=0, captured__lte=F("amount"), amount__lte=F("quoted")),
                name="hold_captured_within_held_within_quoted",
            )
        ]
        indexes: ClassVar = [
            models.Index(fields=["created_at"], condition=Q(state="open"), name="hold_open"),
        ]


class HoldPart(models.Model):
    """Which account a hold stands on, credit by credit; capture takes from these only."""

    hold = models.ForeignKey(Hold, on_delete=models.CASCADE, related_name="parts")
    account = models.ForeignKey(Account, on_delete=models.PROTECT)
    position = models.SmallIntegerField()
    amount = models.BigIntegerField()
    captured = models.BigIntegerField(default=0)
