"""fal's realtime sessions: prompts in, frames out, over a websocket with MessagePack.

Each message is a run of its own: held, run, captured. So a session never owes more than the frame
that is being drawn, and it ends with a clear message when the money or the session's cap is used
up. It opens with a key, or with a token that a browser may have for a minute or two.
"""

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import msgpack
import orjson
from django.conf import settings

from marketplace import body, errors
from marketplace.dialects import fal_bodies as bodies
from marketplace.dialects import tokens
from marketplace.dialects.contract import (
    Caller,
    Desk,
    Reply,
    Request,
    Route,
    Row,
    Socket,
    SocketRoute,
)
from marketplace.dialects.submission import Wish, start
from marketplace.media import store
from marketplace.metering.limit import cost_limit
from marketplace.money import plain
from marketplace.runs.view import TERMINAL

USE = "realtime"
TOKEN_SECONDS = (1, 3600)
IDLE_SECONDS = 60.0
LONGEST_FRAME = 300.0
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


async def token(desk: Desk, request: Request) -> Reply:
    """A token for a session, on the models of these names. A JSON string, as clients expect."""
    caller = await desk.caller(request, needs="run")
    said = body.read(request.body) if request.body else {}
    least, most = TOKEN_SECONDS
    seconds = said.get("token_expiration", 120)
    if isinstance(seconds, bool) or not isinstance(seconds, int) or not least <= seconds <= most:
        raise errors.InvalidInput(
            f"token_expiration must be from {least} to {most} seconds.", param="token_expiration"
        )
    apps = said.get("allowed_apps")
    if not isinstance(apps, list) or not all(isinstance(app, str) for app in apps) or not apps:
        raise errors.InvalidInput(
            "allowed_apps must be a list of models' names.", param="allowed_apps"
        )
    text, _ = tokens.issue(caller, use=USE, seconds=seconds, to=" ".join(apps)[:500])
    return Reply(text)


async def session(desk: Desk, socket: Socket, model: str) -> None:
    """Talk until the client leaves, nobody says anything for a minute, or the money is used up."""
    await socket.accept()
    try:
        key_id = await opened(desk, socket.request, model)
        session = Session(desk, socket, model, key_id, cap_of(socket.request))
    except errors.KinoraError as error:
        await socket.send(complaint(error, unauthorized=True))
        await socket.close(REFUSED, error.message)
        return
    inbox = Inbox(socket, buffered(socket.request))
    reader = asyncio.ensure_future(inbox.fill())
    try:
        await session.talk(inbox)
    finally:
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)


async def opened(desk: Desk, request: Request, model: str) -> UUID:
    """The key that the session is for. Raises NotAuthenticated, NotAllowed."""
    if "fal_jwt_token" in request.query:
        return (await passed(desk, request, model)).key_id
    return (await desk.caller(request, needs="run")).key_id


async def passed(desk: Desk, request: Request, model: str) -> Caller:
    """Whom the token in a query speaks for. Raises NotAuthenticated, NotAllowed."""
    key_id, apps = tokens.read(request.query["fal_jwt_token"], use=USE)
    names = {model, model.partition("/")[2].partition("/")[0].partition("@")[0]}
    if not names & set(apps.split()):
        raise errors.NotAuthenticated("This token is for another model.")
    return await desk.holder(request, key_id, needs="run")


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


@dataclass
class Session:
    """cap: nano-units of all its frames together; None for no cap. spent: of it, so far."""

    desk: Desk
    socket: Socket
    model: str
    key_id: UUID
    cap: int | None
    spent: int = 0

    async def talk(self, inbox: Inbox) -> None:
        try:
            while (message := await inbox.next()) is not None:
                if not await self.answered(message, inbox):
                    return
        except TimeoutError:
            reason = f"Nothing came for {IDLE_SECONDS:.0f} seconds."
            await self.socket.send(said("TIMEOUT", reason))
            await self.socket.close(ENDED, reason)

    async def answered(self, message: bytes | str, inbox: Inbox) -> bool:
        """Answer one message; whether to go on."""
        try:
            row = await self.drawn(read(message), inbox)
        except LAST_WORDS as error:
            await self.socket.send(complaint(error))
            await self.socket.close(REFUSED, error.message)
            return False
        except errors.KinoraError as error:
            await self.socket.send(complaint(error))
            return True
        if row["state"] == "succeeded":
            await self.socket.send(await frame(row))
        else:
            _, kind, text = bodies.fault(row)
            await self.socket.send(said(kind.upper(), text, request_id=bodies.public(row)))
        return True

    async def drawn(self, arguments: Mapping[str, Any], inbox: Inbox) -> Row:
        """The run of one message, once it has ended. One whose client leaves is cancelled."""
        request = self.request()
        caller = await self.desk.holder(request, self.key_id, needs="run")
        wish = Wish(model=self.model, arguments=arguments, waits=True)
        row = (await start(self.desk, request, wish, caller=caller)).row
        row = await self.ended(row, caller, inbox)
        closed = row["hold_state"] in ("captured", "voided")
        self.spent += row["captured" if closed else "held"] or 0
        return row

    async def ended(self, row: Row, caller: Caller, inbox: Inbox) -> Row:
        run_id = UUID(row["id"])
        end = asyncio.ensure_future(self.desk.finished(run_id, LONGEST_FRAME))
        gone = asyncio.ensure_future(inbox.left.wait())
        await asyncio.wait((end, gone), return_when=asyncio.FIRST_COMPLETED)
        gone.cancel()
        if not end.done():
            await self.desk.cancel(run_id, caller.team_id)
        found = await end or row
        if found["state"] not in TERMINAL:
            await self.desk.cancel(run_id, caller.team_id)
            raise errors.Unavailable("This frame took too long.", retry_after=1)
        return found

    def request(self) -> Request:
        """One message as a request of its own: its own key of idempotency, what is left to spend,
        and whose it is by the handshake's headers."""
        shown = self.socket.request.headers
        headers = {name: text for name, text in shown.items() if name.startswith("x-kinora-")}
        headers["idempotency-key"] = str(uuid4())
        if self.cap is not None:
            headers[CAP] = plain(max(0, self.cap - self.spent))
        return Request("POST", self.socket.request.path, {}, headers, b"")


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


async def frame(row: Row) -> bytes:
    """The output with its bytes inside."""
    told = bodies.output(row)
    files = told.get("images") or [told["video"]]
    for shown, made in zip(files, row["outputs"], strict=False):
        shown["content"] = await asyncio.to_thread(store.content, made["path"])
    packed: bytes = msgpack.packb(told | {"request_id": bodies.public(row)})
    return packed


def complaint(error: errors.KinoraError, *, unauthorized: bool = False) -> str:
    """unauthorized: in the words that make a client ask for another token."""
    if unauthorized:
        return said("Unauthorized", error.message, status="error")
    return said(error.code.upper(), error.message, detail=bodies.refused(error).body["detail"])


def said(error: str, reason: str, **more: Any) -> str:
    told = {"type": "x-fal-error", "error": error, "reason": reason, **more}
    return orjson.dumps(told).decode()


ROUTES = (
    Route("POST", "/fal/rest/tokens/", token),
    Route("POST", "/fal/rest/tokens/realtime", token),
)
SOCKETS = (
    SocketRoute("/fal/run/{model:path}/realtime", session),
    SocketRoute("/fal/run/{model:path}", session),
)
