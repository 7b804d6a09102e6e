"""User, Team, Member, ApiKey. A team owns money and runs; people and keys act for it."""

from collections.abc import Mapping
from typing import Any, ClassVar

from django.contrib.auth.base_user import BaseUserManager
from django.contrib.auth.models import AbstractUser
from django.db import models

from marketplace import ids


class UserManager(BaseUserManager["User"]):
    """Accounts are named by e-mail address."""

    use_in_migrations = True

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> "User":
        user = self.model(email=self.normalize_email(email), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> "User":
        return self.create_user(email, password, is_staff=True, is_superuser=True, **fields)


class User(AbstractUser):
    """A person. Logs in by e-mail address; has no user name."""

    username = None  # type: ignore[assignment]
    email = models.EmailField(unique=True)

    objects = UserManager()  # type: ignore[misc,assignment]

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    def __str__(self) -> str:
        return self.email


class Team(models.Model):
    """Who buys. A locked team (dispute, dunning) reads but does not run."""

    class Status(models.TextChoices):
        ACTIVE = "active"
        LOCKED = "locked"

    id = models.UUIDField(primary_key=True, default=ids.uuid7, editable=False)
    name = models.CharField(max_length=80)
    status = models.CharField(max_length=10, choices=Status, default=Status.ACTIVE)
    time_zone = models.CharField(max_length=64, default="UTC", db_default="UTC")
    created_at = models.DateTimeField(auto_now_add=True)
    members = models.ManyToManyField(User, through="Member", related_name="teams")

    def __str__(self) -> str:
        return self.name

    @property
    def public_id(self) -> str:
        return ids.public("team", self.id)


class Member(models.Model):
    """A person in a team."""

    class Role(models.TextChoices):
        OWNER = "owner"
        DEVELOPER = "developer"
        VIEWER = "viewer"

    team = models.ForeignKey(Team, on_delete=models.CASCADE)
    user = models.ForeignKey(User, on_delete=models.CASCADE)
    role = models.CharField(max_length=10, choices=Role, default=Role.OWNER)
    chosen_at = models.DateTimeField(null=True, help_text="last, to act for this team on pages")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["team", "user"], name="member_once_per_team")
        ]

    def __str__(self) -> str:
        return f"{self.user} in {self.team}"

    @property
    def scopes(self) -> tuple[str, ...]:
        """What the person may do in the team, in the words of its keys."""
        return SCOPES_OF[self.role]


SCOPES_OF: Mapping[str, tuple[str, ...]] = {
    Member.Role.OWNER: ("run", "read", "manage"),
    Member.Role.DEVELOPER: ("run", "read"),
    Member.Role.VIEWER: ("read",),
}


class ApiKey(models.Model):
    """What calls. Only the SHA-256 of the key is kept; the key itself is shown once."""

    id = models.UUIDField(primary_key=True, default=ids.uuid7, editable=False)
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="keys")
    name = models.CharField(max_length=80)
    prefix = models.CharField(max_length=20, help_text="The start of the key, for people.")
    digest = models.BinaryField(max_length=32, unique=True)
    scopes = models.JSONField(default=list)
    created_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["-created_at"]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    @property
    def public_id(self) -> str:
        return ids.public("key", self.id)


class Answer(models.Model):
    """What a POST with an Idempotency-Key was answered, for a day; `hot.once` writes it.

    name: SHA-256 of that key. asked: digest of the request. sealed: its answer, once there is one.
    claim: of whoever makes it.
    """

    api_key = models.ForeignKey(ApiKey, on_delete=models.CASCADE, related_name="+")
    name = models.BinaryField(max_length=32)
    claim = models.UUIDField()
    made_at = models.DateTimeField()
    asked = models.BinaryField(max_length=32, null=True)
    sealed = models.BinaryField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["api_key", "name"], name="answer_once_per_name")
        ]

    def __str__(self) -> str:
        return f"answer {self.id}"
