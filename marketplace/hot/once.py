"""The same Idempotency-Key is the same answer, on every address that starts no run.

An answer is kept for a day and sealed by the key that asks for it, since it may tell a secret that
is told once. Only what succeeded is kept: a refusal changed nothing and is judged anew.
"""

import asyncio
import hashlib
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from os import urandom
from uuid import UUID, uuid4

import orjson
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings

from marketplace.dialects.contract import Reply, Request
from marketplace.errors import Conflict, IdempotencyConflict
from marketplace.hot.database import Database

HEADER = "Idempotency-Key"
PAUSE, TURNS = 0.05, 100  # how long a repetition waits for the first
NONCE = 12
# A claim whose process died is free after a minute. The same claim twice is a repeated statement.
CLAIM_SQL = """
WITH old AS (
    DELETE FROM accounts_answer
     WHERE api_key_id = %s AND name <> %s AND made_at < now() - interval '1 day'
)
INSERT INTO accounts_answer AS a (api_key_id, name, claim, made_at) VALUES (%s, %s, %s, now())
    ON CONFLICT (api_key_id, name) DO UPDATE
       SET claim = excluded.claim, made_at = now(), asked = NULL, sealed = NULL
     WHERE a.claim = excluded.claim OR a.made_at < now() - interval '1 day'
        OR (a.sealed IS NULL AND a.made_at < now() - interval '1 min')
RETURNING 1
"""
FIND_SQL = "SELECT asked, sealed FROM accounts_answer WHERE api_key_id = %s AND name = %s"
KEEP_SQL = """
UPDATE accounts_answer SET asked = %s, sealed = %s
 WHERE api_key_id = %s AND name = %s AND claim = %s RETURNING 1
"""
DROP_SQL = """
DELETE FROM accounts_answer WHERE api_key_id = %s AND name = %s AND claim = %s RETURNING 1
"""
Handle = Callable[[Request], Awaitable[Reply]]


class Asked:
    """A request, and the digest of all that it asks; a form's boundary is not of it."""

    def __init__(self, request: Request) -> None:
        told = repr((request.method, request.path, sorted(request.query.items())))
        self.hash = hashlib.sha256(told.encode())
        _, _, boundary = request.headers.get("content-type", "").partition("boundary=")
        self.boundary = boundary.strip('"').encode("latin-1")
        self.rest = b""
        self.request = request
        if request.chunks is None:
            self.hear(request.body)
        else:
            self.request = replace(request, chunks=self.heard(request.chunks))

    async def heard(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for chunk in chunks:
            self.hear(chunk)
            yield chunk

    def hear(self, chunk: bytes) -> None:
        """All but what may be the beginning of a boundary goes into the digest."""
        data = self.rest + chunk
        if not self.boundary:
            self.hash.update(data)
            return
        data = data.replace(self.boundary, b"")
        kept = max(0, len(data) - len(self.boundary) + 1)
        self.hash.update(data[:kept])
        self.rest = data[kept:]

    async def digest(self) -> bytes:
        """Once the whole body has come."""
        if self.request.chunks is not None:
            async for _ in self.request.chunks:
                pass
        whole = self.hash.copy()
        whole.update(self.rest)
        return whole.digest()


class Once:
    """Answers by API key and idempotency key."""

    def __init__(self, database: Database) -> None:
        self.rows = database.rows

    async def reply(self, api_key: UUID, key: str, request: Request, handle: Handle) -> Reply:
        """What `handle` replies, or replied. Raises IdempotencyConflict, Conflict, its errors."""
        name, asked = hashlib.sha256(key.encode()).digest(), Asked(request)
        mine = [api_key, name, uuid4()]
        for _ in range(TURNS):
            if await self.rows(CLAIM_SQL, [api_key, name, *mine]):
                return await self.first(mine, key, asked, handle)
            found = await self.rows(FIND_SQL, [api_key, name])
            if found and found[0][1] is not None:
                if found[0][0] == await asked.digest():
                    return opened(found[0][1], key)
                raise IdempotencyConflict(
                    f"This {HEADER} was used with another body.", param=HEADER
                )
            await asyncio.sleep(PAUSE)
        text = f"The first request with this {HEADER} has no answer yet."
        raise Conflict(text, param=HEADER, retry_after=1)

    async def first(self, mine: list[object], key: str, asked: Asked, handle: Handle) -> Reply:
        try:
            reply = await handle(asked.request)
        except BaseException:
            await self.rows(DROP_SQL, mine)
            raise
        if reply.status < 300 and not hasattr(reply.body, "__aiter__"):
            await self.rows(KEEP_SQL, [await asked.digest(), sealed(reply, key), *mine])
        else:
            await self.rows(DROP_SQL, mine)
        return reply


def sealed(reply: Reply, key: str) -> bytes:
    headers = dict(reply.headers)
    body = reply.body
    if not isinstance(body, bytes):
        body, headers = orjson.dumps(body), headers | {"content-type": "application/json"}
    text = orjson.dumps([reply.status, headers, b64encode(body).decode()])
    nonce = urandom(NONCE)
    return nonce + seal(key).encrypt(nonce, text, None)


def opened(box: bytes, key: str) -> Reply:
    text = seal(key).decrypt(box[:NONCE], box[NONCE:], None)
    status, headers, body = orjson.loads(text)
    return Reply(b64decode(body), status, headers | {"idempotent-replayed": "true"})


def seal(key: str) -> AESGCM:
    secret = hashlib.sha256(f"kinora.answers:{settings.SECRET_KEY}:{key}".encode())
    return AESGCM(secret.digest())
