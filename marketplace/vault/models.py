"""LabSecret."""

from typing import ClassVar

from django.db import models
from django.db.models import Q

from marketplace import ids


class LabSecret(models.Model):
    """One version of a lab's secret, locked. Two may be good at once, while a lab turns its key.

    lab: a name in partners/registry.py. sealed: the secret under a data key of its own; wrapped:
    that key under the master key whose fingerprint is `master`.
    """

    class Field(models.TextChoices):
        API_KEY = "api_key"
        WEBHOOK_SECRET = "webhook_secret"  # noqa: S105 - a name

    id = models.UUIDField(primary_key=True, default=ids.uuid7, editable=False)
    lab = models.CharField(max_length=40)
    field = models.CharField(max_length=20, choices=Field)
    version = models.IntegerField()
    sealed = models.BinaryField()
    wrapped = models.BinaryField()
    master = models.CharField(max_length=16)
    made_at = models.DateTimeField()
    made_by = models.CharField(max_length=80)
    ends_at = models.DateTimeField(null=True, help_text="once a later version is there")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["lab", "field", "version"], name="lab_secret_once"),
            models.UniqueConstraint(
                fields=["lab", "field"], condition=Q(ends_at=None), name="lab_secret_newest_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.lab} {self.field} {self.version}"
