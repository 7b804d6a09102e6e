"""What a dialect gets and gives: requests, replies, and the desk that does the work.

The hot application is the desk; a dialect knows nothing else of it.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID

from marketplace.access.authorise import Scope
from marketplace.metering.binding import Bound
from marketplace.metering.offer import Offer
from marketplace.runs.submit import Admission

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Caller:
    """Whom a key speaks for."""

    key_id: UUID
    team_id: UUID
    scopes: frozenset[str]


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request whose body has been read. headers: lower-case names; body: its bytes."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Reply:
    """body: anything that JSON can say, or an iterator of server-sent events."""

    body: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Admitted:
    """replayed: an earlier request had the same idempotency key and body."""

    row: Row
    replayed: bool


class Desk(Protocol):
    """All that a dialect may ask for. Rows are those of `runs.view`; errors are Kinora's."""

    async def caller(self, request: Request, needs: Scope) -> Caller:
        """Raises NotAuthenticated, NotAllowed."""
        ...

    async def offers(self) -> Mapping[str, Offer]:
        """What is on sale, by `lab/model` and `lab/model@version`."""
        ...

    async def bound(self, quote_id: UUID, team_id: UUID) -> Bound | None: ...

    async def admit(self, admission: Admission) -> Admitted: ...

    async def earlier(self, team_id: UUID, idempotency_key: str, digest: bytes) -> Row | None:
        """The run that this key and body made before."""
        ...

    async def run(self, run_id: UUID) -> Row | None: ...

    async def runs(
        self, team_id: UUID, *, before: UUID | None, only: Mapping[str, str], limit: int
    ) -> Sequence[Row]:
        """The team's runs, newest first. only: state, project or end_user that they must have."""
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

    async def entries(self, run_id: UUID) -> list[Row]: ...


Handler = Callable[..., Awaitable[Reply]]


@dataclass(frozen=True, slots=True)
class Route:
    """pattern: a path whose `{run}` is a run's public id."""

    method: str
    pattern: str
    handler: Handler
