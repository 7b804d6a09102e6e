"""Forget what was asked for, when a run's record clock has run out.

What its money followed from stays: numbers, choices from a list, units, entries, hashes. Words and
files that its team sent are gone for good.
"""

from collections.abc import Mapping
from typing import Any

from psycopg.types.json import Jsonb

from marketplace.runs.connections import rows

AT_ONCE = 500
DUE_SQL = """
    SELECT r.id, r.inputs, l.input_schema AS schema
      FROM runs_run r JOIN catalog_release l ON l.id = r.release_id
     WHERE r.forget_at < now() AND r.finished_at IS NOT NULL ORDER BY r.id LIMIT %s"""
FORGET_SQL = """
    UPDATE runs_run r SET inputs = i.inputs, files = '{}', forget_at = NULL
      FROM jsonb_to_recordset(%s) AS i(id uuid, inputs jsonb)
     WHERE r.id = i.id AND r.forget_at < now() RETURNING r.id"""


def forget() -> int:
    """Forget the words and files of runs that are due; gives how many runs."""
    due = rows((DUE_SQL, [AT_ONCE]))
    left = [
        {"id": str(row["id"]), "inputs": countable(row["inputs"], row["schema"])} for row in due
    ]
    return len(rows((FORGET_SQL, [Jsonb(left)]))) if left else 0


def countable(inputs: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs that a price may look at and nobody's words are in."""
    declared = schema.get("properties", {})
    return {
        name: value
        for name, value in inputs.items()
        if isinstance(value, bool | int | float) or "enum" in declared.get(name, {})
    }
