"""Releases in every state of a window, by instants that lie around the database's now().

A cell is a kind of window at a moment of it; each has a model of its own whose name, title, words
and inputs hold a secret that no other byte holds. The guards are lifted while a past is made up.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db import connection

from marketplace.access.models import Window
from marketplace.accounts.models import Team
from marketplace.catalog.models import Lab, Model, Release
from marketplace.metering.outcomes import standard
from marketplace.metering.publish import publish

KINDS = ("embargo", "early_access", "exclusive", "none")
MOMENTS = ("before", "at", "inside", "end", "after")
WHO = ("stranger", "granted", "lab", "admin")
SPANS = {  # hours from now()
    "before": (1, 2),
    "at": (0, 1),
    "inside": (-1, 1),
    "end": (-1, 0),
    "after": (-2, -1),
}
LIST = [{"unit": "image", "unit_price": "0.002"}]
EARLY = [{"unit": "image", "unit_price": "0.001"}]
GUARDED = ("access_window", "access_grant", "catalog_release")


@dataclass(frozen=True)
class Cell:
    """kind of window, and the moment of it that now() is."""

    kind: str
    moment: str

    @property
    def secret(self) -> str:
        """What only this model's name holds."""
        return f"qz{self.kind.replace('_', '')}{self.moment}"

    @property
    def model(self) -> str:
        return f"lumen/{self.secret}"

    def decision(self, who: str) -> str:
        """What the specification says of somebody here."""
        insider = who in ("lab", "admin")
        if self.kind == "exclusive":
            return "open"
        if self.kind == "none" and self.moment in ("end", "after"):
            return "retired"
        closed = self.moment in ("before", "at", "inside")
        if self.kind == "none":
            closed = self.moment == "before"
        if not closed or insider:
            return "open"
        if self.kind == "early_access" and self.moment != "before":
            return "open" if who == "granted" else "shown"
        return "hidden"


CELLS = [Cell(kind, moment) for kind in KINDS for moment in MOMENTS]


def lumen() -> Lab:
    return Lab.objects.get_or_create(slug="lumen", defaults={"name": "Lumen"})[0]


def release(secret: str, *, published: str | None = "now() - interval '9 days'") -> Release:
    """A staged release of lumen's, priced, published at an SQL instant."""
    model = Model.objects.create(
        lab=lumen(), slug=secret, name=f"{secret} one", task="text-to-image",
        summary=f"{secret} draws.", about=f"{secret} was never seen.",
    )  # fmt: skip
    found = Release.objects.create(
        model=model, version="2026-11-20", output_kind="image", content_type="image/png",
        adapter="rehearsal", target="still", queue="labs", outcome_policy=standard(["image"]),
        input_schema={
            "type": "object", "required": ["prompt"], "additionalProperties": False,
            "properties": {"prompt": {"type": "string"}, f"{secret}_style": {"type": "string"}},
        },
    )  # fmt: skip
    publish(release=found, lines=LIST)
    if published:
        instants(found, published_at=published)
    return found


def instants(found: Release, **said: str) -> None:
    """Set columns of a release to SQL expressions."""
    sets = ", ".join(f"{column} = {text}" for column, text in said.items())
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE catalog_release SET {sets} WHERE id = %s", [found.pk])
    found.refresh_from_db()


def window(
    found: Release, kind: str, hours: tuple[float, float], quota: int | None = None
) -> Window:
    """A window from so many hours after now() to so many."""
    audience = '["allow_list", "waitlist", "tier", "spend"]' if kind == "early_access" else "[]"
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO access_window (release_id, kind, span, audience, terms)"
            " VALUES (%s, %s, tstzrange(now() + %s * interval '1 hour',"
            "         now() + %s * interval '1 hour', '[)'), %s, 'Only here.') RETURNING id",
            [found.pk, kind, *hours, audience],
        )
        return Window.objects.get(pk=cursor.fetchone()[0])


@contextmanager
def a_past_may_be_made_up() -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SET CONSTRAINTS ALL IMMEDIATE"
        )  # else a table with events cannot be altered
        for table in GUARDED:
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        yield
        for table in GUARDED:
            cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")


def shut(cell: Cell, found: Release, granted: Team | None) -> None:
    """Bring an open release to the cell's moment of its window."""
    begins, ends = (f"now() + interval '{hours} hours'" for hours in SPANS[cell.moment])
    if cell.kind == "none":
        instants(found, published_at=begins)
        if cell.moment in ("end", "after"):
            instants(found, retired_at=ends)
        return
    if cell.kind != "exclusive":
        instants(found, published_at=begins if cell.kind == "embargo" else ends)
    made = window(found, cell.kind, SPANS[cell.moment])
    if cell.kind == "early_access":
        publish(release=found, lines=EARLY, segment=made.segment)
        if granted:
            let_in(made, granted)


def let_in(opened: Window, team: Team) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO access_grant (window_id, team_id, reason, granted_at)"
            " VALUES (%s, %s, 'allow_list', now())",
            [opened.pk, team.pk],
        )


def all_made(
    granted: Team | None,
    cells: Iterable[Cell] = tuple(CELLS),
    *,
    before: Callable[[dict[Cell, Release]], Any] = lambda _: None,
) -> dict[Cell, Release]:
    """Each cell's release. before: what happens while all of them are still open to everybody."""
    found = {cell: release(cell.secret) for cell in cells}
    before(found)
    with a_past_may_be_made_up():
        for cell, one in found.items():
            shut(cell, one, granted)
    return found
