"""What the supplier keeps of labs: how each does, and the fates of jobs that nobody knows of."""

from typing import ClassVar

from django.db import models
from django.db.models import Q


class Fate(models.Model):
    """A job that a lab may have: handed in, and no receipt came back.

    open → made (the lab has it, and will bill it) | absent (it has not) | closed, by a person. The
    customer's run has ended and costs nothing; this is between us and the lab. evidence: what was
    seen, oldest first: [{at, what}].
    """

    class State(models.TextChoices):
        OPEN = "open"
        MADE = "made"
        ABSENT = "absent"
        CLOSED = "closed"

    run = models.OneToOneField(
        "runs.Run", primary_key=True, on_delete=models.PROTECT, related_name="fate"
    )
    adapter = models.CharField(max_length=40)
    job_key = models.CharField(max_length=80)
    state = models.CharField(max_length=10, choices=State, default=State.OPEN)
    evidence = models.JSONField(default=list)
    at = models.DateTimeField()
    ask_at = models.DateTimeField(null=True, help_text="when the lab is asked next")
    asks = models.SmallIntegerField(default=0, db_default=0)

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["ask_at"], condition=Q(state="open"), name="fate_open")
        ]


class LabHealth(models.Model):
    """How one supplier process sees a lab, as of a moment ago.

    state: of partners/gate.py, or `denied` where the lab does not take our secret. lateness: the
    worst of the last moment's questions after jobs, as a share of its interval.
    """

    lab = models.CharField(max_length=40)
    worker = models.CharField(max_length=80)
    state = models.CharField(max_length=10)
    why = models.CharField(max_length=200, blank=True)
    since = models.DateTimeField(help_text="of the state")
    in_hand = models.IntegerField()
    asked = models.BigIntegerField(help_text="questions since its process began")
    lateness = models.FloatField(default=0)
    seen_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["lab", "worker"], name="lab_health_once")
        ]
