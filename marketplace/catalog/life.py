"""A release's life: draft → conformance → vetting → staged, and from there on by the clock.

A staged release is live from its instant, deprecated and retired from theirs, with nobody doing
anything. What everybody has seen happen is never moved. Knows nothing of windows.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import connection, transaction

from marketplace.catalog.models import Release
from marketplace.errors import Conflict, InvalidInput

ORDER = tuple(Release.Stage.values)
ADVANCE_SQL = "UPDATE catalog_release SET stage = %s WHERE id = %s AND stage = %s"
SCHEDULE_SQL = """
UPDATE catalog_release SET published_at = coalesce(%s, now())
 WHERE id = %s AND stage = 'staged' AND (published_at > now()) IS NOT FALSE
   AND coalesce(%s, now()) >= now()
"""
DEPRECATE_SQL = """
UPDATE catalog_release SET deprecated_at = coalesce(%s, now()), successor_id = %s, retired_at = %s
 WHERE id = %s AND published_at <= now() AND (retired_at > now()) IS NOT FALSE
   AND (deprecated_at IS NULL OR deprecated_at > now() OR deprecated_at = %s)
   AND %s > now() AND %s >= coalesce(%s, now())
"""


def advance(*, release: Release, to: str) -> Release:
    """Bring it one stage on, or back to draft before it is scheduled. Raises InvalidInput,
    Conflict."""
    if to not in ORDER:
        raise InvalidInput(f"stage must be one of {', '.join(ORDER)}.", param="stage")
    here = ORDER.index(release.stage)
    back = to == Release.Stage.DRAFT and release.published_at is None
    if not back and ORDER.index(to) != here + 1:
        raise Conflict(f"A release that is {release.stage} does not become {to}.", param="stage")
    return written(release, ADVANCE_SQL, [to, release.pk, release.stage], "It has moved meanwhile.")


def schedule(*, release: Release, published_at: datetime | None) -> Release:
    """Have a staged release go live at an instant; None is now. It may be moved until it comes.

    Raises InvalidInput, Conflict.
    """
    aware(published_at, "published_at")
    values = [published_at, release.pk, published_at]
    return written(
        release, SCHEDULE_SQL, values, "Only a staged release that is not live yet goes live later."
    )


def deprecate(
    *,
    release: Release,
    retired_at: datetime,
    deprecated_at: datetime | None = None,
    successor: Release | None = None,
) -> Release:
    """Tell from when on it is no longer to be built upon, when it ends, and what follows it.

    Raises InvalidInput, Conflict.
    """
    aware(deprecated_at, "deprecated_at")
    aware(retired_at, "retired_at")
    if successor is not None and successor.pk == release.pk:
        raise InvalidInput("successor must be another release.", param="successor")
    values = [
        deprecated_at, successor and successor.pk, retired_at, release.pk, deprecated_at,
        retired_at, retired_at, deprecated_at,
    ]  # fmt: skip
    return written(
        release, DEPRECATE_SQL, values,
        "Only a live release is deprecated, and retired after that and in the future.",
    )  # fmt: skip


def aware(value: datetime | None, param: str) -> None:
    if value is not None and (not isinstance(value, datetime) or value.tzinfo is None):
        raise InvalidInput(f"{param} must be an instant with its offset.", param=param)


def written(release: Release, sql: str, values: Sequence[Any], refused: str) -> Release:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql, values)
        if not cursor.rowcount:
            raise Conflict(refused)
    release.refresh_from_db()
    return release
