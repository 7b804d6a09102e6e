"""Pool, Worker, Residency: GPU machines as the control plane knows them."""

from typing import ClassVar

from django.db import models


class Pool(models.Model):
    """A hardware class; its slug is the broker queue's name."""

    slug = models.CharField(max_length=40, unique=True)
    name = models.CharField(max_length=80)

    def __str__(self) -> str:
        return self.slug


class Worker(models.Model):
    """One worker machine. Its token opens claim, renew, report and complete, nothing else."""

    pool = models.ForeignKey(Pool, on_delete=models.PROTECT, related_name="workers")
    name = models.CharField(max_length=80, unique=True)
    digest = models.BinaryField(max_length=32, unique=True, help_text="SHA-256 of its token")
    last_seen_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return self.name


class Residency(models.Model):
    """A model that a worker has loaded."""

    worker = models.ForeignKey(Worker, on_delete=models.CASCADE, related_name="residencies")
    target = models.CharField(max_length=80)
    seen_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["worker", "target"], name="residency_once")
        ]
