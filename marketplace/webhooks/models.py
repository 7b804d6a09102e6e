"""Endpoint, Delivery, DeliveryAttempt, TeamSecret.

pending → delivered | dead. A delivery's id on the wire and its body never change, however often
it is tried; who receives it twice knows it by that id. Secrets are derived (`secrets.py`), so no
row holds one. Deliveries are written by `deliver.sql`.
"""

from typing import ClassVar

from django.db import models
from django.db.models import Q

from marketplace import ids
from marketplace.accounts.models import Team


class Endpoint(models.Model):
    """A team's address for events of all its runs. generation: which secret it has."""

    class Reason(models.TextChoices):
        ASKED = "asked"
        FAILING = "failing"
        GONE = "gone"

    id = models.UUIDField(primary_key=True, default=ids.uuid7, editable=False)
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="endpoints")
    name = models.CharField(max_length=80, blank=True)
    url = models.CharField(max_length=2048)
    event_types = models.JSONField(default=list)
    generation = models.IntegerField(default=1)
    rotated_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)
    failing_since = models.DateTimeField(null=True, help_text="no try has succeeded since")
    disabled_at = models.DateTimeField(null=True)
    disabled_reason = models.CharField(max_length=10, choices=Reason, blank=True)
    notified_at = models.DateTimeField(null=True, help_text="of being disabled by us")

    class Meta:
        ordering: ClassVar = ["created_at"]

    def __str__(self) -> str:
        return self.name or self.url

    @property
    def public_id(self) -> str:
        return ids.public("whe", self.id)


class TeamSecret(models.Model):
    """Which secret signs what a team's runs send to addresses of their own; no row: the first."""

    team = models.OneToOneField(Team, on_delete=models.CASCADE, primary_key=True)
    generation = models.IntegerField(default=1)
    rotated_at = models.DateTimeField(null=True)


class Delivery(models.Model):
    """One event for one address. target: `endpoint:<id>`, or `run:<n>` for a run's own webhook.

    rank: the place of the event in its run; a later one waits for those before it. pardoned: tries
    that a replay has forgiven. next_at: when it is due; a try in hand has it in the future, so
    that one whose courier died is due again.
    """

    class State(models.TextChoices):
        PENDING = "pending"
        DELIVERED = "delivered"
        DEAD = "dead"

    id = models.UUIDField(primary_key=True, default=ids.uuid7, editable=False)
    team = models.ForeignKey(Team, on_delete=models.CASCADE)
    endpoint = models.ForeignKey(Endpoint, null=True, on_delete=models.SET_NULL)
    run_id = models.UUIDField(null=True)
    target = models.CharField(max_length=50)
    url = models.CharField(max_length=2048)
    host = models.CharField(max_length=260)
    scheme = models.CharField(max_length=20)
    event_id = models.CharField(max_length=40)
    event_type = models.CharField(max_length=40)
    rank = models.SmallIntegerField(default=0)
    body = models.TextField()
    state = models.CharField(max_length=10, choices=State, default=State.PENDING)
    tries = models.IntegerField(default=0)
    pardoned = models.IntegerField(default=0)
    next_at = models.DateTimeField()
    created_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["event_id", "target"], name="delivery_once"),
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["host", "next_at"], condition=Q(state="pending"), name="delivery_due"
            ),
            models.Index(
                fields=["run_id", "target"], condition=Q(state="pending"), name="delivery_before"
            ),
            models.Index(fields=["run_id"], name="delivery_by_run"),
            models.Index(fields=["team", "-id"], name="delivery_by_team"),
            models.Index(fields=["created_at"], name="delivery_by_age"),
        ]

    def __str__(self) -> str:
        return f"{self.event_type} {self.event_id}"

    @property
    def public_id(self) -> str:
        return ids.public("whd", self.id)

    @property
    def last_attempt(self) -> "DeliveryAttempt | None":
        return max(self.attempts.all(), key=lambda attempt: attempt.number, default=None)


class DeliveryAttempt(models.Model):
    """One try. ended_at stays empty where the courier died before it could say how it went."""

    delivery = models.ForeignKey(Delivery, on_delete=models.CASCADE, related_name="attempts")
    number = models.IntegerField()
    at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    status = models.SmallIntegerField(null=True)
    latency_ms = models.IntegerField(null=True)
    error = models.CharField(max_length=300, blank=True)
    answer = models.CharField(max_length=500, blank=True, help_text="its first characters")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["delivery", "number"], name="delivery_attempt_once")
        ]
        ordering: ClassVar = ["number"]
