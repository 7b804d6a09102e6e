"""Let the test runner empty tables between tests although the ledger refuses TRUNCATE.

The guards stay as they are in every statement that a test itself makes.
"""

from typing import Any

from django.db.backends.postgresql.operations import DatabaseOperations

plain_flush = DatabaseOperations.sql_flush


def flush_past_the_guards(self: Any, *args: Any, **options: Any) -> list[str]:
    statements = plain_flush(self, *args, **options)
    return [
        "SET session_replication_role = replica;",
        *statements,
        "SET session_replication_role = origin;",
    ]


DatabaseOperations.sql_flush = flush_past_the_guards  # type: ignore[method-assign]
