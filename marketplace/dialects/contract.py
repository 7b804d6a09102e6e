"""What a dialect gets and gives: requests, replies, and the desk that does the work.

The hot application is the desk; a dialect knows nothing else of it.
"""

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID

from marketplace.access.authorise import Scope
from marketplace.errors import KinoraError
from marketplace.media.shelf import Shelf
from marketplace.metering.binding import Bound
from marketplace.metering.offer import Offer
from marketplace.metering.sale import STRANGER, Accesses, Seen
from marketplace.runs.submit import Admission

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Caller:
    """Whom a key speaks for. accesses: what is open to it and not to everybody."""

    key_id: UUID
    team_id: UUID
    scopes: frozenset[str]
    accesses: Accesses = field(default_factory=lambda: STRANGER, hash=False)


def nobody_left() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a team may still send now: of `limit` requests; full again after `reset` seconds."""

    limit: int
    remaining: int
    reset: float

    def headers(self) -> dict[str, str]:
        """As the draft of the IETF names them."""
        return {
            "ratelimit-limit": str(self.limit),
            "ratelimit-remaining": str(self.remaining),
            "ratelimit-reset": str(math.ceil(self.reset)),
        }


@dataclass(slots=True, eq=False)
class Trail:
    """left: tells whether the client of the request is gone. asked: team and digest of its run.

    allowance: what its team may still send; None before its key was read, or without a limit.
    tries: how often it was sent before, by a client that says so. mark: the same at each of them.
    relayed: a proxy of ours sent it, whose connections tell nothing of its client.
    """

    left: Callable[[], bool] = nobody_left
    tries: int | None = None
    mark: int = 0
    relayed: bool = False
    asked: tuple[UUID, bytes] | None = None
    allowance: Allowance | None = None
    counted: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request. headers: lower-case names; path: percent-decoded.

    query: the last value of each name; pairs: all of them. body: its bytes; empty where the route
    streams, which reads `chunks` instead.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    chunks: AsyncIterator[bytes] | None = None
    trail: Trail = field(default_factory=Trail)
    pairs: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True)
class Reply:
    """body: anything that JSON can say, bytes as they are, or an iterator of bytes to stream.

    Bytes name their content type in the headers; a stream without one is server-sent events.
    """

    body: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Admitted:
    """replayed: an earlier request had the same idempotency key and body."""

    row: Row
    replayed: bool


@dataclass(frozen=True, slots=True)
class Picture:
    """One file of a frame. width, height: of PNG; None for what is not read here."""

    content: bytes
    content_type: str
    width: int | None
    height: int | None


@dataclass(frozen=True, slots=True)
class Frame:
    """What came of a prompt. tag: what was given with it. error: why there is no picture.

    seconds: that it took to draw. lasted, cost: of the session so far, seconds and nano-units.
    """

    tag: Any
    pictures: tuple[Picture, ...]
    seconds: float
    lasted: float
    cost: int
    error: str = ""


@dataclass(frozen=True, slots=True)
class Bill:
    """What a session came to. charged: nano-units; None where it is not settled yet."""

    reason: str
    words: str
    seconds: float
    charged: int | None
    currency: str


class Live(Protocol):
    """A session under way: one run."""

    @property
    def run_id(self) -> UUID: ...

    @property
    def currency(self) -> str: ...

    def ask(self, inputs: Mapping[str, Any], tag: Any) -> None:
        """Hand a prompt over; the oldest of too many gives way."""
        ...

    def end(self, reason: str) -> None:
        """End it now, unless it has ended. reason: of `runs.sessions.WORDS`."""
        ...

    def frames(self, quiet: float) -> AsyncIterator[Frame | None]:
        """Frames as they come, until it has ended; None after each `quiet` seconds without one."""
        ...

    def so_far(self) -> tuple[float, int]:
        """Seconds and nano-units until now."""
        ...

    async def bill(self) -> Bill:
        """What it came to, once it is settled or after a moment."""
        ...


class Desk(Protocol):
    """All that a dialect may ask for. Rows are those of `runs.view`; errors are Kinora's."""

    files: Shelf

    async def caller(self, request: Request, needs: Scope) -> Caller:
        """Raises NotAuthenticated, NotAllowed."""
        ...

    async def holder(self, request: Request, key_id: UUID, needs: Scope) -> Caller:
        """Whom a token speaks for that was made with this key. Raises as `caller` does."""
        ...

    async def visitor(self, request: Request) -> Caller | None:
        """Who calls what is read without a key, where a key comes along all the same."""
        ...

    async def offers(self, caller: Caller | None) -> Seen:
        """What somebody sees, by `lab/model` and `lab/model@version`; None is a stranger."""
        ...

    async def aliases(self) -> Mapping[str, str]:
        """Other services' names → `lab/model`."""
        ...

    async def offer(self, name: str, caller: Caller | None) -> Offer:
        """The offer of a name or an alias, as somebody sees it. Raises InvalidInput, NotFound."""
        ...

    async def shown_to(self, name: str, team_id: UUID, user_id: int | None) -> Offer:
        """The same for a person who came without a key."""
        ...

    async def session(self, admission: Admission, most: int) -> Live:
        """Begin a session: hold its first slice, and have a worker take it up.

        most: prompts that may wait. Raises the errors of `runs.submit.refusal`, Busy.
        """
        ...

    async def bound(self, quote_id: UUID, team_id: UUID) -> Bound | None: ...

    async def admit(self, admission: Admission, trail: Trail) -> Admitted:
        """A request without an idempotency key that repeats one whose client was gone before its
        answer gets that one's run, as replayed. Raises the errors of `runs.submit.refusal`."""
        ...

    async def earlier(self, team_id: UUID, idempotency_key: str, digest: bytes) -> Row | None:
        """The run that this key and body made before."""
        ...

    async def once(self, request: Request, handle: Callable[[Request], Awaitable[Reply]]) -> Reply:
        """What `handle` replies; what it replied before to this Idempotency-Key and body.

        Raises InvalidInput, IdempotencyConflict, Conflict, and the errors of `handle`.
        """
        ...

    async def run(self, run_id: UUID) -> Row | None: ...

    async def runs(
        self,
        team_id: UUID,
        *,
        before: UUID | None,
        only: Mapping[str, Any],
        limit: int,
        rising: bool = False,
    ) -> Sequence[Row]:
        """The team's runs, newest first, from `before` on; or, rising, oldest first, after it.

        only: the state, project, end_user, output_kind or by_hand (whether a person on a page
        asked for them) that they must have; the instants created_after and created_before; the
        ids first and end, which spare the database to read the others.
        """
        ...

    async def finished(self, run_id: UUID, seconds: float) -> Row | None:
        """The run once it has ended, or as it is after `seconds`."""
        ...

    def changes(self, run_id: UUID) -> AsyncIterator[Row | None]:
        """The run now and at each change until it has ended; None to keep the line alive."""
        ...

    async def cancel(self, run_id: UUID, team_id: UUID) -> bool:
        """Whether there is such a run."""
        ...

    async def ahead(self, run_id: UUID) -> int:
        """How many waiting runs come before it, up to a thousand; seconds old at most."""
        ...

    async def forget(self, run_id: UUID, team_id: UUID) -> None:
        """End a run that goes on and let its outputs expire now."""
        ...

    async def past(self, asked: tuple[str, list[object]]) -> list[Row]:
        """What `runs.history.Past` asks for."""
        ...

    async def team(self, team_id: UUID) -> Row:
        """id (public), name."""
        ...

    async def webhook_secret(self, team_id: UUID) -> str:
        """`whsec_…`: what signs the webhooks that the team's runs bring along."""
        ...

    async def run_counts(self) -> Mapping[str, int]:
        """Model → how many runs it has had, as of a minute ago at most."""
        ...

    async def money(self, run_id: UUID) -> dict[str, list[Row]]: ...


Handler = Callable[..., Awaitable[Reply]]


@dataclass(frozen=True, slots=True)
class Route:
    """pattern: a path; `{name}` is one segment of it, `{name:path}` one or more.

    streams: the handler reads the body itself, as it comes, and bounds it. keyed: it honours an
    Idempotency-Key itself, as all do that start runs; a POST to any other is answered once.
    """

    method: str
    pattern: str
    handler: Handler
    streams: bool = False
    keyed: bool = False


class Socket(Protocol):
    """A websocket. request: its handshake."""

    @property
    def request(self) -> Request: ...

    async def accept(self) -> None: ...

    async def receive(self) -> bytes | str | None:
        """The next message; None once the other side is gone."""
        ...

    async def send(self, message: bytes | str) -> None:
        """To nobody where the other side is gone."""
        ...

    async def close(self, code: int, reason: str) -> None: ...


@dataclass(frozen=True, slots=True)
class SocketRoute:
    """A path as a Route's, and who talks there until it returns."""

    pattern: str
    talk: Callable[..., Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Surface:
    """A dialect as the hot path serves it: what lies below its prefixes, and how it says errors.

    stamps: response headers that carry the request's id, where the reply does not set them.
    allowed: the headers that tell what may still be sent. always: those of every reply.
    token: how an address begins its token, where one may stand for a key.
    """

    prefixes: tuple[str, ...]
    routes: tuple[Route, ...]
    refused: Callable[[KinoraError], Reply]
    stamps: tuple[str, ...] = ("request-id",)
    allowed: Callable[[Allowance], dict[str, str]] = Allowance.headers
    sockets: tuple[SocketRoute, ...] = ()
    always: Mapping[str, str] = field(default_factory=dict)
    token: bytes = b""
