"""Price, Tariff, Quote, MeterEvent. A published price is never edited, only superseded."""

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.utils import timezone

from marketplace import ids
from marketplace.accounts.models import Team
from marketplace.catalog.models import Release


class Versioned(models.Model):
    """What a release costs, from an instant on; a later version supersedes it.

    lines: [{"unit": "image", "unit_price": "0.002"}]; unit prices are decimals in major units.
    A trigger refuses edits; only `effective_to` may be set, once.
    """

    release = models.ForeignKey(Release, on_delete=models.PROTECT, related_name="%(class)ss")
    version = models.PositiveIntegerField()
    currency = models.CharField(max_length=3, default="USD")
    lines = models.JSONField()
    effective_from = models.DateTimeField()
    effective_to = models.DateTimeField(null=True, blank=True)
    published_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        abstract = True


class Price(Versioned):
    """What customers pay.

    segment: whom it is for, see `segments.py`; each has its own version numbers.
    policy: outcome → rule (`outcomes.py`); frozen with the lines, so a run keeps both.
    """

    segment = models.CharField(
        max_length=60, default="list", help_text="list, team:<uuid>, window:<id>"
    )
    digest = models.CharField(max_length=64, default="", help_text="hex SHA-256 of what it says")
    policy = models.JSONField(default=dict, help_text="Outcome → what is charged.")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["release", "currency", "segment", "version"], name="price_version_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.release} v{self.version}"

    @property
    def state(self) -> str:
        """announced, published or superseded; what is not published yet is a PriceDraft."""
        now = timezone.now()
        if self.effective_from > now:
            return "announced"
        return "superseded" if self.effective_to and self.effective_to <= now else "published"


class PriceDraft(models.Model):
    """A price in the making, one per segment: edited at will, and gone once it is published."""

    release = models.ForeignKey(Release, on_delete=models.CASCADE)
    currency = models.CharField(max_length=3, default="USD")
    segment = models.CharField(max_length=60, default="list")
    lines = models.JSONField()
    policy = models.JSONField(null=True, help_text="NULL takes the release's")
    effective_from = models.DateTimeField(null=True, help_text="NULL is when it is published")
    effective_to = models.DateTimeField(null=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["release", "currency", "segment"], name="price_draft_once"
            )
        ]

    def __str__(self) -> str:
        return f"Draft of {self.release}, {self.segment}"


class Tariff(Versioned):
    """What we pay; never shown to customers. policy: outcome → rule (`tariff.py`)."""

    policy = models.JSONField(help_text="Outcome → what we owe.")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["release", "currency", "version"], name="tariff_version_once"
            )
        ]

    def __str__(self) -> str:
        return f"Tariff of {self.release} v{self.version}"


class Quote(models.Model):
    """A binding upper bound for one exact body, until it expires."""

    id = models.UUIDField(primary_key=True, default=ids.uuid7, editable=False)
    team = models.ForeignKey(Team, on_delete=models.CASCADE)
    release = models.ForeignKey(Release, on_delete=models.PROTECT)
    price = models.ForeignKey(Price, on_delete=models.PROTECT)
    inputs_digest = models.BinaryField(max_length=32)
    lines = models.JSONField()
    maximum = models.BigIntegerField(help_text="nano-units")
    expected = models.BigIntegerField(help_text="nano-units")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()

    @property
    def public_id(self) -> str:
        return ids.public("quote", self.id)


class MeterEvent(models.Model):
    """One counted quantity of a run, with what the three witnesses said."""

    identifier = models.CharField(max_length=80, unique=True, help_text="<run>:<unit>")
    run_id = models.UUIDField(db_index=True)
    team = models.ForeignKey(Team, on_delete=models.PROTECT)
    release = models.ForeignKey(Release, on_delete=models.PROTECT)
    unit = models.CharField(max_length=40)
    quantity = models.DecimalField(max_digits=20, decimal_places=6, help_text="what is charged")
    requested = models.DecimalField(max_digits=20, decimal_places=6, null=True)
    reported = models.DecimalField(max_digits=20, decimal_places=6, null=True)
    measured = models.DecimalField(max_digits=20, decimal_places=6, null=True)
    timestamp = models.DateTimeField()

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["team", "timestamp"], name="meter_by_team"),
            models.Index(
                fields=["release", "-id"],
                condition=Q(unit__startswith="gpu_second"),
                name="meter_compute",
            ),
        ]


class Prediction(models.Model):
    """How long a release's runs compute, fitted from past ones; see `predict.Fit`."""

    release = models.OneToOneField(Release, on_delete=models.CASCADE)
    fit = models.JSONField(help_text="factors, intercept, slope, low, high")
    runs = models.PositiveIntegerField(help_text="that it was fitted on")
    tested = models.PositiveIntegerField(help_text="newer runs that it was tried on")
    inside = models.PositiveIntegerField(help_text="of these, inside the interval")
    error = models.FloatField(help_text="seconds, mean of |predicted - real| of the tested ones")
    fitted_at = models.DateTimeField()
