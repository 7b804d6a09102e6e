"""Keys and offers, remembered for less than two seconds, and never past an instant that is known to
change them: the beginning or end of a window, of a price, of a release.

Revoking a key or changing a price therefore takes effect within two seconds in every process;
admission asks the database again in its own commit.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Generic, TypeVar
from uuid import UUID

import orjson

from marketplace.accounts.keys import presented
from marketplace.dialects.contract import Caller
from marketplace.errors import NotAuthenticated
from marketplace.hot.database import Database
from marketplace.metering.offer import OFFERS_SQL
from marketplace.metering.sale import (
    ACCESSES_SQL,
    DENIALS_SQL,
    STRANGER,
    Accesses,
    Sale,
    Seen,
    as_accesses,
    drained,
)
from marketplace.runs.pace import COUNTS_SQL

FRESH = 1.5  # seconds
SLOW = 60.0  # for what only informs
LARGEST = 20_000
ALIASES_SQL = """
SELECT a.name, l.slug || '/' || m.slug FROM catalog_alias a
  JOIN catalog_model m ON m.id = a.model_id JOIN catalog_lab l ON l.id = m.lab_id
"""
# Notes the use of a key too, once a minute.
KEY_SQL = """
WITH found AS (
    SELECT k.id, k.team_id, k.scopes, k.last_used_at, k.created_by_id FROM accounts_apikey k
     WHERE k.{named} = %s AND k.revoked_at IS NULL
       AND (k.expires_at IS NULL OR k.expires_at > now() + interval '2 s')
), used AS (
    UPDATE accounts_apikey k SET last_used_at = now() FROM found
     WHERE k.id = found.id
       AND coalesce(found.last_used_at, '-infinity') < now() - interval '1 min'
)
SELECT found.id, found.team_id, found.scopes::text,
       accesses(%s, found.team_id, found.created_by_id)::text FROM found
"""
WORKER_SQL = "SELECT name FROM fleet_worker WHERE digest = %s AND revoked_at IS NULL"
Key = TypeVar("Key")
Value = TypeVar("Value")


class Memory(Generic[Key, Value]):
    """Values by key for `fresh` seconds; askers of one key at one time share one question.

    ends: the instant of the monotonic clock that no answer is remembered beyond.
    """

    def __init__(
        self,
        ask: Callable[[Key], Awaitable[Value]],
        fresh: float = FRESH,
        ends: Callable[[], float] = lambda: math.inf,
    ) -> None:
        self.ask = ask
        self.fresh = fresh
        self.ends = ends
        self.known: dict[Key, tuple[float, Value]] = {}
        self.asked: dict[Key, asyncio.Task[Value]] = {}

    async def get(self, key: Key) -> Value:
        if (known := self.known.get(key)) and known[0] > time.monotonic():
            return known[1]
        if (task := self.asked.get(key)) is None:
            task = self.asked[key] = asyncio.ensure_future(self.learn(key))
        return await asyncio.shield(task)

    async def learn(self, key: Key) -> Value:
        """The answer is as old as the question: it counts from before the query."""
        until = time.monotonic() + self.fresh
        try:
            value = await self.ask(key)
        finally:
            del self.asked[key]
        if len(self.known) >= LARGEST:
            self.known.clear()
        self.known[key] = min(until, self.ends()), value
        return value


class Cache:
    """What nearly every request needs to know."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.boundary = math.inf
        ends = partial(getattr, self, "boundary")
        self.keys: Memory[bytes, Caller | None] = Memory(self.find_key, ends=ends)
        self.holders: Memory[UUID, Caller | None] = Memory(self.find_holder, ends=ends)
        self.workers: Memory[bytes, str | None] = Memory(self.find_worker)
        self.sale: Memory[str, Sale] = Memory(self.find_sale, ends=ends)
        self.aliases: Memory[str, Mapping[str, str]] = Memory(self.find_aliases)
        self.counts: Memory[str, Mapping[str, int]] = Memory(self.find_counts, SLOW)

    async def caller(self, authorization: str) -> Caller:
        """Whom a header speaks for. A key with a wrong checksum costs no query."""
        if caller := await self.keys.get(presented(authorization)):
            return caller
        raise NotAuthenticated("This key is not valid.")

    async def holder(self, key_id: UUID) -> Caller:
        """Whom a pass speaks for that was made with a key; it ends with the key."""
        if caller := await self.holders.get(key_id):
            return caller
        raise NotAuthenticated("The key of this token is not valid any more.")

    async def worker(self, digest: bytes) -> str:
        """The name of the worker whose token has this digest."""
        if name := await self.workers.get(digest):
            return name
        raise NotAuthenticated("A worker's token is needed.")

    async def offers(self, caller: Caller | None) -> Seen:
        return (await self.sale.get("")).seen(caller.accesses if caller else STRANGER)

    async def accesses(self, team_id: UUID, user_id: int | None) -> Accesses:
        """What is open to a person without a key. Not remembered: such calls are rare."""
        if not (gated := (await self.sale.get("")).gated):
            return STRANGER
        rows = await self.database.rows(ACCESSES_SQL, [gated, team_id, user_id])
        return as_accesses(rows[0][0])

    async def find_key(self, digest: bytes) -> Caller | None:
        return await self.find_caller(KEY_SQL.format(named="digest"), digest)

    async def find_holder(self, key_id: UUID) -> Caller | None:
        return await self.find_caller(KEY_SQL.format(named="id"), key_id)

    async def find_caller(self, sql: str, key: bytes | UUID) -> Caller | None:
        """One question for the key and for all that is open to it and not to everybody."""
        gated = (await self.sale.get("")).gated
        rows = await self.database.rows(sql, [key, gated])
        return caller_of(*rows[0]) if rows else None

    async def find_worker(self, digest: bytes) -> str | None:
        rows = await self.database.rows(WORKER_SQL, [digest])
        return str(rows[0][0]) if rows else None

    async def find_sale(self, _all: str) -> Sale:
        """The boundary counts from before the question, so it never lies too late."""
        asked = time.monotonic()
        sale = Sale.of(await self.database.rows(OFFERS_SQL))
        self.boundary = asked + sale.lasts
        if items := drained():
            await self.database.rows(DENIALS_SQL, [items])
        return sale

    async def find_aliases(self, _all: str) -> Mapping[str, str]:
        return dict(await self.database.rows(ALIASES_SQL))

    async def find_counts(self, _all: str) -> Mapping[str, int]:
        return dict(await self.database.rows(COUNTS_SQL))


def caller_of(key_id: UUID, team_id: UUID, scopes: str, accesses: str) -> Caller:
    return Caller(key_id, team_id, frozenset(orjson.loads(scopes)), as_accesses(accesses))
