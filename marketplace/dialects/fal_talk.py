"""What all realtime sessions of fal's share: messages in, and how refusals are said."""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import msgpack
import orjson
from django.conf import settings

from marketplace import body, errors
from marketplace.dialects import fal_bodies as bodies
from marketplace.dialects.contract import Request, Socket
from marketplace.metering.limit import cost_limit

IDLE_SECONDS = 60.0
BUFFERED = (1, 60)  # messages that wait; older ones give way to newer
CAP = "x-kinora-max-cost"
ENDED, REFUSED = 1000, 1008
# After these there is no use in going on.
LAST_WORDS = (
    errors.NotAuthenticated,
    errors.NotAllowed,
    errors.NotFound,
    errors.InsufficientBalance,
    errors.CostAboveLimit,
    errors.BudgetExceeded,
    errors.TeamLocked,
)


def cap_of(request: Request) -> int | None:
    """What the session may cost in all, nano-units. Raises InvalidInput."""
    return cost_limit(request.headers.get(CAP) or request.query.get("max_cost"))


def buffered(request: Request) -> int:
    least, most = BUFFERED
    said = request.query.get("max_buffering", "")
    return min(max(int(said), least), most) if said.isdecimal() and len(said) < 4 else most


@dataclass
class Inbox:
    """What was said and not yet heard. left: set once the client is gone."""

    socket: Socket
    most: int
    line: deque[bytes | str] = field(default_factory=deque)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)

    async def fill(self) -> None:
        while (message := await self.socket.receive()) is not None:
            self.line.append(message)
            while len(self.line) > self.most:
                self.line.popleft()
            self.news.set()
        self.left.set()
        self.news.set()

    async def next(self) -> bytes | str | None:
        """The oldest message that waits; None once the client is gone. Raises TimeoutError."""
        while not self.line:
            if self.left.is_set():
                return None
            self.news.clear()
            await asyncio.wait_for(self.news.wait(), IDLE_SECONDS)
        return self.line.popleft()


def read(message: bytes | str) -> dict[str, Any]:
    """The input of a message: MessagePack, or JSON where it is text. Raises MalformedBody."""
    if len(message) > settings.BODY_BYTES:
        raise errors.TooLarge(f"A message may have {settings.BODY_BYTES:,} bytes.", param="body")
    if isinstance(message, str):
        return body.read(message.encode())
    try:
        found = msgpack.unpackb(message, raw=False)
        return body.read(orjson.dumps(found))
    except (ValueError, TypeError, msgpack.UnpackException):
        raise errors.MalformedBody("The message is no MessagePack of plain values.") from None


def complaint(error: errors.KinoraError, *, unauthorized: bool = False) -> str:
    """unauthorized: in the words that make a client ask for another token."""
    if unauthorized:
        return said("Unauthorized", error.message, status="error")
    return said(error.code.upper(), error.message, detail=bodies.refused(error).body["detail"])


def said(error: str, reason: str, **more: Any) -> str:
    told = {"type": "x-fal-error", "error": error, "reason": reason, **more}
    return orjson.dumps(told).decode()
