"""Agreement. What a lab and we have agreed is never edited, only superseded."""

from typing import ClassVar

from django.db import models
from django.db.models import Q

from marketplace.accounts.models import User
from marketplace.catalog.models import Lab


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
