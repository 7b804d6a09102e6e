"""The hot path's own PostgreSQL connections, which outlive a crash of the server.

Every statement is one round trip in autocommit. One that was cut off is made again until the
database answers or the caller's patience ends, so callers give only what repeats safely.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from psycopg import AsyncConnection, OperationalError
from psycopg.rows import TupleRow, dict_row, tuple_row

from marketplace.channel import where
from marketplace.errors import database_away
from marketplace.sql import BY_KEY_OPTIONS

PATIENCE = 4.0  # seconds; after them a caller is told to come back
PAUSE = 0.1  # seconds between two tries
CONNECTIONS = 10

Statement = tuple[str, Sequence[Any] | Mapping[str, Any]]
Connection = AsyncConnection[TupleRow]


class Database:
    """Up to ten connections, made when they are needed; `rows` is its one verb."""

    def __init__(self) -> None:
        self.slots = asyncio.Semaphore(CONNECTIONS)
        self.idle: list[Connection] = []

    async def rows(self, sql: str, values: Sequence[Any] = ()) -> list[TupleRow]:
        """What `sql` gives. Raises Unavailable where the database is away."""
        return await self.patient((sql, values), tuple_row)

    async def table(self, statement: Statement) -> list[dict[str, Any]]:
        """What a statement of another room gives, by column. Raises as `rows`."""
        return await self.patient(statement, dict_row)

    async def patient(self, statement: Statement, shape: Any) -> list[Any]:
        try:
            async with asyncio.timeout(PATIENCE):
                return await self.persistent(statement, shape)
        except TimeoutError:
            raise database_away() from None

    async def persistent(self, statement: Statement, shape: Any) -> list[Any]:
        while True:
            try:
                return await self.once(statement, shape)
            except OperationalError:  # cut off, starting up, or chosen as a deadlock's victim
                await self.close()
                await asyncio.sleep(PAUSE)

    async def once(self, statement: Statement, shape: Any) -> list[Any]:
        async with self.slots:
            connection = self.idle.pop() if self.idle else await connect()
            try:
                cursor = await connection.cursor(row_factory=shape).execute(*statement)
                found = await cursor.fetchall()
            except BaseException:  # also a caller that left: its answer is still under way
                await connection.close()
                raise
            self.idle.append(connection)
            return found

    async def close(self) -> None:
        """Close what nobody uses."""
        idle, self.idle = self.idle, []
        for connection in idle:
            await connection.close()


async def connect() -> Connection:
    """A connection to Django's own database."""
    known = where("hot", int(PATIENCE * 1000), BY_KEY_OPTIONS)
    return await AsyncConnection.connect(**known, autocommit=True, prepare_threshold=2)
