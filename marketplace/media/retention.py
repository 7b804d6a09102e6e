"""Forget what is past its time: bytes by the media clock, rows by the record clock.

Called by the sweep with the files that live runs still need. Each repeats safely and may run twice
at once; what was deleted from the store once is deleted again without harm.
"""

from collections.abc import Iterable
from uuid import UUID

from django.db import connection, transaction

from marketplace.media import store

AT_ONCE = 500
LEFTOVER_SQL = """
    SELECT l.path, EXISTS (SELECT 1 FROM media_file f WHERE f.path = l.path) AS owned
      FROM media_leftover l WHERE l.due_at < now() ORDER BY l.due_at LIMIT %s"""
CLEARED_SQL = "DELETE FROM media_leftover WHERE path = ANY(%s) AND due_at < now()"
UNFILLED_SQL = """
    DELETE FROM media_file WHERE ready_at IS NULL AND created_at < now() - interval '1 day'"""
FORGOTTEN_SQL = "DELETE FROM media_file WHERE forget_at < now() AND path = '' AND id <> ALL (%s)"


def expire(needed: Iterable[UUID]) -> int:
    """Let go of the bytes of files past their media clock, but for the `needed`; gives how many."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT expire_files(%s, %s)", [list(needed), AT_ONCE])
        return int(cursor.fetchone()[0])


def clear() -> int:
    """Delete leftovers that are due from the store; gives how many."""
    with connection.cursor() as cursor:
        cursor.execute(LEFTOVER_SQL, [AT_ONCE])
        due = cursor.fetchall()
        for path, owned in due:
            if not owned:
                store.delete(path)
        cursor.execute(CLEARED_SQL, [[path for path, _ in due]])
    return len(due)


def forget(needed: Iterable[UUID]) -> int:
    """Delete rows past their record clock, and announced files that never came."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(FORGOTTEN_SQL, [list(needed)])
        forgotten = int(cursor.rowcount)
        cursor.execute(UNFILLED_SQL)
        return forgotten + int(cursor.rowcount)
