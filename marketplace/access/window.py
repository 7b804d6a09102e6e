"""Make, change, close and withdraw windows. Who may is somebody else's question.

Instants are compared in the database, by its clock; `windows_kept.sql` refuses what would rewrite
the past. Each takes effect at its instant, with nobody doing anything.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from django.db import IntegrityError, connection, transaction

from marketplace.access.models import Grant, Window
from marketplace.accounts.models import User
from marketplace.catalog.models import Release
from marketplace.errors import Conflict, InvalidInput

LONGEST_TERMS = 4000
MAKE_SQL = """
INSERT INTO access_window
       (release_id, kind, span, audience, quota, terms, created_by_id, created_at)
VALUES (%s, %s, tstzrange(coalesce(%s, now()), %s, '[)'), %s::jsonb, %s, %s, %s, now())
RETURNING id
"""
CHANGE_SQL = """
UPDATE access_window SET span = tstzrange(coalesce(%s, lower(span)),
       CASE WHEN %s THEN %s ELSE upper(span) END, '[)'), quota = %s, terms = %s WHERE id = %s
"""
CLOSE_SQL = """
UPDATE access_window SET span = tstzrange(lower(span), now(), '[)')
 WHERE id = %s AND lower(span) < now() AND (upper(span) > now()) IS NOT FALSE
"""
WITHDRAW_SQL = """
UPDATE access_window SET withdrawn_at = now()
 WHERE id = %s AND withdrawn_at IS NULL AND lower(span) > now()
"""
OVERLAP = "Another window of this release holds within that time."
FIELDS = ("begins", "ends", "quota", "terms")


def make(
    *,
    release: Release,
    kind: Any,
    begins: datetime | None = None,
    ends: datetime | None = None,
    audience: Any = None,
    quota: Any = None,
    terms: Any = "",
    created_by: User | None = None,
) -> Window:
    """A window of a release. begins: None is now; ends: None is for ever, for `exclusive` alone.

    audience: the reasons for which early access may be granted, of `Grant.Reason`; None for all.
    Raises InvalidInput; Conflict where the past or another window stands against it.
    """
    if kind not in Window.Kind.values:
        raise InvalidInput(f"kind must be one of {', '.join(Window.Kind.values)}.", param="kind")
    if ends is None and kind != Window.Kind.EXCLUSIVE:
        raise InvalidInput("ends is required; only an exclusive promise is for ever.", param="ends")
    ordered(begins, ends)
    early = kind == Window.Kind.EARLY_ACCESS
    found = reasons(audience) if early else nothing(audience, "audience", [])
    most = runs(quota) if early else nothing(quota, "quota", None)
    values = [
        release.pk, kind, begins, ends, dumped(found), most, words(terms),
        created_by.pk if created_by else None,
    ]  # fmt: skip
    with checked(), connection.cursor() as cursor:
        cursor.execute(MAKE_SQL, values)
        return Window.objects.select_related("release").get(pk=cursor.fetchone()[0])


def change(*, window: Window, data: Mapping[str, Any]) -> Window:
    """Set other instants, quota or terms. What has begun keeps its beginning.

    data: some of FIELDS. Raises InvalidInput, Conflict.
    """
    for field in data:
        if field not in FIELDS:
            raise InvalidInput(f"{field[:80]} is not one of {', '.join(FIELDS)}.", param=field[:80])
    begins, ends = data.get("begins"), data.get("ends")
    if "ends" in data and ends is None and window.kind != Window.Kind.EXCLUSIVE:
        raise InvalidInput("ends is required; only an exclusive promise is for ever.", param="ends")
    ordered(begins or window.span.lower, ends if "ends" in data else window.span.upper)
    early = window.kind == Window.Kind.EARLY_ACCESS
    quota = data.get("quota", window.quota)
    most = runs(quota) if early else nothing(quota, "quota", None)
    terms = words(data.get("terms", window.terms))
    with checked(), connection.cursor() as cursor:
        cursor.execute(CHANGE_SQL, [begins, "ends" in data, ends, most, terms, window.pk])
    window.refresh_from_db()
    return window


def close(*, window: Window) -> Window:
    """End it now. Raises Conflict where it has not begun or is over."""
    return written(window, CLOSE_SQL, "This window is not open.")


def withdraw(*, window: Window) -> Window:
    """Take back what has not begun. Raises Conflict where it has."""
    return written(window, WITHDRAW_SQL, "This window has begun. Close it.")


def written(window: Window, sql: str, refused: str) -> Window:
    with checked(), connection.cursor() as cursor:
        cursor.execute(sql, [window.pk])
        if not cursor.rowcount:
            raise Conflict(refused)
    window.refresh_from_db()
    return window


@contextmanager
def checked() -> Iterator[None]:
    """A transaction whose refusals by the database are told as Conflict."""
    try:
        with transaction.atomic():
            yield
    except IntegrityError as fault:
        raise Conflict(told(fault)) from fault


def told(fault: IntegrityError) -> str:
    """What the database says, for people."""
    diag = getattr(fault.__cause__, "diag", None)
    if diag is not None and diag.sqlstate == "23001":  # restrict_violation, in our own words
        said = str(diag.message_primary)
        return f"{said[:1].upper()}{said[1:]}."
    return OVERLAP


# ── what is asked for ─────────────────────────────────────────────────────────────────────────


def ordered(begins: datetime | None, ends: datetime | None) -> None:
    for value, name in ((begins, "begins"), (ends, "ends")):
        if value is not None and (not isinstance(value, datetime) or value.tzinfo is None):
            raise InvalidInput(f"{name} must be an instant with its offset.", param=name)
    if begins and ends and begins >= ends:
        raise InvalidInput("ends must be after begins.", param="ends")


def reasons(audience: Any) -> list[str]:
    known = list(Grant.Reason.values)
    if audience is None:
        return known
    if not isinstance(audience, Sequence) or not audience or not set(audience) <= set(known):
        raise InvalidInput(f"audience must be some of {', '.join(known)}.", param="audience")
    return sorted(set(audience))


def runs(quota: Any) -> int | None:
    whole = isinstance(quota, int) and not isinstance(quota, bool)
    if quota is not None and not (whole and 0 < quota < 2**31):
        raise InvalidInput("quota must be a whole number of runs above 0.", param="quota")
    found: int | None = quota
    return found


def words(terms: Any) -> str:
    if not isinstance(terms, str) or len(terms) > LONGEST_TERMS or "\0" in terms:
        raise InvalidInput(f"terms must be text up to {LONGEST_TERMS} characters.", param="terms")
    return terms


def nothing(value: Any, param: str, none: Any) -> Any:
    if value not in (None, none):
        raise InvalidInput(f"{param} is for early access alone.", param=param)
    return none


def dumped(names: list[str]) -> str:
    return "[" + ", ".join(f'"{name}"' for name in names) + "]"
