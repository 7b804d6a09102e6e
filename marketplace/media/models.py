"""File, Leftover: what teams brought along, and bytes that nobody may come to own."""

from typing import ClassVar

from django.db import models
from django.db.models import Q

from marketplace import ids
from marketplace.accounts.models import Team


class File(models.Model):
    """A picture, film or sound that a team may give to its runs.

    waiting (announced, no bytes yet) → ready → expired, when its bytes are deleted; the row stays
    until the record's own clock. Equal bytes of one team are stored once: rows share their path.
    """

    id = models.UUIDField(primary_key=True, default=ids.uuid7, editable=False)
    team = models.ForeignKey(Team, on_delete=models.PROTECT)
    name = models.CharField(max_length=255, blank=True, help_text="what its owner calls it")
    kind = models.CharField(max_length=10, blank=True)
    content_type = models.CharField(max_length=80, help_text="by content; as announced until then")
    path = models.CharField(max_length=200, blank=True, help_text="in the media store")
    bytes = models.BigIntegerField(default=0)
    sha256 = models.BinaryField(max_length=32, null=True)
    width = models.IntegerField(null=True)
    height = models.IntegerField(null=True)
    frames = models.IntegerField(null=True)
    seconds = models.DecimalField(max_digits=12, decimal_places=6, null=True)
    sound = models.BooleanField(default=False)
    created_at = models.DateTimeField()
    ready_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(help_text="then its bytes are deleted")
    forget_at = models.DateTimeField(null=True, help_text="then this row is; never where empty")
    deleted_at = models.DateTimeField(null=True, help_text="by its owner")

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(path="") | Q(ready_at__isnull=False, sha256__isnull=False),
                name="file_with_bytes_is_ready",
            )
        ]
        indexes: ClassVar = [
            models.Index(fields=["team", "-id"], name="file_by_team"),
            models.Index(fields=["team", "sha256"], condition=~Q(path=""), name="file_by_content"),
            models.Index(fields=["path"], condition=~Q(path=""), name="file_by_path"),
            models.Index(fields=["expires_at"], condition=~Q(path=""), name="file_kept"),
            models.Index(
                fields=["created_at"], condition=Q(ready_at=None), name="file_still_waiting"
            ),
            models.Index(
                fields=["forget_at"], condition=Q(forget_at__isnull=False), name="file_to_forget"
            ),
        ]

    def __str__(self) -> str:
        return ids.public("file", self.id)


class Leftover(models.Model):
    """Bytes to be deleted once they are due, unless a file comes to own them before."""

    path = models.CharField(max_length=200, primary_key=True)
    due_at = models.DateTimeField(db_index=True)
