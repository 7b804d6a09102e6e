"""A realtime session that is one run: it begins with the first prompt and is paid by the second.

A worker keeps to it while it lasts, so that a prompt costs a frame's time and nothing else. Every
frame says what the session has come to; its last message says why it ended and what it cost.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgpack
import orjson

from marketplace import errors, ids
from marketplace.access import attribution
from marketplace.dialects.contract import Bill, Desk, Frame, Live, Picture, Socket
from marketplace.dialects.fal_talk import (
    ENDED,
    LAST_WORDS,
    REFUSED,
    Inbox,
    complaint,
    read,
    said,
)
from marketplace.dialects.vocabulary import fitted
from marketplace.metering.file_inputs import brought
from marketplace.metering.limit import cost_limit
from marketplace.metering.offer import Offer
from marketplace.money import Money
from marketplace.runs.sessions import prepare_session

RESTARTS, AGAIN = 1012, 1013  # close codes of websockets: come back, or come back later
NOTE_SECONDS = 2.0  # how often it is told what it has come to
LAST = {  # why it ended → the error that clients are told, and the close code
    "idle": ("TIMEOUT", ENDED),
    "longest": ("SESSION_ENDED", ENDED),
    "cancelled": ("SESSION_ENDED", ENDED),
    "cap": ("COST_ABOVE_LIMIT", REFUSED),
    "insufficient_balance": ("INSUFFICIENT_BALANCE", REFUSED),
    "budget_exceeded": ("BUDGET_EXCEEDED", REFUSED),
    "run_above_limit": ("BUDGET_EXCEEDED", REFUSED),
    "barred": ("NOT_AUTHENTICATED", REFUSED),
    "stopped": ("UNAVAILABLE", RESTARTS),
    "worker_lost": ("UNAVAILABLE", AGAIN),
    "not_started": ("UNAVAILABLE", AGAIN),
}


@dataclass(frozen=True, slots=True)
class Payer:
    """Whose money it is, and who spends it."""

    team_id: UUID
    key_id: UUID | None
    user_id: int | None = None


@dataclass
class Session:
    """cap: nano-units that it may cost in all; None for no cap. who: asked once it begins.

    shown: a frame as its client reads it.
    """

    desk: Desk
    socket: Socket
    offer: Offer
    cap: int | None
    who: Callable[[], Awaitable[Payer]]
    shown: Callable[[dict[str, Any]], bytes | str] = msgpack.packb

    async def talk(self, inbox: Inbox) -> None:
        """Until the client leaves or falls silent, or the session ends by itself."""
        if (live := await self.begun(inbox)) is None:
            return
        speaking = asyncio.ensure_future(self.speak(live))
        hearing = asyncio.ensure_future(self.hear(live, inbox))
        try:
            await asyncio.wait((speaking, hearing), return_when=asyncio.FIRST_COMPLETED)
            if hearing.done():
                live.end(hearing.result())
            await speaking
        finally:
            live.end("left")
            hearing.cancel()
            await asyncio.gather(speaking, hearing, return_exceptions=True)

    async def begun(self, inbox: Inbox) -> Live | None:
        """The session, with the first prompt that is right; nothing where none comes of it."""
        try:
            while (message := await inbox.next()) is not None:
                if (inputs := await self.understood(message, first=True)) is None:
                    continue
                live = await self.begin(inbox.most)
                live.ask(inputs, inputs)
                return live
        except TimeoutError:
            await self.close("TIMEOUT", "Nothing was asked for.", ENDED)
        except LAST_WORDS as error:
            await self.socket.send(complaint(error))
            await self.socket.close(REFUSED, error.message)
        except errors.KinoraError as error:
            await self.socket.send(complaint(error))
            await self.socket.close(AGAIN, error.message)
        return None

    async def begin(self, most: int) -> Live:
        """Raises the errors of `runs.submit.refusal`, CostAboveLimit, Busy."""
        payer = await self.who()
        header = self.socket.request.headers.get
        admission = prepare_session(
            offer=self.offer,
            team_id=payer.team_id,
            key_id=payer.key_id,
            user_id=payer.user_id,
            max_cost=self.cap,
            attribution=attribution.attribution(header=header, user=None),
        )
        return await self.desk.session(admission, most)

    async def hear(self, live: Live, inbox: Inbox) -> str:
        """Hand prompts over; gives why there are no more."""
        try:
            while (message := await inbox.next()) is not None:
                if inputs := await self.understood(message):
                    live.ask(inputs, inputs)
        except TimeoutError:
            return "idle"
        return "left"

    async def understood(
        self, message: bytes | str, *, first: bool = False
    ) -> Mapping[str, Any] | None:
        """The release's inputs, or nothing once the client was told what is wrong.

        first: it may carry `max_cost` for the session, since clients let nobody set a header.
        """
        try:
            arguments = read(message)
            if first and "max_cost" in arguments:
                self.cap = least(self.cap, cost_limit(arguments.pop("max_cost")))
            fit = fitted(self.offer, arguments)
            if brought(self.offer.schema, fit.inputs):
                raise errors.InvalidInput("A session takes no files.", param=next(iter(fit.words)))
        except errors.KinoraError as error:
            await self.socket.send(complaint(error))
            return None
        usual = self.offer.facts.published.get("session_inputs", {})
        return fit.inputs | {name: usual[name] for name in usual.keys() - fit.words.keys()}

    async def speak(self, live: Live) -> None:
        """Send what is drawn, now and then what it has come to, and the last words."""
        async for frame in live.frames(NOTE_SECONDS):
            if frame is None:
                note = {"type": "x-fal-message", "session": come_to(live, *live.so_far())}
                await self.socket.send(orjson.dumps(note).decode())
            elif frame.error:
                await self.socket.send(said("FRAME_FAILED", frame.error))
            else:
                await self.socket.send(self.shown(drawn(live, frame)))
        bill = await live.bill()
        if bill.reason != "left":
            code, closing = LAST[bill.reason]
            await self.close(code, last_words(bill), closing, session=settled(live, bill))

    async def close(self, code: str, reason: str, closing: int, **more: Any) -> None:
        await self.socket.send(said(code, reason, **more))
        await self.socket.close(closing, reason)


def least(one: int | None, other: int | None) -> int | None:
    """The narrower of two caps."""
    return min((cap for cap in (one, other) if cap is not None), default=None)


def drawn(live: Live, frame: Frame) -> dict[str, Any]:
    """A frame as fal's models say it, with its bytes inside."""
    return {
        "images": [image(picture) for picture in frame.pictures],
        "timings": {"inference": frame.seconds},
        "seed": frame.tag.get("seed"),
        "prompt": frame.tag.get("prompt"),
        "has_nsfw_concepts": [False] * len(frame.pictures),
        "request_id": ids.public("run", live.run_id),
        "session": come_to(live, frame.lasted, frame.cost),
    }


def image(picture: Picture) -> dict[str, Any]:
    return {
        "content": picture.content,
        "content_type": picture.content_type,
        "file_size": len(picture.content),
        "width": picture.width,
        "height": picture.height,
    }


def come_to(live: Live, seconds: float, cost: int) -> dict[str, Any]:
    """What a session has come to so far."""
    run = ids.public("run", live.run_id)
    return {"run": run, "seconds": round(seconds, 3), "cost": Money(cost, live.currency).as_json()}


def settled(live: Live, bill: Bill) -> dict[str, Any]:
    """What it came to in the end; `settled` is false where that is still being written."""
    told = come_to(live, bill.seconds, bill.charged or 0)
    return told | {"settled": bill.charged is not None, "ended": bill.reason}


def last_words(bill: Bill) -> str:
    """Why it ended and what it cost."""
    if bill.charged is None:
        return f"{bill.words} It lasted {bill.seconds:.1f} s."
    cost = Money(bill.charged, bill.currency)
    return f"{bill.words} It lasted {bill.seconds:.1f} s and cost {cost}."
