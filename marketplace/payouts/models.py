"""Agreement, Statement, StatementLine, PriceProposal, Invoice, InvoiceLine, Difference.

The first three are never edited: triggers refuse it.
"""

from typing import ClassVar

from django.db import models
from django.db.models import Q

from marketplace import ids
from marketplace.accounts.models import User
from marketplace.catalog.models import Lab, LabKey, Release
from marketplace.metering.models import Price, Tariff


class Agreement(models.Model):
    """What a lab gets of each run that is held from an instant on, until the next version begins.

    A trigger refuses edits; only `effective_to` may be set, once. How a charge is split by it is
    `split.py`; how a guarantee is burned down, `close.py`.
    """

    class Basis(models.TextChoices):
        GROSS = "gross", "a part of every charge"
        NET = "net", "a part of every charge less the credits that the lab funds"
        UNIT_COST = "unit_cost", "what the release's tariff says"

    class Promotions(models.TextChoices):
        GIVER = "giver", "who gave the credit"
        KINORA = "kinora", "Kinora"
        LAB = "lab", "the lab"

    lab = models.ForeignKey(Lab, on_delete=models.PROTECT, related_name="agreements")
    version = models.PositiveIntegerField()
    currency = models.CharField(max_length=3, default="USD")
    basis = models.CharField(max_length=10, choices=Basis)
    millionths = models.PositiveIntegerField(help_text="the lab's part; 700000 is 70 %")
    promotions = models.CharField(max_length=10, choices=Promotions, help_text="who funds them")
    guarantee = models.BigIntegerField(
        default=0, help_text="nano-units that the lab has at least; its earnings burn it down"
    )
    effective_from = models.DateTimeField()
    effective_to = models.DateTimeField(null=True, blank=True)
    note = models.CharField(max_length=500, blank=True)
    made_by = models.ForeignKey(User, null=True, on_delete=models.PROTECT)
    made_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["lab", "currency", "version"], name="agreement_version_once"
            ),
            models.CheckConstraint(
                condition=Q(millionths__lte=1_000_000, guarantee__gte=0),
                name="agreement_part_of_a_whole",
            ),
            models.CheckConstraint(
                condition=~Q(basis="unit_cost") | Q(millionths=0), name="agreement_has_one_basis"
            ),
        ]
        ordering: ClassVar = ["-version"]

    def __str__(self) -> str:
        return f"Agreement with {self.lab} v{self.version}"


class Statement(models.Model):
    """What a lab earned in a period, closed once; amounts in nano-units, told by `figures.py`.

    What was written for the period after it was closed is in the next one.
    """

    id = models.UUIDField(primary_key=True, default=ids.uuid7, editable=False)
    lab = models.ForeignKey(Lab, on_delete=models.PROTECT, related_name="statements")
    currency = models.CharField(max_length=3)
    start = models.DateTimeField()
    end = models.DateTimeField(help_text="the first instant that is left out")
    lines_count = models.IntegerField()
    gross = models.BigIntegerField(help_text="what customers were charged")
    refunded = models.BigIntegerField(help_text="of it, and of earlier periods' charges")
    share = models.BigIntegerField(help_text="the lab's part, less what refunds took back")
    cost = models.BigIntegerField(help_text="what tariffs say")
    adjustments = models.BigIntegerField()
    credits = models.JSONField(help_text="funder → what their credits paid of gross - refunded")
    borne = models.JSONField(help_text="funder → what of it the lab pays for")
    guarantees = models.JSONField(help_text="how each was burned down")
    burned = models.BigIntegerField()
    payable = models.BigIntegerField(
        help_text="share + cost + adjustments - borne - burned, to be paid"
    )
    opening = models.BigIntegerField(help_text="payable of all statements before")
    sha256 = models.CharField(max_length=64, help_text="of its lines, as the export has them")
    closed_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["lab", "currency", "end"], name="statement_once_per_period"
            )
        ]
        ordering: ClassVar = ["-end"]

    def __str__(self) -> str:
        return f"Statement of {self.lab} until {self.end:%Y-%m-%d}"

    @property
    def public_id(self) -> str:
        return ids.public("stm", self.id)


class StatementLine(models.Model):
    """A charge, refund, cost or adjustment of one run; each is in one statement."""

    statement = models.ForeignKey(Statement, on_delete=models.PROTECT, related_name="lines")
    position = models.IntegerField()
    transfer_id = models.BigIntegerField(unique=True)
    kind = models.CharField(max_length=10)
    run_id = models.UUIDField(null=True)
    model = models.CharField(max_length=110)
    agreement_id = models.BigIntegerField(null=True)
    at = models.DateTimeField()
    gross = models.BigIntegerField(help_text="what the customer paid; of a refund below 0")
    owed = models.BigIntegerField(help_text="what the lab has of it")
    credits = models.JSONField(help_text="funder → what of gross their credits paid")
    borne = models.JSONField(help_text="funder → what of it the lab pays for")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["statement", "position"], name="statement_line_place")
        ]


class PriceProposal(models.Model):
    """A price or a tariff that a lab wishes for: proposed → accepted | refused | withdrawn.

    An accepted one is published and begins at its instant; what it became is `price` or `tariff`.
    """

    class Kind(models.TextChoices):
        PRICE = "price", "what customers pay"
        TARIFF = "tariff", "what the lab charges us"

    class State(models.TextChoices):
        PROPOSED = "proposed"
        ACCEPTED = "accepted"
        REFUSED = "refused"
        WITHDRAWN = "withdrawn"

    id = models.UUIDField(primary_key=True, default=ids.uuid7, editable=False)
    release = models.ForeignKey(Release, on_delete=models.PROTECT, related_name="proposals")
    kind = models.CharField(max_length=10, choices=Kind)
    currency = models.CharField(max_length=3, default="USD")
    lines = models.JSONField()
    policy = models.JSONField(null=True, help_text="Outcome → rule; NULL takes the release's")
    effective_from = models.DateTimeField()
    note = models.CharField(max_length=500, blank=True)
    state = models.CharField(max_length=10, choices=State, default=State.PROPOSED)
    answer = models.CharField(max_length=500, blank=True, help_text="The lab reads it.")
    proposed_by = models.ForeignKey(LabKey, null=True, on_delete=models.SET_NULL)
    proposed_at = models.DateTimeField(auto_now_add=True)
    decided_by = models.ForeignKey(User, null=True, on_delete=models.PROTECT)
    decided_at = models.DateTimeField(null=True)
    price = models.ForeignKey(Price, null=True, on_delete=models.PROTECT)
    tariff = models.ForeignKey(Tariff, null=True, on_delete=models.PROTECT)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["release", "kind", "currency"],
                condition=Q(state="proposed"),
                name="proposal_open_once",
            )
        ]
        ordering: ClassVar = ["-proposed_at"]

    def __str__(self) -> str:
        return f"{self.kind} proposed for {self.release}"

    @property
    def public_id(self) -> str:
        return ids.public("prop", self.id)


class Invoice(models.Model):
    """What a supplier bills us for a period; brought in once per reference and never edited."""

    id = models.UUIDField(primary_key=True, default=ids.uuid7, editable=False)
    lab = models.ForeignKey(Lab, on_delete=models.PROTECT, related_name="invoices")
    reference = models.CharField(max_length=120)
    currency = models.CharField(max_length=3)
    start = models.DateField()
    end = models.DateField(help_text="the first day that is left out")
    amount = models.BigIntegerField(help_text="nano-units of all lines")
    sha256 = models.CharField(max_length=64, help_text="of all that it says")
    brought_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["lab", "reference"], name="invoice_once_per_reference")
        ]
        ordering: ClassVar = ["-brought_at"]

    def __str__(self) -> str:
        return f"Invoice {self.reference} of {self.lab}"

    @property
    def public_id(self) -> str:
        return ids.public("inv", self.id)


class InvoiceLine(models.Model):
    """One job of an invoice, as the supplier says it. position: as in the file, from 1."""

    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, related_name="lines")
    position = models.IntegerField()
    job = models.CharField(max_length=200, help_text="the lab's name for it, or our run's id")
    unit = models.CharField(max_length=40)
    quantity = models.DecimalField(max_digits=20, decimal_places=6)
    unit_price = models.DecimalField(max_digits=24, decimal_places=12)
    amount = models.BigIntegerField(help_text="nano-units")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["invoice", "position"], name="invoice_line_place")
        ]


class Difference(models.Model):
    """Where an invoice and our books differ: open → accepted (we pay as billed) | refused."""

    class Kind(models.TextChoices):
        RATE = "rate", "another price per unit than the tariff's"
        UNITS = "units", "another quantity than was delivered"
        EXTRA = "extra", "billed, and no run of ours owes it"
        MISSING = "missing", "owed by a run of ours, and not billed"

    class State(models.TextChoices):
        OPEN = "open"
        ACCEPTED = "accepted"
        REFUSED = "refused"

    id = models.UUIDField(primary_key=True, default=ids.uuid7, editable=False)
    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, related_name="differences")
    kind = models.CharField(max_length=10, choices=Kind)
    place = models.CharField(max_length=250, help_text="the job, or the run that is missing")
    run_id = models.UUIDField(null=True)
    model = models.CharField(max_length=110, blank=True)
    billed = models.BigIntegerField(help_text="nano-units")
    expected = models.BigIntegerField(help_text="nano-units")
    evidence = models.JSONField()
    state = models.CharField(max_length=10, choices=State, default=State.OPEN)
    why = models.CharField(max_length=500, blank=True)
    decided_by = models.ForeignKey(User, null=True, on_delete=models.PROTECT)
    decided_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["invoice", "kind", "place"], name="difference_once_per_place"
            )
        ]
        ordering: ClassVar = ["id"]

    def __str__(self) -> str:
        return f"{self.kind} on {self.invoice}"

    @property
    def public_id(self) -> str:
        return ids.public("diff", self.id)
