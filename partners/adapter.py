"""How a supplier is spoken to. A lab subclasses `HttpAdapter` and says only what differs.

The transport is here: one aiohttp session per adapter, time limits, a bounded number of tries on
what is worth trying again, and a cap on what is read, because a lab's answer is hostile input.
"""

import asyncio
import inspect
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import aiohttp
from yarl import URL

from partners.contract import (
    Broken,
    Denied,
    Description,
    Job,
    Output,
    Progress,
    Result,
    Retry,
    SupplierError,
    Ticket,
    Unknown,
)
from partners.gate import Gate

TRIES = 3
PAUSE_SECONDS = 0.2
LONGEST_PAUSE = 2.0  # a longer Retry-After is handed to the caller
ANSWER_BYTES = 4 * 1024 * 1024
WORTH_ANOTHER_TRY = frozenset({408, 425, 429, 500, 502, 503, 504})
NOTHING_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
UNPROVEN = 401
TURNED_AWAY = frozenset({425, 429})  # said before any work is begun
REDIRECTS = frozenset({301, 302, 303, 307, 308})
Read = Callable[[aiohttp.ClientResponse], Awaitable[dict[str, Any]]]


class Adapter(Protocol):
    """What the marketplace asks of every supplier. All calls raise SupplierError only.

    keyed: a job that is handed in again under its key is the same job. health: open, shut or
    probing, of its gate; trouble: why the lab does not take us, or empty; asks: calls so far.
    room: for so many jobs to be handed in at once; all others wait without a word.
    """

    keyed: ClassVar[bool]
    trouble: str
    asks: int
    room: asyncio.Semaphore

    @property
    def health(self) -> str: ...

    def __init__(self, url: str = "", secret: str = "") -> None: ...

    def take(self, secrets: Sequence[str]) -> None:
        """Be known to the lab by these from now on, the newest first."""
        ...

    async def submit(self, job: Job) -> Ticket | Result:
        """Hand in a job, where `keyed` as often as one likes. A quick lab answers at once."""
        ...

    async def find(self, key: str) -> Ticket | None:
        """The job that we called `key`, at a lab that can be asked for it; None where the lab
        has none or cannot say. Raises Retry where it may say so later."""
        ...

    async def poll(self, ticket: Ticket) -> Progress | Result:
        """Ask how far it is. Raises Refused and Broken where it ended without a result."""
        ...

    async def cancel(self, ticket: Ticket) -> None:
        """Ask the supplier to stop. Says nothing about whether it did."""
        ...

    def read_webhook(self, body: bytes) -> Ticket:
        """Which job a notification is about; what became of it is asked with `poll`. So a forged,
        doubled, early or late one costs a question and decides nothing. Raises Broken."""
        ...

    def answer_notice(self, body: bytes) -> dict[str, Any]:
        """What the lab wants to hear to a notification."""
        ...

    def fetch(self, output: Output, *, most: int) -> AsyncIterator[bytes]:
        """The bytes of an output, in pieces. Raises Broken beyond `most` bytes."""
        ...

    async def close(self) -> None: ...

    @classmethod
    def describe(cls) -> tuple[Description, ...]:
        """What this supplier's models are."""
        ...


class HttpAdapter:
    """The part that every lab behind HTTP shares."""

    keyed: ClassVar[bool] = False
    default_url: ClassVar[str] = ""
    call_seconds: ClassVar[float] = 20.0
    fetch_seconds: ClassVar[float] = 120.0
    calls_per_second: ClassVar[float] = 0.0  # 0: as many as come
    calls_at_once: ClassVar[int] = 1
    calls_open: ClassVar[int] = 256  # that wait for an answer; a lab that hangs holds no more
    hops: ClassVar[int] = 0  # redirects that a file's address may take

    def __init__(self, url: str = "", secret: str = "") -> None:
        self.url = (url or self.default_url).rstrip("/")
        self.given: tuple[str, ...] = (secret,)
        self.secret, self.spare = secret, ""
        self.gate = Gate(self.calls_per_second, self.calls_at_once, most_open=self.calls_open)
        self.trouble, self.asks = "", 0
        self.room = asyncio.Semaphore(self.calls_open // 2)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    @property
    def health(self) -> str:
        return self.gate.state

    def headers(self) -> dict[str, str]:
        """What proves who we are, made for each call because a signature expires."""
        return {"Authorization": f"Bearer {self.secret}"} if self.secret else {}

    def take(self, secrets: Sequence[str]) -> None:
        """Be known by these from now on, the newest first; the next one where the lab denies it."""
        if (given := tuple(secrets)) != self.given:
            self.given = given
            self.secret, self.spare = (*given, "", "")[:2]

    def denied(self) -> None:
        """Raise Retry where there is another secret to be known by, else Denied."""
        if not self.spare:
            self.trouble = "the lab does not take our secret"
            raise Denied(self.trouble)
        self.secret, self.spare = self.spare, ""
        raise Retry("the lab does not take this secret; trying the other", 0.0)

    def session(self) -> aiohttp.ClientSession:
        """The session, made on first use because it belongs to the running loop."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30),
                timeout=aiohttp.ClientTimeout(total=self.call_seconds, sock_connect=5),
                auto_decompress=False,
            )
        return self._session

    async def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, dict[str, Any]]:
        """Make one call, again where that may help; gives status and JSON. Raises Retry, Broken.

        The caller must be able to repeat it: a question, or a job with its idempotency key.
        """
        pause = PAUSE_SECONDS
        for tried in range(1, TRIES + 1):
            try:
                return await self._call_once(method, path, body, headers or {})
            except Retry as error:
                if tried == TRIES or error.after > LONGEST_PAUSE:
                    raise
                await asyncio.sleep(max(pause, error.after))
                pause *= 2
        raise AssertionError("unreachable")

    async def _call_once(
        self, method: str, path: str, body: Mapping[str, Any] | None, headers: Mapping[str, str]
    ) -> tuple[int, dict[str, Any]]:
        try:
            async with self.ask(method, path, json=body, headers=headers) as answer:
                if answer.status in WORTH_ANOTHER_TRY:
                    raise Retry(f"the lab answered {answer.status}", retry_after(answer))
                return answer.status, read_json(await read_capped(answer, ANSWER_BYTES))
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Retry("the lab could not be reached", 0.0) from error

    async def post_once(
        self, path: str, *, read: Read | None = None, **body: Any
    ) -> tuple[int, dict[str, Any]]:
        """Hand in a job where the lab knows no idempotency key: whatever happens, once.

        body: `json=` or `data=`; read: of an answer that is not JSON alone. Raises Retry where the
        lab surely has no job, Unknown where it may have one.
        """
        try:
            async with self.ask("POST", path, **body) as answer:
                return answer.status, await (read or read_receipt)(answer)
        except NOTHING_SENT as error:
            raise Retry("the lab could not be reached", 0.0) from error
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unknown("the lab fell silent over a job that it may have") from error

    @asynccontextmanager
    async def ask(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **body: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """One call through the gate, which learns how it went. Raises Retry where it is shut."""
        with self.gate.call():
            self.asks += 1
            try:
                async with self.session().request(
                    method,
                    self.url + path,
                    headers=self.headers() | dict(headers or {}),
                    allow_redirects=False,
                    **body,
                ) as answer:
                    (self.gate.failed if answer.status >= 500 else self.gate.succeeded)()
                    if answer.status == UNPROVEN:
                        self.denied()
                    self.trouble = ""
                    yield answer
            except (aiohttp.ClientError, TimeoutError):
                self.gate.failed()
                raise

    async def find(self, key: str) -> Ticket | None:
        return None

    def read_webhook(self, body: bytes) -> Ticket:
        raise Broken("this lab sends no notifications")

    def answer_notice(self, body: bytes) -> dict[str, Any]:
        return {}

    async def fetch(self, output: Output, *, most: int) -> AsyncIterator[bytes]:
        """Stream an output's bytes. Raises Retry, Broken."""
        if output.content:
            if len(output.content) > most:
                raise Broken("the lab's file is larger than agreed")
            yield output.content
            return
        url = output.url if "://" in output.url else self.url + output.url
        try:
            async for piece in self._follow(URL(url), most):
                yield piece
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise Retry("the lab's file could not be read", 0.0) from error

    async def _follow(self, url: URL, most: int) -> AsyncIterator[bytes]:
        limit = aiohttp.ClientTimeout(total=self.fetch_seconds, sock_connect=5)
        for _ in range(self.hops + 1):
            ours = self.headers() if url.origin() == URL(self.url).origin() else {}
            async with self.session().get(
                url, headers=ours, timeout=limit, allow_redirects=False
            ) as answer:
                if answer.status in REDIRECTS and "Location" in answer.headers:
                    url = url.join(URL(answer.headers["Location"]))
                    continue
                if answer.status in WORTH_ANOTHER_TRY:
                    raise Retry(f"the lab answered {answer.status}", retry_after(answer))
                if answer.status != 200:
                    break
                async for piece in capped(answer, most):
                    yield piece
                return
        raise Broken("the lab's file cannot be fetched")

    @classmethod
    def describe(cls) -> tuple[Description, ...]:
        """What the `.json` file beside the adapter says; nothing is for sale without one."""
        return described(Path(inspect.getfile(cls)).with_suffix(".json"))


@cache
def described(file: Path) -> tuple[Description, ...]:
    """The models that a file tells of; none where there is no such file."""
    if not file.exists():
        return ()
    return tuple(Description(**model) for model in json.loads(file.read_text()))


async def read_receipt(answer: aiohttp.ClientResponse) -> dict[str, Any]:
    """What the lab said to a job. Raises Retry, Unknown."""
    if answer.status in TURNED_AWAY:
        raise Retry(f"the lab answered {answer.status}", retry_after(answer))
    if answer.status >= 500 or answer.status == 408:
        raise Unknown(f"the lab answered {answer.status} to a job that it may have")
    try:
        return read_json(await read_capped(answer, ANSWER_BYTES))
    except SupplierError as error:
        if answer.status >= 300:
            return {}
        raise Unknown(f"the lab took a job, but {error.message}") from error


def retry_after(answer: aiohttp.ClientResponse) -> float:
    """Seconds that the answer asks for; 0 where it does not say, or says a date."""
    value = answer.headers.get("Retry-After", "")
    return float(value) if value.isdigit() else 0.0


async def capped(answer: aiohttp.ClientResponse, most: int) -> AsyncIterator[bytes]:
    read = 0
    async for piece in answer.content.iter_chunked(64 * 1024):
        read += len(piece)
        if read > most:
            raise Broken("the lab's file is larger than agreed")
        yield piece


async def read_capped(answer: aiohttp.ClientResponse, most: int) -> bytes:
    return b"".join([piece async for piece in capped(answer, most)])


def read_json(content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content or b"{}")
    except ValueError:
        raise Broken("the lab's answer is not JSON") from None
    if not isinstance(found, dict):
        raise Broken("the lab's answer is not an object")
    return found
