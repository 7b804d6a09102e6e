"""Carry one claimed run through a supplier's API: submit, follow, fetch, probe.

Gives how it ended and writes nothing but marks, the ticket and files; the caller holds the lease
and settles. A run that another process had begun is followed by its ticket. Without one it is
handed in again only where the lab knows its key or surely had no job; else the lab is asked for it
by our name, and where it cannot say, the job's fate is unknown and the run ends at no cost.
"""

import asyncio
import logging
import time
from dataclasses import dataclass, field
from typing import Any, Protocol

from marketplace.media import store
from marketplace.media.probe import ProbeFailed, prober
from marketplace.runs.hand import handed
from marketplace.runs.notice import address
from marketplace.runs.settle import Case, End, Kept, failed
from partners.adapter import Adapter
from partners.contract import (
    Broken,
    Job,
    Output,
    Progress,
    Refused,
    Result,
    Retry,
    SupplierError,
    Ticket,
    Unknown,
)

log = logging.getLogger(__name__)

FIRST_POLL, LONGEST_POLL = 0.1, 5.0  # seconds between two questions after a job
SHARE = 0.15  # of its age: so it is known that much later than it ended, or at a notice
AWAY_SECONDS = 1.0  # before a lab that is away is tried again
FETCH_TRIES = 3
CANCEL_SECONDS = 5.0
LOOKS = (0.0, 1.0, 3.0)  # seconds before each look for a job whose receipt was lost
MOST_OUTPUTS = 16

UNANSWERED = "The lab did not answer. You were not charged."
LOST_RECEIPT = "its process ended before the lab had answered, and the lab names no such job"


class Notes(Protocol):
    """What is written down of an attempt while it lasts; False where the fence is lost."""

    async def submitting(self, key: str | None) -> bool:
        """The job is about to be handed in under `key`, or surely was not (None)."""
        ...

    async def ticket(self, ticket: dict[str, Any]) -> bool: ...


class FenceLost(Exception):
    """The attempt is no longer ours: nothing of it may be told."""


class Unwanted(Exception):
    """The team asked for a cancel."""


@dataclass(eq=False, slots=True)
class Work:
    """One attempt in hand. progress: what the supplier said last, until somebody told it on.

    polls: how often it was asked after; lateness: the worst of them, as a share of its interval.
    laned: its end makes room for one that waits under a concurrency. alone: nobody could go on from
    here in its stead; the lab has the job or may have it, and gave no ticket for it.
    """

    case: Case
    target: str
    ticket: dict[str, Any] | None
    laned: bool = False
    cancelled: bool = False
    lost: bool = False
    submitting: bool = False  # the lab may have the job, and has not said so
    alone: bool = False
    progress: Progress | None = None
    polls: int = 0
    lateness: float = 0.0
    stirred: asyncio.Event = field(default_factory=asyncio.Event)

    def cancel(self) -> None:
        self.cancelled = True
        self.stirred.set()

    def lose(self) -> None:
        self.lost = True
        self.stirred.set()

    def notice(self) -> None:
        """The lab has sent word."""
        self.stirred.set()

    async def pause(self, seconds: float) -> bool:
        """Wait, but not longer than the run is wanted; whether the lab has sent word meanwhile.
        Raises FenceLost, Unwanted."""
        try:
            await asyncio.wait_for(self.stirred.wait(), seconds)
        except TimeoutError:
            return False
        self.stirred.clear()
        if self.lost or self.cancelled:
            raise FenceLost if self.lost else Unwanted
        return True


async def execute(work: Work, adapter: Adapter, notes: Notes) -> End:
    """Take the run to its end, whatever that is. Raises FenceLost."""
    try:
        async with asyncio.timeout(work.case.timeout_seconds):
            result = await obtain(work, adapter, notes)
            return await received(work.case, adapter, result)
    except Unwanted:
        await call_off(work, adapter)
        return told_off(work, "cancelled_after", "cancelled", "The run was cancelled.")
    except TimeoutError:
        await call_off(work, adapter)
        return told_off(work, "supplier_error", "timeout", "The lab took too long.")
    except Unknown as error:
        log.warning("%s: nobody knows what became of its job: %s", work.case.public_id, error)
        return failed("supplier_error", "supplier_error", UNANSWERED, doubt=error.message)
    except Refused as error:
        outcome = "refused_after" if error.generated else "refused_before"
        return failed(outcome, "refused", error.message)
    except SupplierError as error:
        return failed("supplier_error", "supplier_error", error.message)


async def obtain(work: Work, adapter: Adapter, notes: Notes) -> Result:
    """Follow the job to its result. Raises SupplierError, FenceLost, Unwanted."""
    told: Ticket | Progress | Result
    told = Ticket.from_json(work.ticket) if work.ticket else await begin(work, adapter, notes)
    work.submitting = False
    if isinstance(told, Result):
        return told
    ticket = told
    if not work.ticket:
        work.ticket = ticket.as_json()
        if not await notes.ticket(work.ticket):
            raise FenceLost
        work.alone = False
    return await follow(work, adapter, ticket)


async def follow(work: Work, adapter: Adapter, ticket: Ticket) -> Result:
    """Ask after the job until it has ended: the longer it lasts, the more seldom."""
    began = asked = time.monotonic()
    least = 0.0
    while True:
        interval = max(least, min(max(FIRST_POLL, SHARE * (asked - began)), LONGEST_POLL))
        due = max(asked + interval, time.monotonic())
        noticed = await work.pause(due - time.monotonic())
        asked, least = time.monotonic(), 0.0
        if not noticed:
            work.lateness = max(work.lateness, (asked - due) / interval)
        try:
            told = await adapter.poll(ticket)
        except Retry as error:
            log.info("%s: %s", work.case.public_id, error)
            least = error.after
            continue
        work.polls += 1
        if isinstance(told, Result):
            return told
        work.progress = told


async def begin(work: Work, adapter: Adapter, notes: Notes) -> Ticket | Result:
    """Hand the job in, or find the one that an attempt before handed in. Raises SupplierError."""
    if adapter.keyed or not work.case.doubtful:
        return await submit(work, adapter, notes)
    for pause in LOOKS:
        await work.pause(pause)
        if ticket := await found(work, adapter):
            return ticket
    raise Unknown(LOST_RECEIPT)


async def found(work: Work, adapter: Adapter) -> Ticket | None:
    """What the lab says of the job by our name for it, once it says anything."""
    while True:
        try:
            return await adapter.find(work.case.public_id)
        except Retry as error:
            await work.pause(max(error.after, AWAY_SECONDS))


async def submit(work: Work, adapter: Adapter, notes: Notes) -> Ticket | Result:
    """Hand the job in, again for as long as the lab is away. Raises SupplierError, FenceLost."""
    case = work.case
    notice = address(case.adapter, case.run_id)
    job = Job(case.public_id, work.target, handed(case), case.timeout_seconds, notice)
    while True:
        async with adapter.room:
            await mark(work, adapter, notes, job.key)
            try:
                return await adapter.submit(job)
            except Retry as error:  # the lab surely has no job
                log.info("%s: %s", case.public_id, error)
                after = error.after
                await mark(work, adapter, notes, None)
        await work.pause(max(after, AWAY_SECONDS))


async def mark(work: Work, adapter: Adapter, notes: Notes, key: str | None) -> None:
    """Write down what a process that takes over has to know. Raises FenceLost."""
    if not adapter.keyed:
        if not await notes.submitting(key):
            raise FenceLost
        work.submitting = work.alone = key is not None


async def call_off(work: Work, adapter: Adapter) -> None:
    """Ask the supplier to stop, once; it may be too late or away."""
    if not work.ticket:
        return
    try:
        async with asyncio.timeout(CANCEL_SECONDS):
            await adapter.cancel(Ticket.from_json(work.ticket))
    except (SupplierError, TimeoutError) as error:
        log.warning("%s could not be called off: %s", work.case.public_id, error)


def told_off(work: Work, outcome: str, code: str, message: str) -> End:
    """A run that was given up; in the midst of handing the job in, its fate is unknown."""
    doubt = "it was given up before the lab had answered" if work.submitting else ""
    return failed(outcome, code, message, at_lab=called_off(work), doubt=doubt)


def called_off(work: Work) -> str:
    """What the end is to the lab: it had begun, and may bill it, where it gave a ticket."""
    return "cancelled_after" if work.ticket else "cancelled_before"


async def received(case: Case, adapter: Adapter, result: Result) -> End:
    """Fetch and measure what was delivered; what cannot be used does not count. Raises Broken."""
    kept = []
    for index, output in enumerate(result.outputs[:MOST_OUTPUTS]):
        try:
            kept.append(await fetched(case, adapter, output, index))
        except (ProbeFailed, Broken) as error:
            log.warning("%s: output %d is not usable: %s", case.public_id, index, error)
    if not kept:
        raise Broken("The lab delivered nothing usable.")
    return End("succeeded", tuple(kept), reported=result.usage.quantities)


async def fetched(case: Case, adapter: Adapter, output: Output, index: int) -> Kept:
    """Raises ProbeFailed, Broken, Retry."""
    for tried in range(1, FETCH_TRIES + 1):
        with store.Incoming() as file:
            try:
                async for piece in adapter.fetch(output, most=store.LARGEST[case.output_kind]):
                    file.write(piece)
            except Retry as error:
                if tried == FETCH_TRIES:
                    raise
                await asyncio.sleep(max(error.after, FIRST_POLL))
                continue
            return await asyncio.to_thread(keep, case, file, index)
    raise AssertionError("unreachable")


def keep(case: Case, file: store.Incoming, index: int) -> Kept:
    """Measure a received file and store it as what it is, not as what it was called."""
    measures = prober().probe(file.finish())
    if measures.kind != case.output_kind:
        raise ProbeFailed(f"it is a {measures.kind}, not a {case.output_kind}")
    path = store.attempt_path(case.public_id, case.attempt, index, measures.content_type)
    file.keep(path)
    return Kept(path, file.bytes, file.sha256, measures)
