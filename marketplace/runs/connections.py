"""Send a statement: through Django's connection, or through the supplier's own asynchronous pool.

Each statement is one round trip in autocommit. Knows nothing of runs.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Self, cast

import orjson
from django.db import connection as django_connection
from psycopg import AsyncConnection, OperationalError
from psycopg.rows import DictRow, dict_row
from psycopg.types.json import set_json_dumps, set_json_loads
from psycopg_pool import AsyncConnectionPool

from marketplace.channel import where
from marketplace.sql import BY_KEY_OPTIONS

Statement = tuple[str, Sequence[Any] | Mapping[str, Any]]
Row = dict[str, Any]
CONNECTIONS = 4
STATEMENT_MS = 10_000
JSONB = 3802  # its type in every PostgreSQL; Django's connections leave it as text


def rows(statement: Statement) -> list[Row]:
    """Ask through Django's connection, inside its transaction where there is one."""
    with django_connection.cursor() as cursor:
        cursor.execute(*statement)
        columns = [(column.name, column.type_code == JSONB) for column in cursor.description or ()]
        return [
            {
                name: json.loads(value) if is_json and value is not None else value
                for (name, is_json), value in zip(columns, values, strict=True)
            }
            for values in cursor.fetchall()
        ]


class Connections:
    """The supplier's pool. Errors of the database are the caller's: psycopg.OperationalError and
    psycopg_pool.PoolTimeout mean that it is away."""

    def __init__(self) -> None:
        self.pool: AsyncConnectionPool[AsyncConnection[DictRow]] = AsyncConnectionPool(
            kwargs={**parameters(), "autocommit": True, "row_factory": dict_row},
            min_size=1,
            max_size=CONNECTIONS,
            open=False,
            timeout=5,
            reconnect_timeout=1,
            name="supplier",
            configure=quick_json,
        )

    async def __aenter__(self) -> Self:
        await self.pool.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.pool.close(timeout=1)

    async def rows(self, statement: Statement) -> list[Row]:
        """Ask on a connection of the pool. One that breaks has its idle neighbours looked at."""
        sql, values = statement
        try:
            async with self.pool.connection() as connection:
                cursor = await connection.execute(cast(Any, sql), values)
                return await cursor.fetchall()
        except OperationalError:
            await self.pool.check()
            raise


async def quick_json(connection: AsyncConnection[DictRow]) -> None:
    """Read and write json columns with the faster parser."""
    set_json_loads(orjson.loads, connection)
    set_json_dumps(orjson.dumps, connection)


def parameters() -> dict[str, Any]:
    """Of the supplier's connections, as libpq names them."""
    return where("supplier", STATEMENT_MS, BY_KEY_OPTIONS)
