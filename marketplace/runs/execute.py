"""Carry one claimed run through a supplier's API: submit, follow, fetch, probe.

Gives how it ended and writes nothing but the ticket and the files; the caller holds the lease and
settles. A run that another process had begun is followed by its ticket; without a ticket it is
submitted under the same key, which the supplier knows, so that no job is ever made twice.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from marketplace.media import store
from marketplace.media.probe import ProbeFailed, prober
from marketplace.runs.hand import handed
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
)

log = logging.getLogger(__name__)

FIRST_POLL, LONGEST_POLL = 0.1, 1.0  # seconds; each is half as long again as the one before
FETCH_TRIES = 3
CANCEL_SECONDS = 5.0
MOST_OUTPUTS = 16

KeepTicket = Callable[[dict[str, Any]], Awaitable[bool]]


class FenceLost(Exception):
    """The attempt is no longer ours: nothing of it may be told."""


class Unwanted(Exception):
    """The team asked for a cancel."""


@dataclass(eq=False, slots=True)
class Work:
    """One attempt in hand. progress: what the supplier said last, until somebody told it on.

    laned: its end makes room for one that waits under a concurrency.
    """

    case: Case
    target: str
    ticket: dict[str, Any] | None
    laned: bool = False
    cancelled: bool = False
    lost: bool = False
    progress: Progress | None = None
    stirred: asyncio.Event = field(default_factory=asyncio.Event)

    def cancel(self) -> None:
        self.cancelled = True
        self.stirred.set()

    def lose(self) -> None:
        self.lost = True
        self.stirred.set()

    async def pause(self, seconds: float) -> None:
        """Wait, but not longer than the run is wanted. Raises FenceLost, Unwanted."""
        try:
            await asyncio.wait_for(self.stirred.wait(), seconds)
        except TimeoutError:
            return
        raise FenceLost if self.lost else Unwanted


async def execute(work: Work, adapter: Adapter, keep_ticket: KeepTicket) -> End:
    """Take the run to its end, whatever that is. Raises FenceLost."""
    try:
        async with asyncio.timeout(work.case.timeout_seconds):
            result = await obtain(work, adapter, keep_ticket)
            return await received(work.case, adapter, result)
    except Unwanted:
        await call_off(work, adapter)
        return failed(
            "cancelled_after", "cancelled", "The run was cancelled.", at_lab=called_off(work)
        )
    except TimeoutError:
        await call_off(work, adapter)
        return failed(
            "supplier_error", "timeout", "The lab took too long.", at_lab=called_off(work)
        )
    except Refused as error:
        outcome = "refused_after" if error.generated else "refused_before"
        return failed(outcome, "refused", error.message)
    except SupplierError as error:
        return failed("supplier_error", "supplier_error", error.message)


async def obtain(work: Work, adapter: Adapter, keep_ticket: KeepTicket) -> Result:
    """Follow the job to its result. Raises SupplierError, FenceLost, Unwanted."""
    told: Ticket | Progress | Result
    told = Ticket.from_json(work.ticket) if work.ticket else await submit(work, adapter)
    if isinstance(told, Result):
        return told
    ticket = told
    if not work.ticket:
        work.ticket = ticket.as_json()
        if not await keep_ticket(work.ticket):
            raise FenceLost
    pause = FIRST_POLL
    while not isinstance(told, Result):
        if isinstance(told, Progress) and told != work.progress:
            work.progress = told
        await work.pause(pause)
        pause = min(pause * 1.5, LONGEST_POLL)
        try:
            told = await adapter.poll(ticket)
        except Retry as error:
            log.info("%s: %s", work.case.public_id, error)
            pause = max(pause, error.after)
    return told


async def submit(work: Work, adapter: Adapter) -> Ticket | Result:
    """Hand the job in, again for as long as the lab is away. Raises SupplierError."""
    case = work.case
    job = Job(case.public_id, work.target, handed(case), case.timeout_seconds)
    while True:
        try:
            return await adapter.submit(job)
        except Retry as error:
            log.info("%s: %s", case.public_id, error)
            await work.pause(max(error.after, LONGEST_POLL))


async def call_off(work: Work, adapter: Adapter) -> None:
    """Ask the supplier to stop, once; it may be too late or away."""
    if not work.ticket:
        return
    try:
        async with asyncio.timeout(CANCEL_SECONDS):
            await adapter.cancel(Ticket.from_json(work.ticket))
    except (SupplierError, TimeoutError) as error:
        log.warning("%s could not be called off: %s", work.case.public_id, error)


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
