"""Files as rows: what is kept of them, the statements that read and write them, how they are shown.

A statement is a text and its values; whoever has a connection sends it. Rows come as one text
column of JSON, so that Django's connection and the hot path's own read them alike.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
from django.conf import settings
from django.utils.crypto import constant_time_compare, salted_hmac

from marketplace import ids
from marketplace.errors import NotFound
from marketplace.media.lifetime import Lifetime

Statement = tuple[str, Sequence[Any]]

FILE_SQL = """
SELECT row_to_json(v)::text FROM (
    SELECT f.id, f.team_id, f.name, f.kind, f.content_type, f.path, f.bytes,
           encode(f.sha256, 'hex') AS sha256, f.width, f.height, f.frames,
           f.seconds::float8 AS seconds, f.sound, f.created_at, f.ready_at, f.expires_at
      FROM media_file f {where}) v
"""
LAST = UUID(int=(1 << 128) - 1)
NAME = 255
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f/\\]+")
ADDRESS = re.compile(r"/media/files/(file_[0-9a-z]{26})/([0-9a-f]{32})(?:/[^/]*)?")


@dataclass(frozen=True, slots=True)
class Stored:
    """A file as it is kept. path: in the store, empty without bytes; seconds: None for pictures."""

    id: UUID
    team_id: UUID
    name: str
    kind: str
    content_type: str
    path: str
    bytes: int
    sha256: str | None
    width: int | None
    height: int | None
    frames: int | None
    seconds: float | None
    sound: bool
    created_at: datetime
    ready_at: datetime | None
    expires_at: datetime

    @property
    def public_id(self) -> str:
        return ids.public("file", self.id)

    @property
    def state(self) -> str:
        """waiting for its bytes, ready, or expired."""
        if self.expires_at <= datetime.now(UTC) or (self.ready_at and not self.path):
            return "expired"
        return "ready" if self.ready_at else "waiting"

    @property
    def url(self) -> str:
        return url(self.id, self.name)

    def as_json(self) -> dict[str, Any]:
        """A file of the native API."""
        return {
            "id": self.public_id,
            "state": self.state,
            "name": self.name,
            "kind": self.kind or None,
            "content_type": self.content_type,
            "bytes": self.bytes,
            "sha256": self.sha256,
            "width": self.width,
            "height": self.height,
            "frames": self.frames,
            "seconds": self.seconds,
            "sound": self.sound,
            "url": self.url,
            "created_at": self.created_at,
            "expires_at": self.expires_at,
        }


def read(text: str) -> Stored:
    """A row of FILE_SQL."""
    row = orjson.loads(text)
    for name in ("created_at", "ready_at", "expires_at"):
        row[name] = row[name] and datetime.fromisoformat(row[name])
    return Stored(**row | {"id": UUID(row["id"]), "team_id": UUID(row["team_id"])})


# ── statements ────────────────────────────────────────────────────────────────────────────────


def one(file_id: UUID, team_id: UUID) -> Statement:
    """The team's file, unless it was deleted."""
    where = "WHERE f.id = %s AND f.team_id = %s AND f.deleted_at IS NULL"
    return FILE_SQL.format(where=where), [file_id, team_id]


def anybodys(file_id: UUID) -> Statement:
    """A file by its id alone, for whoever has shown its address."""
    return FILE_SQL.format(where="WHERE f.id = %s AND f.deleted_at IS NULL"), [file_id]


def page(team_id: UUID, *, before: UUID | None, limit: int) -> Statement:
    """The team's files, newest first."""
    where = """WHERE f.team_id = %s AND f.id < %s AND f.deleted_at IS NULL
               ORDER BY f.id DESC LIMIT %s"""
    return FILE_SQL.format(where=where), [team_id, before or LAST, limit]


def announcing(
    *, file_id: UUID, team_id: UUID, name: str, content_type: str, kept: Lifetime
) -> Statement:
    """A file whose bytes are to come. Repeats safely."""
    return (
        "INSERT INTO media_file (id, team_id, name, kind, content_type, path, bytes, sound,"
        " created_at, expires_at, forget_at) VALUES (%s, %s, %s, '', %s, '', 0, false, now(),"
        " now() + make_interval(secs => %s), now() + make_interval(secs => %s))"
        " ON CONFLICT DO NOTHING RETURNING id",
        [file_id, team_id, name, content_type[:80], kept.media, kept.record],
    )


def deleting(file_id: UUID, team_id: UUID) -> Statement:
    """Delete the team's file: gone for everybody at once, its bytes with the next sweep.

    A run that was given it before keeps it to its end.
    """
    return (
        "UPDATE media_file SET deleted_at = now(), expires_at = least(expires_at, now())"
        " WHERE id = %s AND team_id = %s AND deleted_at IS NULL RETURNING id",
        [file_id, team_id],
    )


def leaving(path: str, *, seconds: int) -> Statement:
    """Note bytes that are about to be written, to be deleted unless a file comes to own them."""
    return (
        "INSERT INTO media_leftover (path, due_at) SELECT %s, now() + make_interval(secs => %s)"
        " WHERE NOT EXISTS (SELECT 1 FROM media_file f WHERE f.path = %s)"
        " ON CONFLICT (path) DO UPDATE SET due_at = excluded.due_at RETURNING path",
        [path, seconds, path],
    )


def keeping(item: Mapping[str, Any]) -> Statement:
    """What `keep_file` takes: code and path."""
    text = orjson.dumps(item).decode()
    return "SELECT code, path FROM keep_file(%s::jsonb, %s)", [text, settings.TEAM_FILE_BYTES]


# ── names and addresses ───────────────────────────────────────────────────────────────────────


def file_name(text: Any) -> str:
    """A name as a row may keep it: no path, nothing unprintable."""
    return UNPRINTABLE.sub("_", str(text or "").rpartition("/")[2]).strip()[:NAME]


def missing() -> NotFound:
    """Alike for a deleted file, another team's and one that never was."""
    return NotFound("There is no such file.", param="file")


def file_id(public_id: Any) -> UUID:
    """Raises NotFound for what is no file's id."""
    found = ids.private("file", public_id) if isinstance(public_id, str) else None
    if found is None:
        raise missing()
    return found


def signature(value: UUID) -> str:
    return salted_hmac("kinora.file", str(value), algorithm="sha256").hexdigest()[:32]


def url(value: UUID, name: str = "") -> str:
    """The file's address: whoever has it can read the file for as long as it is kept."""
    end = f"/{re.sub('[^A-Za-z0-9._-]+', '_', name)}" if name else ""
    return f"{settings.SITE_URL}/media/files/{ids.public('file', value)}/{signature(value)}{end}"


def named_by(path: str) -> UUID | None:
    """The file whose address has this path; None where it is no such address or a wrong one."""
    found = ADDRESS.fullmatch(path)
    value = ids.private("file", found[1]) if found else None
    if found and value and constant_time_compare(found[2], signature(value)):
        return value
    return None
