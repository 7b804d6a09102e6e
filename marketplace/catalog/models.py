"""Lab, Model, Alias, Release, Example, LabKey.

A release is dated and immutable; its schema is the contract.
"""

from typing import Any, ClassVar

from django.db import models
from django.db.models import Q
from django.utils import timezone

from marketplace import ids
from marketplace.accounts.models import Team


class Lab(models.Model):
    """A company that owns models; `kinora` is ours. teams: its own, which see all it prepares."""

    slug = models.SlugField(unique=True)
    name = models.CharField(max_length=80)
    about = models.TextField(blank=True)
    teams = models.ManyToManyField(Team, related_name="labs", blank=True)

    def __str__(self) -> str:
        return self.name


class Model(models.Model):
    """A named model. Callers say `<lab>/<slug>`."""

    lab = models.ForeignKey(Lab, on_delete=models.PROTECT, related_name="models")
    slug = models.SlugField()
    name = models.CharField(max_length=80)
    task = models.CharField(max_length=40, help_text="text-to-image, text-to-video, …")
    summary = models.CharField(max_length=200)
    about = models.TextField(blank=True, help_text="What it can and cannot do, in plain words.")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["lab", "slug"], name="model_once_per_lab")
        ]

    def __str__(self) -> str:
        return self.full_name

    @property
    def full_name(self) -> str:
        return f"{self.lab.slug}/{self.slug}"


class Alias(models.Model):
    """Another name that leads to a model, for programs that know another service's names."""

    name = models.CharField(max_length=80, unique=True)
    model = models.ForeignKey(Model, on_delete=models.CASCADE, related_name="aliases")
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.name} → {self.model}"


class ReleaseQuerySet(models.QuerySet["Release"]):
    def live(self) -> "ReleaseQuerySet":
        """Releases that can be called now."""
        now = timezone.now()
        return self.filter(Q(published_at__lte=now)).filter(
            Q(retired_at=None) | Q(retired_at__gt=now)
        )


class Release(models.Model):
    """One version of a model: schema, adapter, queue, limits, outcome policy. Never edited.

    stage: how far its lab and we have brought it; from `staged` on the clock decides: it is live
    from published_at, deprecated from deprecated_at and retired from retired_at. Who sees and
    calls it when is `access/windows.sql`'s.
    """

    class Stage(models.TextChoices):
        DRAFT = "draft"
        CONFORMANCE = "conformance"
        VETTING = "vetting"
        STAGED = "staged"

    model = models.ForeignKey(Model, on_delete=models.PROTECT, related_name="releases")
    version = models.CharField(max_length=20, help_text="Its date, as 2026-11-20.")
    input_schema = models.JSONField(help_text="JSON Schema 2020-12 of the inputs.")
    output_kind = models.CharField(max_length=10, choices=[("image", "image"), ("video", "video")])
    content_type = models.CharField(max_length=40)
    adapter = models.CharField(max_length=40, help_text="A name in partners/registry.py.")
    target = models.CharField(max_length=80, help_text="What the adapter calls this model.")
    queue = models.CharField(max_length=40, help_text="Hardware class, or `labs`.")
    timeout_seconds = models.PositiveIntegerField(default=60)
    facts = models.JSONField(default=dict, help_text="Published facts that quotes may use.")
    outcome_policy = models.JSONField(default=dict, help_text="Outcome → what is charged.")
    stage = models.CharField(
        max_length=12, choices=Stage, default=Stage.STAGED, db_default=Stage.STAGED.value
    )
    published_at = models.DateTimeField(null=True, blank=True)
    deprecated_at = models.DateTimeField(null=True, blank=True)
    successor = models.ForeignKey("self", null=True, blank=True, on_delete=models.PROTECT)
    retired_at = models.DateTimeField(null=True, blank=True)

    objects = ReleaseQuerySet.as_manager()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["model", "version"], name="release_once_per_version")
        ]
        ordering: ClassVar = ["model_id", "-published_at"]

    def __str__(self) -> str:
        return self.full_name

    @property
    def full_name(self) -> str:
        return f"{self.model.full_name}@{self.version}"

    def defaults(self) -> dict[str, Any]:
        """The schema's default for every input that has one."""
        properties = self.input_schema.get("properties", {})
        return {name: p["default"] for name, p in properties.items() if "default" in p}


class Example(models.Model):
    """A real output, shown on home and model pages."""

    release = models.ForeignKey(Release, on_delete=models.CASCADE, related_name="examples")
    inputs = models.JSONField()
    image = models.CharField(max_length=200, help_text="Path below static/.")
    position = models.PositiveIntegerField(default=0)

    class Meta:
        ordering: ClassVar = ["position"]

    def __str__(self) -> str:
        return f"{self.release}: {self.inputs.get('prompt', '')}"


class LabKey(models.Model):
    """What calls the management API for a lab. Only the SHA-256 of the key is kept.

    role: what it may do, see `lab_keys.ROLES`.
    """

    id = models.UUIDField(primary_key=True, default=ids.uuid7, editable=False)
    lab = models.ForeignKey(Lab, on_delete=models.CASCADE, related_name="keys")
    name = models.CharField(max_length=80)
    role = models.CharField(max_length=10)
    prefix = models.CharField(max_length=20, help_text="The start of the key, for people.")
    digest = models.BinaryField(max_length=32, unique=True)
    created_at = models.DateTimeField(auto_now_add=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["-created_at"]

    def __str__(self) -> str:
        return f"{self.name} of {self.lab} ({self.prefix}…)"

    @property
    def public_id(self) -> str:
        return ids.public("labkey", self.id)
