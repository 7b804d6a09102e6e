"""The hot path's own PostgreSQL connections, which outlive a crash of the server.

Every statement is one round trip in autocommit. A statement that may have been cut off is made a
second time on a fresh connection, so callers give only what repeats safely.
"""

from collections.abc import Sequence
from typing import Any

from django.db import connection as django_connection
from psycopg import AsyncConnection, OperationalError
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

from marketplace.errors import Unavailable

PATIENCE = 4.0  # seconds to wait for a connection
STATEMENT_MS = 5_000
CONNECTIONS = 10


class Database:
    """A pool; `rows` is its one verb."""

    def __init__(self) -> None:
        self.pool: AsyncConnectionPool[AsyncConnection[TupleRow]] = AsyncConnectionPool(
            kwargs=parameters(),
            min_size=2,
            max_size=CONNECTIONS,
            open=False,
            timeout=PATIENCE,
            reconnect_timeout=1.0,  # give up soon: the next request tries again at once
            name="hot",
        )

    async def open(self) -> None:
        await self.pool.open()

    async def close(self) -> None:
        await self.pool.close(timeout=2)

    async def rows(self, sql: str, values: Sequence[Any] = ()) -> list[TupleRow]:
        """What `sql` gives. Raises Unavailable where the database is away."""
        try:
            return await self.once(sql, values)
        except PoolTimeout:
            raise away() from None
        except OperationalError:
            # Cut off, or chosen as a deadlock's victim. Other idle connections may be dead too.
            await self.pool.check()
        try:
            return await self.once(sql, values)
        except (OperationalError, PoolClosed):
            raise away() from None

    async def once(self, sql: str, values: Sequence[Any]) -> list[TupleRow]:
        async with self.pool.connection() as connection:
            return await (await connection.execute(sql, values)).fetchall()


def away() -> Unavailable:
    return Unavailable("The database is away for a moment. Try again.", retry_after=1)


def parameters() -> dict[str, Any]:
    """Django's own database, as libpq names it."""
    known = django_connection.settings_dict
    return {
        "dbname": known["NAME"],
        "user": known["USER"],
        "password": known["PASSWORD"],
        "host": known["HOST"],
        "port": known["PORT"],
        "autocommit": True,
        "connect_timeout": 3,
        "application_name": "kinora-hot",
        "options": f"-c timezone=UTC -c statement_timeout={STATEMENT_MS}",
    }
