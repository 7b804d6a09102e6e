"""The desk that dialects ask: keys, offers, admission, runs, over the hot path's own means."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import orjson
from django.conf import settings

from marketplace import ids
from marketplace.access.authorise import Scope, authorise
from marketplace.dialects.contract import Admitted, Caller, Live, Reply, Request, Row, Trail
from marketplace.dialects.native import idempotency_key
from marketplace.errors import BudgetExceeded, InsufficientBalance, KinoraError, NotAuthenticated
from marketplace.hot.batch import Answer, Batch
from marketplace.hot.cache import Cache, Memory
from marketplace.hot.database import Database
from marketplace.hot.hints import Hints
from marketplace.hot.losses import Losses
from marketplace.hot.once import Once
from marketplace.hot.rate import Limiter, Rate
from marketplace.hot.reading import Reading
from marketplace.hot.sessions import Sessions
from marketplace.hot.watch import Watch
from marketplace.media.shelf import Shelf
from marketplace.metering import binding
from marketplace.metering.binding import BOUND_SQL, Bound
from marketplace.metering.file_inputs import pending
from marketplace.metering.offer import Offer
from marketplace.metering.sale import Seen, named
from marketplace.runs.receipt import MONEY_SQL
from marketplace.runs.sessions import first_slices
from marketplace.runs.submit import Admission, bring, refusal, to_item
from marketplace.runs.view import MANY_RUNS_SQL, RUN_SQL, read
from marketplace.webhooks.secrets import TEAM_GENERATION_SQL, team_secret

EARLIER_SQL = RUN_SQL.format(
    where="WHERE r.team_id = %s AND r.idempotency_key = %s AND r.inputs_digest = %s"
)
KEYED_SQL = RUN_SQL.format(where="WHERE r.team_id = %s AND r.idempotency_key = %s")
PAGE = "WHERE r.team_id = %s AND r.id < %s{narrowed} ORDER BY r.id DESC LIMIT %s"
RISING = "WHERE r.team_id = %s AND r.id > %s{narrowed} ORDER BY r.id LIMIT %s"
NARROWING = {name: f" AND r.{name} = %s" for name in ("state", "project", "end_user")} | {
    "output_kind": " AND e.output_kind = %s",
    "by_hand": " AND (r.key_id IS NULL) = %s",
    "first": " AND r.id >= %s",
    "created_after": " AND r.created_at >= %s",
    "end": " AND r.id < %s",
    "created_before": " AND r.created_at < %s",
}
ADMITTED = frozenset({"ok", "replayed"})
FIRST, LAST = UUID(int=0), UUID(int=(1 << 128) - 1)
AHEAD_SQL = """
SELECT count(*) FROM (
    SELECT 1 FROM runs_run r, runs_run me
     WHERE me.id = %s AND r.queue = me.queue AND r.state = 'queued' AND r.id <> me.id
       AND (-r.priority, r.created_at, r.id) < (-me.priority, me.created_at, me.id)
     LIMIT 1000) before
"""
FORGET_SQL = """
UPDATE runs_output o SET expires_at = now() FROM runs_run r
 WHERE r.id = o.run_id AND r.id = %s AND r.team_id = %s AND o.expires_at > now() RETURNING o.id
"""
TEAM_SQL = "SELECT name FROM accounts_team WHERE id = %s"
CANCEL_SQL = "SELECT state FROM cancel_run(%s, %s)"


class HotDesk:
    """Implements `dialects.contract.Desk`."""

    def __init__(self) -> None:
        self.database = Database()
        self.cache = Cache(self.database)
        self.hints = Hints(self.database)
        self.batch = Batch(self.database, self.hints.tell)
        self.losses = Losses()
        self.answers = Once(self.database)
        self.limiter = Limiter({kind: Rate(*rate) for kind, rate in settings.RATES.items()})
        self.files = Shelf(self.database.rows)
        self.watch = Watch(self.database)
        self.places: Memory[UUID, int] = Memory(self.count_ahead)
        self.sessions = Sessions(self.database)
        self.reading: Reading[UUID, Row] = Reading(self.read_runs)

    async def close(self) -> None:
        await self.sessions.close()
        await self.watch.close()
        await self.hints.close()
        await self.database.close()

    async def caller(self, request: Request, needs: Scope) -> Caller:
        caller = await self.cache.caller(request.headers.get("authorization", ""))
        authorise(scopes=caller.scopes, needs=needs)
        self.count(request, caller)
        return caller

    async def most_bytes(self, headers: Mapping[str, str], *, has_token: bool) -> int:
        """Of a body that may carry small files, as `data:` URIs. Raises NotAuthenticated.

        has_token: the address brings one instead of a key, which its handler checks.
        """
        if has_token and "authorization" not in headers:
            return int(settings.BODY_BYTES)
        await self.cache.caller(headers.get("authorization", ""))
        return int(settings.INLINE_BYTES)

    async def once(self, request: Request, handle: Callable[[Request], Awaitable[Reply]]) -> Reply:
        key = idempotency_key(request)
        try:
            caller = await self.cache.caller(request.headers.get("authorization", ""))
        except NotAuthenticated:  # a token or nobody, which the handler judges
            return await handle(request)
        self.count(request, caller)
        return await self.answers.reply(caller.key_id, key or "", request, handle)

    def count(self, request: Request, caller: Caller) -> None:
        """Take one request from the team's bucket, however often it is asked. Raises Busy."""
        if not request.trail.counted:
            kind = "read" if request.method in ("GET", "HEAD") else "write"
            request.trail.counted = True
            request.trail.allowance = self.limiter.take(caller.team_id, kind)

    async def holder(self, request: Request, key_id: UUID, needs: Scope) -> Caller:
        caller = await self.cache.holder(key_id)
        authorise(scopes=caller.scopes, needs=needs)
        self.count(request, caller)
        return caller

    async def visitor(self, request: Request) -> Caller | None:
        try:
            return await self.cache.caller(request.headers.get("authorization", ""))
        except NotAuthenticated:
            return None

    async def offers(self, caller: Caller | None) -> Seen:
        return await self.cache.offers(caller)

    async def aliases(self) -> Mapping[str, str]:
        return await self.cache.aliases.get("")

    async def offer(self, name: str, caller: Caller | None) -> Offer:
        return named(await self.offers(caller), (await self.aliases()).get(name, name), name)

    async def shown_to(self, name: str, team_id: UUID, user_id: int | None) -> Offer:
        accesses = await self.cache.accesses(team_id, user_id)
        return named((await self.cache.sale.get("")).seen(accesses), name)

    async def bound(self, quote_id: UUID, team_id: UUID) -> Bound | None:
        rows = await self.database.rows(BOUND_SQL, [quote_id, team_id])
        return binding.read(rows[0][0]) if rows else None

    async def admit(self, admission: Admission, trail: Trail) -> Admitted:
        try:
            admission = await bring(self.files, admission)
        except KinoraError:
            # A retry gets its first run even if what it brings cannot be had any more.
            if row := await self.brought_before(admission):
                return Admitted(row, replayed=True)
            raise
        asked = admission.team_id, admission.digest
        if not admission.idempotency_key and (lost := self.losses.claim(asked, trail)):
            self.losses.begin(asked, lost, trail)
            return Admitted(await self.run(lost) or {}, replayed=True)
        item = to_item(admission)
        answer = await self.batch.admit(item)
        if answer.code not in ADMITTED or answer.run_id is None:
            raise refusal(answer.code, admission, answer.available, answer.budget)
        if not admission.idempotency_key:
            self.losses.begin(asked, answer.run_id, trail)
        if answer.run_id == admission.run_id:  # also where a call was repeated after a lost answer
            return Admitted(fresh_row(admission, item, answer), replayed=False)
        return Admitted(await self.run(answer.run_id) or {}, replayed=True)

    async def session(self, admission: Admission, most: int) -> Live:
        """Tries ever shorter first slices, down to a second."""
        self.sessions.room()
        slices = first_slices(admission)
        for amount in slices:
            admission = replace(admission, slice=amount)
            try:
                row = (await self.admit(admission, Trail())).row
            except (InsufficientBalance, BudgetExceeded):
                if amount == slices[-1]:
                    raise
            else:
                return self.sessions.begin(admission, row, most)
        raise AssertionError("a session has a first slice")

    async def brought_before(self, admission: Admission) -> Row | None:
        """The run of this idempotency key, if it differs in nothing but its files."""
        if admission.idempotency_key is None:
            return None
        row = await self.one(KEYED_SQL, [admission.team_id, admission.idempotency_key])
        schema, asked = admission.offer.schema, (admission.offer.model, admission.offer.version)
        same = row is not None and (row["model"], row["release"]) == asked
        if row and same and pending(schema, row["inputs"]) == pending(schema, admission.inputs):
            return row
        return None

    async def earlier(self, team_id: UUID, idempotency_key: str, digest: bytes) -> Row | None:
        return await self.one(EARLIER_SQL, [team_id, idempotency_key, digest])

    async def run(self, run_id: UUID) -> Row | None:
        return await self.reading.get(run_id)

    async def runs(
        self,
        team_id: UUID,
        *,
        before: UUID | None,
        only: Mapping[str, Any],
        limit: int,
        rising: bool = False,
    ) -> Sequence[Row]:
        narrowed = "".join(NARROWING[name] for name in only)
        page, end = (RISING, FIRST) if rising else (PAGE, LAST)
        sql = RUN_SQL.format(where=page.format(narrowed=narrowed))
        values = [team_id, before or end, *only.values(), limit]
        return [read(text) for (text,) in await self.database.rows(sql, values)]

    async def finished(self, run_id: UUID, seconds: float) -> Row | None:
        return await self.watch.finished(run_id, seconds)

    def changes(self, run_id: UUID) -> AsyncIterator[Row | None]:
        return self.watch.changes(run_id)

    async def cancel(self, run_id: UUID, team_id: UUID) -> bool:
        return bool(await self.database.rows(CANCEL_SQL, [run_id, team_id]))

    async def forget(self, run_id: UUID, team_id: UUID) -> None:
        await self.cancel(run_id, team_id)
        await self.database.rows(FORGET_SQL, [run_id, team_id])

    async def past(self, asked: tuple[str, list[object]]) -> list[Row]:
        return [read(text) for (text,) in await self.database.rows(*asked)]

    async def team(self, team_id: UUID) -> Row:
        [(name,)] = await self.database.rows(TEAM_SQL, [team_id])
        return {"id": ids.public("team", team_id), "name": name}

    async def webhook_secret(self, team_id: UUID) -> str:
        rows = await self.database.rows(TEAM_GENERATION_SQL, [team_id])
        return team_secret(team_id, rows[0][0] if rows else 1)

    async def run_counts(self) -> Mapping[str, int]:
        return await self.cache.counts.get("")

    async def money(self, run_id: UUID) -> dict[str, list[Row]]:
        """The ledger's side of a run, for its receipt."""
        rows = await self.database.rows(MONEY_SQL, [run_id])
        found: dict[str, list[Row]] = orjson.loads(rows[0][0])
        return found

    async def ahead(self, run_id: UUID) -> int:
        return await self.places.get(run_id)

    async def count_ahead(self, run_id: UUID) -> int:
        [(before,)] = await self.database.rows(AHEAD_SQL, [run_id])
        return int(before)

    async def read_runs(self, run_ids: list[UUID]) -> dict[UUID, Row]:
        found = [read(text) for (text,) in await self.database.rows(MANY_RUNS_SQL, [run_ids])]
        return {UUID(row["id"]): row for row in found}

    async def one(self, sql: str, values: Sequence[Any]) -> Row | None:
        rows = await self.database.rows(sql, values)
        return read(rows[0][0]) if rows else None


def fresh_row(admission: Admission, item: Row, answer: Answer) -> Row:
    """The row of a run that was admitted this instant, without asking for it."""
    offer = admission.offer
    nothing = dict.fromkeys(
        ("outcome", "started_at", "finished_at", "running_seconds", "error", "progress", "usage")
    )
    return {
        **nothing,
        "id": str(admission.run_id),
        "team_id": str(admission.team_id),
        "model": offer.model,
        "release": offer.version,
        "output_kind": offer.output_kind,
        "state": "queued",
        "inputs": admission.inputs,
        "files": admission.files,
        "by_hand": admission.key_id is None,
        "cancel_at": admission.cancel_at,
        "project": admission.attribution.project,
        "end_user": admission.attribution.end_user,
        "created_at": answer.admitted_at,
        "waiting_seconds": 0.0,
        "attempt": 0,
        "route": item["route"],
        "queue": offer.queue,
        "worker": "",
        "hold_state": "open",
        "currency": offer.currency,
        "quoted": admission.quoted,
        "held": admission.held,
        "captured": 0,
        "price_version": admission.price_version,
        "outputs": None,
        "checks": None,
        "webhooks": admission.webhooks,
    }
