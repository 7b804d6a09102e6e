"""A realtime session of a release that sells none: each prompt is a run of its own.

So it never owes more than the frame that is being drawn, at the price of a run's whole way for
each; `docs/decisions/0011-a-session-is-one-run.md` says when that is right.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import msgpack

from marketplace import errors
from marketplace.dialects import fal_bodies as bodies
from marketplace.dialects.contract import Caller, Desk, Request, Row, Socket
from marketplace.dialects.fal_talk import (
    CAP,
    ENDED,
    IDLE_SECONDS,
    LAST_WORDS,
    REFUSED,
    Inbox,
    complaint,
    read,
    said,
)
from marketplace.dialects.submission import Wish, start
from marketplace.media import store
from marketplace.money import plain
from marketplace.runs.view import TERMINAL

LONGEST_FRAME = 300.0


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


async def frame(row: Row) -> bytes:
    """The output with its bytes inside."""
    told = bodies.output(row)
    files = told.get("images") or [told["video"]]
    for shown, made in zip(files, row["outputs"], strict=False):
        shown["content"] = await asyncio.to_thread(store.content, made["path"])
    packed: bytes = msgpack.packb(told | {"request_id": bodies.public(row)})
    return packed
