"""The process that calls labs: claims runs of the `labs` queue, keeps their leases, settles them.

One asyncio loop in a thread of the Celery worker; a bell wakes it, or a hint. Each claimed run is a
task. Renewals, progress and settlements of all runs in hand go in batches. Killed at any instant it
leaves leases that lapse and tickets by which the next process goes on.
"""

import asyncio
import logging
import os
import socket
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from threading import Thread
from typing import Any
from uuid import UUID

import psycopg
import uvloop
from django.conf import settings
from psycopg_pool import PoolTimeout

from marketplace import environment
from marketplace.celery import LABS
from marketplace.channel import listen, present
from marketplace.media.probe import prober
from marketplace.runs import claim, health, notice
from marketplace.runs.bell import Bell
from marketplace.runs.connections import Connections, Row, Statement
from marketplace.runs.execute import FenceLost, Work, execute
from marketplace.runs.reconcile import noticed, reconcile
from marketplace.runs.settle import Case, End, failed, item
from marketplace.runs.settler import Settler
from marketplace.vault.opening import GOOD_SQL, Purse, opened
from partners.adapter import Adapter
from partners.registry import open_adapter

log = logging.getLogger(__name__)

SLOTS = 512  # runs in hand; more at once have been seen to starve the database of two cores
SHARE_OF_A_LAB = 0.6  # of them, so that one lab that hangs leaves room for all others
MOST_AT_ONCE = 200  # claimed by one statement
POLL_SECONDS = 5.0  # claims this often without a hint
TEND_SECONDS = 0.5
RENEW_TICKS = 5  # every 2.5 s; see claim.SILENT_SECONDS
CANCEL_TICKS = 2
HEALTH_TICKS = 4
VAULT_TICKS = 20
RECONCILE_SECONDS = 15.0
AWAY_SECONDS = 0.5  # between two tries while the database is away
HAND_BACK_SECONDS = 1.0
ANY_ATTEMPT = 1_000_000
DATABASE_AWAY = (psycopg.OperationalError, PoolTimeout)


class Supplier:
    """`start` begins, `wake` says that runs wait, `stop` hands back what is in hand."""

    def __init__(self, queue: str = LABS, slots: int = SLOTS) -> None:
        self.queue, self.slots = queue, slots
        self.family = f"{queue}@{socket.gethostname()}:"
        self.name = f"{self.family}{os.getpid()}"
        self.works: dict[asyncio.Task[None], Work] = {}
        self.in_hand: dict[UUID, Work] = {}
        self.adapters: dict[str, Adapter] = {}
        self.purse = Purse()
        self.chores: set[asyncio.Task[None]] = set()
        self.thread = Thread(target=self._live, name="supplier", daemon=True)
        self.stopping = False
        self.more = False  # whether the last claim may have left some waiting

    # ── called from other threads ─────────────────────────────────────────────────────────────

    def start(self) -> None:
        self.thread.start()

    def wake(self) -> None:
        with suppress(AttributeError, RuntimeError):  # not yet begun, or already ended
            self.loop.call_soon_threadsafe(self.woken.set)

    def stop(self) -> None:
        """Claim no more and hand back what is in hand. Safe in a signal handler."""
        self.stopping = True
        self.wake()

    def join(self, seconds: float) -> None:
        self.thread.join(seconds)

    def _live(self) -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self.live())
        except Exception:
            log.exception("the supplier broke; ending its process so that it starts anew")
            os._exit(1)

    # ── the loop ──────────────────────────────────────────────────────────────────────────────

    async def live(self) -> None:
        self.loop, self.woken = asyncio.get_running_loop(), asyncio.Event()
        # Leases are renewed beside all else: thousands of statements that wait must not end them.
        async with Connections() as self.database, Connections() as self.leases:
            self.settler = Settler(self.database)
            seen = asyncio.create_task(present("runs_run", self.name))
            tending = asyncio.create_task(self.tend())
            asking = asyncio.create_task(self.ask_after_lost_jobs())
            hearing = asyncio.create_task(
                listen(notice.CHANNEL, self.heard, name="supplier-notices")
            )
            with Bell(self.queue, self.woken.set):
                await self.serve()
            await self.hand_back()
            tending.cancel()
            seen.cancel()
            asking.cancel()
            hearing.cancel()
            await asyncio.gather(tending, seen, asking, hearing, return_exceptions=True)
        for adapter in self.adapters.values():
            await adapter.close()
        prober().close()

    async def serve(self) -> None:
        """Claim until it is stopped, whenever it is woken or its poll is due."""
        self.take_up(await self.insist((GOOD_SQL, [])))
        await self.succeed_the_dead()
        while not self.stopping:
            self.woken.clear()
            if not await self.claim():
                with suppress(TimeoutError):
                    await asyncio.wait_for(self.woken.wait(), POLL_SECONDS)

    async def succeed_the_dead(self) -> None:
        """Take over what a killed process of this machine held, without waiting for its leases.

        Where a process id misleads, the lease or the fence decides as ever.
        """
        found = await self.insist(claim.held_by(queue=self.queue, workers=self.family))
        for row in found:
            process = row["worker"].removeprefix(self.family)
            if row["worker"] == self.name or not is_alive(process):  # this one holds none yet
                await self.insist(claim.hand_back(run=row["run_id"], attempt=row["attempt"]))

    async def claim(self) -> bool:
        """Take what free slots can hold; whether more may be waiting for free slots."""
        free = min(self.slots - len(self.works), MOST_AT_ONCE)
        self.more = True
        if free == 0:
            return False
        held = Counter(work.case.adapter for work in self.works.values())
        full = [lab for lab, many in held.items() if many >= self.slots * SHARE_OF_A_LAB]
        try:
            taken = await self.database.rows(
                claim.claim(queue=self.queue, worker=self.name, warm=(), limit=free, without=full)
            )
            cases = await self.database.rows(claim.cases(row["run_id"] for row in taken))
        except DATABASE_AWAY as error:
            log.warning("cannot claim: %s", error)
            await asyncio.sleep(AWAY_SECONDS)
            return True
        known = {row["run_id"]: row for row in cases}
        for row in taken:
            self.begin(row, known[row["run_id"]])
        self.more = len(taken) == free or bool(full)
        return len(taken) == free

    def begin(self, taken: Row, known: Row) -> None:
        case = Case.from_row(known, taken["attempt"])
        work = Work(case, known["target"], taken["ticket"], laned=taken["laned"])
        task = asyncio.create_task(self.carry(work, known["adapter"]))
        self.works[task] = self.in_hand[case.run_id] = work
        task.add_done_callback(self.ended)

    def ended(self, task: asyncio.Task[None]) -> None:
        work = self.works.pop(task)
        if self.in_hand.get(work.case.run_id) is work:
            del self.in_hand[work.case.run_id]
        if self.more or work.laned:
            self.woken.set()
        if not task.cancelled() and (error := task.exception()):
            log.error("a run was dropped; its lease will lapse", exc_info=error)

    async def carry(self, work: Work, adapter: str) -> None:
        """Execute and settle one run."""
        notes = Notes(work.case.run_id, work.case.attempt, self.insist)
        try:
            end = await execute(work, self.adapter(adapter), notes)
        except FenceLost:
            log.warning("%s is no longer ours", work.case.public_id)
            return
        await self.settler.settle(settlement(work.case, end))

    def adapter(self, name: str) -> Adapter:
        if name not in self.adapters:
            variable = f"{name.upper()}_URL"
            url = getattr(settings, variable, "") or environment.address(f"KINORA_{variable}")
            self.adapters[name] = open_adapter(name, url=url)
            self.adapters[name].take(self.purse.of(name))
        return self.adapters[name]

    async def insist(self, statement: Statement) -> list[Row]:
        """Ask until the database answers; the statement repeats safely."""
        while True:
            try:
                return await self.database.rows(statement)
            except DATABASE_AWAY as error:
                log.warning("the database is away: %s", error)
                await asyncio.sleep(AWAY_SECONDS)

    # ── leases ────────────────────────────────────────────────────────────────────────────────

    async def tend(self) -> None:
        """Pass progress on, look for cancels, renew."""
        tick = 0
        while True:
            await asyncio.sleep(TEND_SECONDS)
            tick += 1
            with suppress(*DATABASE_AWAY):
                await self.report()
                if tick % CANCEL_TICKS == 0:
                    await self.look_for_cancels()
                if tick % RENEW_TICKS == 0:
                    await self.renew()
                if tick % HEALTH_TICKS == 0:
                    await self.tell_of_health()
                if tick % VAULT_TICKS == 0:
                    self.take_up(await self.leases.rows((GOOD_SQL, [])))

    def heard(self, payload: str) -> None:
        """A lab has sent word of a job: ask after it, if it is in hand or its fate is open."""
        run, receipt = notice.heard(payload)
        if work := self.in_hand.get(run):
            work.notice()
        elif receipt:
            task = self.loop.create_task(noticed(self.database, run, receipt, self.adapter))
            self.chores.add(task)
            task.add_done_callback(self.chores.discard)

    async def tell_of_health(self) -> None:
        """What routing and pages may know of each lab, as this process sees it."""
        if said := health.of(self.name, self.adapters, self.works.values(), self.purse.wrong):
            await self.leases.rows(health.telling(said))

    def take_up(self, rows: list[Row]) -> None:
        """Be known to labs by the secrets that are good now. rows: of GOOD_SQL."""
        found = opened(rows)
        for lab, why in found.wrong.items():
            if why != self.purse.wrong.get(lab):
                log.error("a secret of %s cannot be opened: %s", lab, why)
        self.purse = found
        for name, adapter in self.adapters.items():
            adapter.take(self.purse.of(name))

    async def ask_after_lost_jobs(self) -> None:
        while True:
            with suppress(*DATABASE_AWAY):
                await reconcile(self.database, self.adapter)
            await asyncio.sleep(RECONCILE_SECONDS)

    async def report(self) -> None:
        told = [work for work in self.works.values() if work.progress]
        if not told:
            return
        items = [
            {
                "run_id": work.case.run_id,
                "attempt": work.case.attempt,
                "stage": work.progress.stage,
                "step": work.progress.step,
                "steps": work.progress.steps,
                "preview": work.progress.preview,
            }
            for work in told
            if work.progress
        ]
        for work in told:
            work.progress = None
        self.lose_but(told, await self.leases.rows(claim.report(items)))

    async def look_for_cancels(self) -> None:
        if not self.works:
            return
        runs = [work.case.run_id for work in self.works.values()]
        rows = await self.leases.rows(claim.asked_to_cancel(runs))
        unwanted = {row["run_id"] for row in rows}
        for work in self.works.values():
            if work.case.run_id in unwanted:
                work.cancel()

    async def renew(self) -> None:
        held = list(self.works.values())
        if held:
            leases = [(work.case.run_id, work.case.attempt) for work in held]
            self.lose_but(held, await self.leases.rows(claim.renew(leases)))

    def lose_but(self, works: list[Work], rows: list[Row]) -> None:
        """Drop the attempts that the fence no longer lets through; those of `rows` stand."""
        standing: set[UUID] = {row["run_id"] for row in rows}
        for work in works:
            if work.case.run_id not in standing:
                work.lose()

    async def hand_back(self) -> None:
        """Let what is nearly done end, and wait for what nobody else could end; give the rest up,
        so that another process goes on."""
        until = self.loop.time() + settings.STOP_SECONDS - 2 * HAND_BACK_SECONDS
        if self.works:
            await asyncio.wait(list(self.works), timeout=HAND_BACK_SECONDS)
        while any(work.alone for work in self.works.values()) and self.loop.time() < until:
            await asyncio.sleep(TEND_SECONDS / 5)
        left = dict(self.works)
        for task, work in left.items():
            task.cancel()
            run, attempt = work.case.run_id, work.case.attempt
            with suppress(*DATABASE_AWAY):
                await self.database.rows(
                    claim.hand_back(run=run, attempt=attempt, most=ANY_ATTEMPT)
                )
        await asyncio.gather(*left, return_exceptions=True)


@dataclass(frozen=True, slots=True)
class Notes:
    """Writes down what becomes of one attempt; see `execute.Notes`."""

    run: UUID
    attempt: int
    ask: Callable[[Statement], Awaitable[list[Row]]]

    async def submitting(self, key: str | None) -> bool:
        rows = await self.ask(claim.mark_submitting(run=self.run, attempt=self.attempt, key=key))
        return bool(rows[0]["marked"])

    async def ticket(self, ticket: dict[str, Any]) -> bool:
        rows = await self.ask(claim.keep_ticket(run=self.run, attempt=self.attempt, ticket=ticket))
        return bool(rows[0]["kept"])


def is_alive(process: str) -> bool:
    """Whether this machine has a process of that id, or cannot tell."""
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except (ValueError, PermissionError):
        return True
    return True


def settlement(case: Case, end: End) -> dict[str, Any]:
    """What is settled. A supplier's answer that cannot even be counted is its error, not a bill."""
    try:
        return item(case, end)
    except (ArithmeticError, ValueError, KeyError):
        log.exception("%s: what the lab said cannot be counted", case.public_id)
        return item(case, failed("supplier_error", "supplier_error", "The lab's answer is wrong."))
