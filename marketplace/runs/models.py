"""Run, Attempt, Output, Progress, Outbox; of labs, `labs.py`.

queued → running → succeeded | failed | cancelled. The attempt number is the fence of every later
write. Rows are written by the `.sql` functions of this folder; the ORM reads them.
"""

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from marketplace import ids
from marketplace.accounts.models import ApiKey, Team, User
from marketplace.catalog.models import Release
from marketplace.ledger.models import TransactionId
from marketplace.metering.models import Price
from marketplace.runs.labs import Fate, LabHealth  # noqa: F401 - Django finds them here


class Run(models.Model):
    """One execution asked for by a team; one public id over all its attempts."""

    class State(models.TextChoices):
        QUEUED = "queued"
        RUNNING = "running"
        SUCCEEDED = "succeeded"
        FAILED = "failed"
        CANCELLED = "cancelled"

    class Outcome(models.TextChoices):
        SUCCEEDED = "succeeded"
        PARTIAL = "partial"
        INVALID_INPUT = "invalid_input"
        REFUSED_BEFORE = "refused_before"
        REFUSED_AFTER = "refused_after"
        SUPPLIER_ERROR = "supplier_error"
        OUR_ERROR = "our_error"
        CANCELLED_BEFORE = "cancelled_before"
        CANCELLED_AFTER = "cancelled_after"

    id = models.UUIDField(primary_key=True, default=ids.uuid7, editable=False)
    team = models.ForeignKey(Team, on_delete=models.PROTECT)
    key = models.ForeignKey(ApiKey, null=True, on_delete=models.PROTECT)
    user = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, help_text="playground")
    release = models.ForeignKey(Release, on_delete=models.PROTECT)
    price = models.ForeignKey(Price, on_delete=models.PROTECT)
    quote_id = models.UUIDField(null=True)
    inputs = models.JSONField()
    inputs_digest = models.BinaryField(max_length=32)
    idempotency_key = models.CharField(max_length=255, null=True)  # noqa: DJ001 - NULL is "none"
    project = models.CharField(max_length=64, blank=True, default="", db_default="")
    end_user = models.CharField(max_length=128, blank=True, default="", db_default="")
    lanes = ArrayField(models.BigIntegerField(), null=True, help_text="of budgets, sorted")
    state = models.CharField(max_length=10, choices=State, default=State.QUEUED)
    outcome = models.CharField(max_length=20, choices=Outcome, null=True)  # noqa: DJ001 - not yet
    queue = models.CharField(max_length=40)
    priority = models.SmallIntegerField(default=0)
    route = models.JSONField(default=dict, help_text="supplier, reason")
    attempt = models.IntegerField(default=0)
    worker = models.CharField(max_length=80, blank=True)
    lease_until = models.DateTimeField(null=True)
    deadline_at = models.DateTimeField(null=True, help_text="of the present attempt")
    files = models.JSONField(
        default=dict, db_default={}, help_text="place among the inputs → a file's id"
    )
    media_seconds = models.IntegerField(null=True, help_text="how long media are kept, if shorter")
    forget_at = models.DateTimeField(null=True, help_text="then what was asked for is forgotten")
    webhooks = models.JSONField(default=list, help_text="of webhooks.targets.target")
    start_by = models.DateTimeField(null=True, help_text="else it ends, at no cost")
    cancel_at = models.DateTimeField(null=True, help_text="then it is cancelled, begun or not")
    most_attempts = models.SmallIntegerField(null=True, help_text="fewer than the settings'")
    ticket = models.JSONField(null=True, help_text="the partner's receipt of the job")
    cancel_requested_at = models.DateTimeField(null=True)
    error = models.JSONField(null=True)
    usage = models.JSONField(null=True, help_text="facts reported by the supplier")
    checks = models.JSONField(null=True, help_text="asked and measured, as of `witnesses.py`")
    created_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True, help_text="first claim")
    finished_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["team", "idempotency_key"],
                condition=Q(idempotency_key__isnull=False),
                name="run_once_per_idempotency_key",
            ),
            models.CheckConstraint(
                condition=Q(state__in=["queued", "running"], finished_at=None)
                | Q(state__in=["succeeded", "failed", "cancelled"], finished_at__isnull=False),
                name="run_finished_at_says_terminal",
            ),
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["queue", "created_at"],
                condition=Q(state="queued", lanes=None),
                name="run_waiting",
            ),
            models.Index(
                fields=["queue", "lanes", "-priority", "created_at"],
                condition=Q(state="queued", lanes__isnull=False),
                name="run_waiting_in_lane",
            ),
            models.Index(
                fields=["team"],
                condition=Q(state="queued", lanes__isnull=False),
                name="run_waiting_of_team",
            ),
            models.Index(
                fields=["id"],
                condition=Q(state="running", lanes__isnull=False),
                name="run_running_in_lane",
            ),
            models.Index(
                fields=["start_by"],
                condition=Q(state="queued", start_by__isnull=False),
                name="run_to_start",
            ),
            models.Index(
                fields=["cancel_at"],
                condition=Q(state__in=["queued", "running"], cancel_at__isnull=False),
                name="run_to_cancel",
            ),
            models.Index(fields=["lease_until"], condition=Q(state="running"), name="run_leased"),
            models.Index(fields=["team", "-id"], name="run_by_team"),
            models.Index(
                fields=["id"],
                condition=Q(state__in=["queued", "running"]) & ~Q(files={}),
                name="run_needs_files",
            ),
            models.Index(
                fields=["forget_at"], condition=Q(forget_at__isnull=False), name="run_to_forget"
            ),
            models.Index(
                fields=["team", "project", "-id"], condition=~Q(project=""), name="run_by_project"
            ),
            models.Index(
                fields=["team", "end_user", "-id"],
                condition=~Q(end_user=""),
                name="run_by_end_user",
            ),
        ]

    def __str__(self) -> str:
        return self.public_id

    @property
    def public_id(self) -> str:
        return ids.public("run", self.id)


class Attempt(models.Model):
    """One try of a run. outcome: the state it ended in, `lost`, or empty while it lasts.

    submitting_at: when it began to hand the job in at a lab that cannot be handed it twice. Without
    a ticket of the run it says that nobody knows whether the lab has the job.
    """

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="attempts")
    number = models.IntegerField()
    worker = models.CharField(max_length=80)
    claimed_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    outcome = models.CharField(max_length=20, blank=True)
    submitting_at = models.DateTimeField(null=True)
    job_key = models.CharField(max_length=80, blank=True, default="", db_default="")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["run", "number"], name="attempt_once")
        ]


class Session(models.Model):
    """A realtime session, which is a run: when a worker began to serve it, and until when.

    closed_at: null where its end was not seen; then it lasted until it was seen last. Seconds are
    between two instants of the database. `sessions.sql` writes it.
    """

    run = models.OneToOneField(
        Run, primary_key=True, on_delete=models.CASCADE, related_name="session"
    )
    attempt = models.IntegerField()
    opened_at = models.DateTimeField()
    seen_at = models.DateTimeField(help_text="when its worker was heard last")
    closed_at = models.DateTimeField(null=True)
    reported = models.DecimalField(
        max_digits=20, decimal_places=6, default=0, help_text="seconds, by the worker's own clock"
    )
    frames = models.IntegerField(default=0, help_text="that were sent")
    reason = models.CharField(max_length=20, blank=True, help_text="why it ended")


class Output(models.Model):
    """One produced image or video. Its measures come from our own probe."""

    id = models.UUIDField(primary_key=True, default=ids.uuid7, editable=False)
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="outputs")
    position = models.SmallIntegerField()
    kind = models.CharField(max_length=10)
    content_type = models.CharField(max_length=40)
    path = models.CharField(max_length=200, help_text="in the media store; empty once deleted")
    bytes = models.BigIntegerField()
    sha256 = models.BinaryField(max_length=32)
    width = models.IntegerField(null=True)
    height = models.IntegerField(null=True)
    frames = models.IntegerField(null=True)
    seconds = models.DecimalField(max_digits=12, decimal_places=6, null=True)
    sound = models.BooleanField(default=False)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["run", "position"], name="output_once")
        ]
        indexes: ClassVar = [
            models.Index(fields=["expires_at"], condition=~Q(path=""), name="output_kept"),
        ]

    @property
    def public_id(self) -> str:
        return ids.public("out", self.id)


class RefundRequest(models.Model):
    """A team asks for its money back: open → granted | refused, by what we found or by an admin.

    evidence: what was found, as of `evidence.py`; answer: the words that the team reads.
    """

    class Reason(models.TextChoices):
        UNDECODABLE = "undecodable"
        WRONG_LENGTH = "wrong_length"
        WRONG_FORM = "wrong_form"
        DUPLICATE = "duplicate"
        OTHER = "other"

    class State(models.TextChoices):
        OPEN = "open"
        GRANTED = "granted"
        REFUSED = "refused"

    id = models.UUIDField(primary_key=True, default=ids.uuid7, editable=False)
    run = models.ForeignKey(Run, on_delete=models.PROTECT, related_name="refund_requests")
    user = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, help_text="who asked")
    key = models.ForeignKey(ApiKey, null=True, on_delete=models.PROTECT, help_text="or what did")
    reason = models.CharField(max_length=20, choices=Reason)
    note = models.CharField(max_length=500, blank=True)
    state = models.CharField(max_length=10, choices=State, default=State.OPEN)
    decided_by = models.CharField(max_length=10, blank=True, help_text="system, admin")
    amount = models.BigIntegerField(default=0, help_text="granted, nano-units")
    answer = models.CharField(max_length=500, blank=True)
    evidence = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True)
    looked_at = models.DateTimeField(null=True, help_text="none: the files are being decoded anew")
    deadline_at = models.DateTimeField()
    decided_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["run"], condition=Q(state="open"), name="refund_request_open_once"
            ),
            models.CheckConstraint(
                condition=Q(state="open", decided_at=None) | ~Q(state="open", decided_at=None),
                name="refund_request_decided_at_says_closed",
            ),
        ]

    @property
    def public_id(self) -> str:
        return ids.public("rfr", self.id)


class Decision(models.Model):
    """What somebody decided about a run's money, when and why. Never edited.

    words: for the team. why: for us. user: None where it was the system or the command line.
    """

    run_id = models.UUIDField(db_index=True)
    request = models.ForeignKey(RefundRequest, null=True, on_delete=models.PROTECT)
    user = models.ForeignKey(User, null=True, on_delete=models.PROTECT)
    act = models.CharField(max_length=10, help_text="charge, void, grant, refuse, cost")
    amount = models.BigIntegerField(help_text="charged or given back, nano-units")
    words = models.CharField(max_length=500, blank=True)
    why = models.CharField(max_length=500, blank=True)
    at = models.DateTimeField(auto_now_add=True)


class Uncosted(models.Model):
    """A run of which its tariff did not say what it cost us; a person books the amount."""

    run = models.OneToOneField(Run, primary_key=True, on_delete=models.PROTECT)
    why = models.CharField(max_length=200)
    at = models.DateTimeField()
    booked_at = models.DateTimeField(null=True)

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["at"], condition=Q(booked_at=None), name="uncosted_waiting")
        ]


class Progress(models.Model):
    """How far a running run is. An UNLOGGED table: a crash of the database empties it."""

    run_id = models.UUIDField(primary_key=True)
    attempt = models.IntegerField()
    stage = models.CharField(max_length=20)
    step = models.IntegerField()
    steps = models.IntegerField()
    preview = models.TextField(blank=True, help_text="data: URI of a small picture, or empty")
    updated_at = models.DateTimeField()


class Outbox(models.Model):
    """What has to be told after a commit: `hint` (a queue has work), `run.finished`."""

    topic = models.CharField(max_length=20)
    key = models.CharField(max_length=80)
    created_at = models.DateTimeField()

    class Meta:
        indexes: ClassVar = [models.Index(fields=["topic", "id"], name="outbox_by_topic")]


class UsageDay(models.Model):
    """What a team used on a day (UTC), folded from closed holds, refunds and meter events.

    A row per unit with its charged quantity. A run and its money, in nano-units, count once, in the
    row of its first unit or, where it has none, of the empty one, on the day its hold closed; a
    refund counts in the row of the empty unit, on the day it was made.
    `usage.sql` writes it and says what is not yet in it.
    """

    # Folded from rows that have been checked: a year of them is written again in minutes.
    team = models.ForeignKey(Team, on_delete=models.PROTECT, db_index=False, db_constraint=False)
    day = models.DateField()
    key_id = models.UUIDField(null=True, help_text="none: the playground")
    price_id = models.BigIntegerField(help_text="and so the release")
    project = models.CharField(max_length=64)
    currency = models.CharField(max_length=3)
    unit = models.CharField(max_length=40)
    runs = models.BigIntegerField(help_text="that ended")
    charged_runs = models.BigIntegerField()
    charged = models.BigIntegerField()
    given_back = models.BigIntegerField(help_text="held, and not charged")
    refunded = models.BigIntegerField()
    quantity = models.DecimalField(max_digits=30, decimal_places=6)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["team", "day", "key_id", "price_id", "project", "currency", "unit"],
                nulls_distinct=False,
                name="usage_day_once",
            )
        ]


class UsageFold(models.Model):
    """One row: facts of transactions before `upto` are in the days of usage, all others not."""

    upto = TransactionId()


class PaceDay(models.Model):
    """How many of a release's runs ended so on a day (UTC), by how long they ran.

    `pace.sql` writes it and says what is not yet in it; after forty days a row is a month's.
    """

    release = models.ForeignKey(Release, on_delete=models.CASCADE, db_index=False)
    day = models.DateField(db_index=True)
    outcome = models.CharField(max_length=20)
    bucket = models.IntegerField(help_text="of seconds, ten to a doubling; -1000: not known")
    runs = models.BigIntegerField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["release", "day", "outcome", "bucket"], name="pace_day_once"
            )
        ]


class PaceFold(models.Model):
    """One row: runs whose holds closed before `upto` are in the days of pace, all others not."""

    upto = TransactionId()
