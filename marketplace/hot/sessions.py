"""Realtime sessions of this process: prompts from a client to a worker, frames back, money beside.

A session's worker says a word at the door (`POST /fleet/v1/session`) and gets the next prompt as
the answer. Once a tick all sessions are witnessed in one statement, which renews their leases;
holds grow by slices. Killed at any instant, what was witnessed is swept and captured once.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from uuid import UUID

from marketplace.dialects.contract import Bill, Frame, Picture, Row
from marketplace.errors import Busy, KinoraError, NotFound, StaleAttempt
from marketplace.hot.database import Database
from marketplace.runs import claim, sessions
from marketplace.runs.sessions import Meter
from marketplace.runs.settle import Case, item, settling
from marketplace.runs.submit import Admission

log = logging.getLogger(__name__)
TICK = 0.5  # seconds between two looks at all sessions
WAIT = 1.0  # seconds that a worker waits for a prompt
MOST = 64  # sessions of one process
BILL_SECONDS = 3.0
AWAY_SECONDS = 0.5
CANCEL_SQL = "SELECT state FROM cancel_run(%s, %s)"
STRAY = "its process has ended, or each web process needs a KINORA_DOOR_URL of its own"
REFUSED = {"insufficient_balance", "budget_exceeded", "run_above_limit"}


@dataclass(eq=False)
class Session:
    """Implements `dialects.contract.Live`. attempt: 0 until its worker spoke."""

    run_id: UUID
    team_id: UUID
    meter: Meter
    most: int
    attempt: int = 0
    worker: str = ""
    reported: Decimal = Decimal(0)
    drawn: int = 0  # frames that were drawn
    number: int = 0  # of the newest prompt
    began: float = 0.0  # by this process's clock, as all instants here
    heard: float = field(default_factory=time.monotonic)
    ended: float = 0.0
    reason: str = ""
    refused: str = ""  # why its hold does not grow any more
    line: deque[tuple[int, Mapping[str, Any], Any]] = field(default_factory=deque)
    asked: dict[int, Any] = field(default_factory=dict)  # number → tag, of what is being drawn
    told: asyncio.Queue[Frame | None] = field(default_factory=asyncio.Queue)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    settled: asyncio.Future[int] = field(default_factory=asyncio.Future)
    timer: asyncio.TimerHandle | None = None

    @property
    def currency(self) -> str:
        return self.meter.price.currency

    # ── the client's side ─────────────────────────────────────────────────────────────────────

    def ask(self, inputs: Mapping[str, Any], tag: Any) -> None:
        self.number += 1
        self.line.append((self.number, inputs, tag))
        while len(self.line) > self.most:
            self.line.popleft()
        self.news.set()

    def end(self, reason: str, *, at: float | None = None) -> None:
        """at: since when it is over, where that is not now."""
        if self.reason:
            return
        self.reason, self.ended = reason, at or time.monotonic()
        if self.timer:
            self.timer.cancel()
        self.told.put_nowait(None)
        self.news.set()
        self.over.set()

    async def frames(self, quiet: float) -> AsyncIterator[Frame | None]:
        while True:
            try:
                frame = await asyncio.wait_for(self.told.get(), quiet)
            except TimeoutError:
                yield None
                continue
            if frame is None:
                return
            yield frame

    def so_far(self) -> tuple[float, int]:
        lasted = self.lasted()
        return lasted, self.meter.cost(lasted)

    async def bill(self) -> Bill:
        charged = None
        with suppress(TimeoutError):
            charged = await asyncio.wait_for(asyncio.shield(self.settled), BILL_SECONDS)
        words = sessions.WORDS[self.reason]
        return Bill(self.reason, words, self.lasted(), charged, self.currency)

    # ── the worker's side ─────────────────────────────────────────────────────────────────────

    async def next_prompt(self) -> dict[str, Any] | None:
        """The oldest prompt that waits, or nothing after a moment."""
        if not self.line and not self.reason:
            self.news.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self.news.wait(), WAIT)
        if not self.line or self.reason:
            return None
        number, inputs, tag = self.line.popleft()
        self.asked = {number: tag}
        return {"number": number, "inputs": inputs}

    def show(self, said: Mapping[str, Any], pictures: tuple[Picture, ...]) -> None:
        """Pass a frame on, unless it comes again."""
        if (number := said.get("number")) not in self.asked or self.reason:
            return
        tag, lasted = self.asked.pop(number), self.lasted()
        error = said.get("error")
        fault = str(error.get("message", "It failed."))[:300] if isinstance(error, dict) else ""
        self.drawn += not fault
        seconds = round(float(said.get("seconds", 0)), 6)
        frame = Frame(tag, pictures, seconds, lasted, self.meter.cost(lasted), fault)
        self.told.put_nowait(frame)

    # ── time and money ────────────────────────────────────────────────────────────────────────

    def lasted(self) -> float:
        """Seconds so far, as this process sees them; the database's count."""
        return (self.ended or time.monotonic()) - self.began if self.began else 0.0

    def watch_money(self) -> None:
        """End it when what is held is used up."""
        if self.timer:
            self.timer.cancel()
        loop = asyncio.get_running_loop()
        left = max(0.0, self.meter.covers() - self.lasted())
        self.timer = loop.call_later(left, self.used_up)

    def used_up(self) -> None:
        full = self.meter.held >= self.meter.quoted
        self.end(self.meter.bound if full else self.refused or "stopped")

    def wants_more(self) -> bool:
        left = self.meter.covers() - self.lasted()
        return bool(self.began) and self.meter.held < self.meter.quoted and left < sessions.AHEAD

    def as_item(self) -> dict[str, Any]:
        """What `witness_sessions` takes."""
        return {
            "run_id": str(self.run_id),
            "attempt": self.attempt,
            "age": time.monotonic() - self.heard if self.began else None,
            "reported": str(self.reported),
            "frames": self.drawn,
        }


class Sessions:
    """All sessions of this process. Belongs to its event loop."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.live: dict[UUID, Session] = {}
        self.tending: asyncio.Task[None] | None = None
        self.settling: set[asyncio.Task[None]] = set()

    def begin(self, admission: Admission, row: Row, most: int) -> Session:
        """Take charge of a session that was admitted."""
        meter = sessions.meter_of(admission, row["created_at"])
        session = Session(admission.run_id, admission.team_id, meter, most)
        self.live[session.run_id] = session
        task = asyncio.ensure_future(self.see_to_its_end(session))
        self.settling.add(task)
        task.add_done_callback(self.settling.discard)
        if self.tending is None or self.tending.done():
            self.tending = asyncio.ensure_future(self.tend())
        return session

    def room(self) -> None:
        """Raises Busy where this process has as many sessions as it may."""
        if sum(not session.reason for session in self.live.values()) >= MOST:
            raise Busy("Too many sessions are open. Try again soon.", retry_after=5)

    # ── the door ──────────────────────────────────────────────────────────────────────────────

    async def hear(
        self, worker: str, word: Mapping[str, Any], run_id: UUID, pictures: tuple[Picture, ...]
    ) -> dict[str, Any]:
        """Answer a worker's word with a prompt, or with the end. Raises NotFound, StaleAttempt."""
        session = self.live.get(run_id)
        if session is None:
            log.warning("%s spoke of a session that is not here: %s", worker, STRAY)
            raise NotFound("There is no such session here.")
        session.heard = time.monotonic()
        await self.recognise(session, worker, int(word["attempt"]))
        session.reported = max(session.reported, Decimal(str(word["seconds"])))
        if word.get("frame"):
            session.show(word["frame"], pictures)
        if word.get("leaving"):
            session.end(sessions.LOST)
        prompt = None if word.get("busy") else await session.next_prompt()
        session.heard = time.monotonic()
        return {"end": session.reason, "prompt": prompt}

    async def recognise(self, session: Session, worker: str, attempt: int) -> None:
        """Open the session with its worker's first word. Raises StaleAttempt for any other's."""
        if not session.began:
            statement = sessions.opened(run=session.run_id, attempt=attempt, worker=worker)
            if not await self.database.table(statement):
                raise StaleAttempt("This attempt is not yours.")
            if not session.began:
                session.attempt, session.worker = attempt, worker
                session.began = time.monotonic()
                session.watch_money()
        if (session.attempt, session.worker) != (attempt, worker):
            raise StaleAttempt("This attempt is not yours.")

    # ── once a tick ───────────────────────────────────────────────────────────────────────────

    async def tend(self) -> None:
        """As long as there are sessions. A database that is away is asked again."""
        while self.live:
            await asyncio.sleep(TICK)
            try:
                await self.tick([s for s in self.live.values() if not s.reason])
            except KinoraError as error:
                log.warning("sessions were not witnessed: %s", error.message)
            except Exception:
                log.exception("sessions were not witnessed")

    async def tick(self, present: list[Session]) -> None:
        if not present:
            return
        rows = await self.database.table(sessions.witnessed(s.as_item() for s in present))
        found = {row["run_id"]: row for row in rows}
        for session in present:
            self.look(session, found.get(session.run_id))
        for session in present:
            if not session.reason and session.wants_more():
                await self.extend(session)

    def look(self, session: Session, row: Mapping[str, Any] | None) -> None:
        """End a session that its team, its worker or the clock has ended."""
        now = time.monotonic()
        if row is None or row["state"] not in ("queued", "running"):
            cancelled = row is not None and row["state"] == "cancelled"
            session.end(sessions.CANCELLED if cancelled else sessions.LOST)
        elif session.began and row["attempt"] != session.attempt:
            session.end(sessions.LOST)
        elif row["cancel"]:
            session.end(sessions.CANCELLED)
        elif row["barred"]:
            session.end("barred")
        elif session.began and now - session.heard > sessions.SILENT_SECONDS:
            session.end(sessions.LOST, at=session.heard)
        elif not session.began and now - session.heard > sessions.START_SECONDS:
            session.end("not_started")

    async def extend(self, session: Session) -> None:
        """Hold another slice, or what there is of it."""
        meter = session.meter
        statement = sessions.extended(
            run=session.run_id, attempt=session.attempt, target=meter.target()
        )
        [answer] = await self.database.table(statement)
        if answer["code"] == "ended":
            return
        meter.held = answer["held"]
        session.refused = answer["code"] if answer["code"] in REFUSED else ""
        session.watch_money()

    # ── the end ───────────────────────────────────────────────────────────────────────────────

    async def see_to_its_end(self, session: Session) -> None:
        """Settle it once it is over. What cannot be settled here is swept when its lease lapses."""
        await session.over.wait()
        try:
            charged = await insistent(lambda: self.settle(session))
            if not session.settled.done():
                session.settled.set_result(charged)
        except Exception:
            log.exception("a session is left to the sweeper: %s", session.run_id)
        finally:  # its worker may still come to hear of it
            loop = asyncio.get_running_loop()
            loop.call_later(sessions.SILENT_SECONDS, self.live.pop, session.run_id, None)

    async def settle(self, session: Session) -> int:
        """Close it as of its end and capture, once; gives nano-units."""
        if not session.began:
            await self.database.rows(CANCEL_SQL, [session.run_id, session.team_id])
            return 0
        await self.database.table(
            sessions.closed(
                run=session.run_id,
                attempt=session.attempt,
                age=time.monotonic() - session.ended,
                reason=session.reason,
                reported=session.reported,
                frames=session.drawn,
            )
        )
        [known] = await self.database.table(claim.cases([session.run_id]))
        case = Case.from_row(known, session.attempt)
        closing = item(case, sessions.ended(case))
        await self.database.table(settling([closing]))
        [known] = await self.database.table(sessions.captured(session.run_id))
        return int(known["captured"])

    async def close(self) -> None:
        """End all sessions and settle them; the process is about to end."""
        for session in list(self.live.values()):
            session.end("stopped")
        if self.settling:
            await asyncio.wait(list(self.settling), timeout=BILL_SECONDS)
        if self.tending:
            self.tending.cancel()


async def insistent(call: Callable[[], Awaitable[int]], tries: int = 5) -> int:
    """Make a call that repeats safely until the database answers, for a while."""
    for _ in range(tries - 1):
        with suppress(KinoraError):
            return await call()
        await asyncio.sleep(AWAY_SECONDS)
    return await call()
