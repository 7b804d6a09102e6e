"""A realtime session: one run that is held slice by slice and captured once, for its seconds.

Builds its admission, its statements (`sessions.sql`) and how it ended; `Meter` knows what seconds
cost. Who listens to clients and workers is the hot path's business.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from django.conf import settings
from psycopg.types.json import Jsonb

from marketplace import errors, ids
from marketplace.access.attribution import NOBODY, Attribution
from marketplace.metering.offer import Offer, Present
from marketplace.metering.quote import counted_units, total
from marketplace.metering.sale import callable_now
from marketplace.metering.units import unit_of
from marketplace.money import Money
from marketplace.runs.claim import LEASE
from marketplace.runs.connections import Row, Statement
from marketplace.runs.settle import SESSION_LENGTH, Case, End, failed
from marketplace.runs.submit import Admission, digest

FIRST_SLICES = (30, 5, 1)  # seconds that are held at first: the most that there is money for
SLICE = 20  # seconds that are held more each time
AHEAD = 10.0  # seconds before what is held is used up
DOOR = "fleet/v1/session"  # where a worker speaks of its session
START_SECONDS = 60  # a session that no worker takes up by then costs nothing
SILENT_SECONDS = 5.0  # a worker that was not heard for so long is lost
LOST = "worker_lost"
CANCELLED = "cancelled"
WORDS = {  # why a session ended → its last words
    "left": "Its client ended it.",
    "idle": "Nothing was asked for.",
    "longest": "The session has lasted as long as one may.",
    "cap": "The session's max_cost is used up.",
    "insufficient_balance": "The balance is used up.",
    "budget_exceeded": "A budget is used up.",
    "run_above_limit": "What a budget allows a run is used up.",
    "barred": "The key or its team may no longer run.",
    "stopped": "The server is restarting. Start another session.",
    "not_started": "No worker was free.",
    CANCELLED: "The session was cancelled.",
    LOST: "The worker was lost. Start another session.",
}
MILLI = Decimal("0.001")


@dataclass(slots=True)
class Meter:
    """What seconds of a session cost. held, quoted: nano-units; at: the instant of its hold;
    longest: seconds; bound: why it is not longer."""

    price: Present
    at: datetime
    held: int
    quoted: int
    longest: Decimal
    bound: str

    def cost(self, seconds: Decimal | float) -> int:
        """Nano-units of so many seconds, never more than what is held."""
        return min(self.held, price_of(self.price, Decimal(str(seconds)), self.at))

    def covers(self) -> float:
        """Seconds that what is held pays for."""
        return float(affordable(self.price, self.held, self.at, self.longest))

    def target(self) -> int:
        """What is to be held next: another slice, within the quote."""
        seconds = Decimal(self.covers()) + SLICE
        return min(self.quoted, price_of(self.price, seconds, self.at))


def meter_of(admission: Admission, created_at: str) -> Meter:
    """The meter of a session that was admitted. created_at: ISO 8601."""
    price, longest = price_in(admission.offer), Decimal(str(admission.inputs["session_seconds"]))
    at = datetime.fromisoformat(created_at)
    whole = unit_of(SESSION_LENGTH).upper_bound({}, admission.offer.facts)
    bound = "longest" if longest >= whole else "cap"
    return Meter(price, at, admission.held, admission.quoted, longest, bound)


def price_in(offer: Offer) -> Present:
    """Raises InvalidInput where the release sells no sessions."""
    if offer.session is None:
        raise errors.InvalidInput(f"{offer.model} has no sessions.", param="model")
    return offer.session


def price_of(price: Present, seconds: Decimal, at: datetime) -> int:
    """Nano-units of seconds at a session's price."""
    return total(price.book.priced({SESSION_LENGTH: seconds}, {}, at))


def affordable(price: Present, amount: int, at: datetime, most: Decimal) -> Decimal:
    """The most seconds, in thousandths, that cost `amount` nano-units or less."""
    low, high = 0, int(most / MILLI)
    while low < high:
        middle = (low + high + 1) // 2
        if price_of(price, middle * MILLI, at) <= amount:
            low = middle
        else:
            high = middle - 1
    return low * MILLI


# ── beginning ─────────────────────────────────────────────────────────────────────────────────


def prepare_session(
    *,
    offer: Offer,
    team_id: UUID,
    key_id: UUID | None,
    user_id: int | None = None,
    max_cost: int | None = None,
    attribution: Attribution = NOBODY,
) -> Admission:
    """A session of a release that sells them, as long as `max_cost` allows; its first slice is
    for the caller to choose. Raises CostAboveLimit where not a second fits."""
    price = price_in(callable_now(offer))
    now = datetime.now(UTC)
    longest = unit_of(SESSION_LENGTH).upper_bound({}, offer.facts)
    if max_cost is not None:
        longest = affordable(price, max_cost, now, longest)
    if longest < 1:
        raise too_little(price_of(price, Decimal(1), now), max_cost or 0, price.currency)
    inputs = {"session_seconds": float(longest) if longest % 1 else int(longest)}
    body = {"model": offer.full_name, "inputs": inputs}
    return Admission(
        run_id=ids.uuid7(),
        team_id=team_id,
        key_id=key_id,
        user_id=user_id,
        offer=offer,
        inputs=inputs,
        digest=digest(body, attribution),
        idempotency_key=f"session:{uuid4()}",
        quote_id=None,
        price_id=price.id,
        price_version=price.version,
        quoted=price_of(price, longest, now),
        attribution=attribution,
        waits=True,
        start_by=now + timedelta(seconds=START_SECONDS),
        most_attempts=1,
        asked=body,
        route={"door": f"{settings.DOOR_URL}/{DOOR}"} if settings.DOOR_URL else {},
    )


def too_little(second: int, max_cost: int, currency: str) -> errors.CostAboveLimit:
    least, limit = Money(second, currency), Money(max_cost, currency)
    return errors.CostAboveLimit(
        f"A second of this session costs {least}, more than max_cost {limit}.",
        param="max_cost",
        quoted=least.as_json(),
        max_cost=limit.as_json(),
    )


def first_slices(admission: Admission) -> list[int]:
    """What may be held at first, nano-units, the longest first."""
    price, now = price_in(admission.offer), datetime.now(UTC)
    amounts = (price_of(price, Decimal(seconds), now) for seconds in FIRST_SLICES)
    return sorted({min(admission.quoted, amount) for amount in amounts}, reverse=True)


# ── statements ────────────────────────────────────────────────────────────────────────────────


def opened(*, run: UUID, attempt: int, worker: str) -> Statement:
    """Begin to count: opened_at, or no row where the attempt is not this worker's."""
    sql = "SELECT opened_at FROM open_session(%s, %s, %s, %s::interval)"
    return sql, [run, attempt, worker, LEASE]


def witnessed(items: Iterable[Mapping[str, Any]]) -> Statement:
    """Note that sessions go on: run_id, state, attempt, seconds, cancel, barred of each."""
    return (
        "SELECT run_id, state, attempt, seconds, cancel, barred"
        " FROM witness_sessions(%s, %s::interval, make_interval(secs => %s))",
        [Jsonb(list(items)), LEASE, SILENT_SECONDS],
    )


def extended(*, run: UUID, attempt: int, target: int) -> Statement:
    """Hold up to `target` nano-units in all: code, held, budget."""
    return "SELECT code, held, budget FROM extend_session(%s, %s, %s)", [run, attempt, target]


def closed(
    *, run: UUID, attempt: int, age: float, reason: str, reported: Decimal, frames: int
) -> Statement:
    """Close it as of `age` seconds ago."""
    sql = "SELECT close_session(%s, %s, %s, %s, %s, %s)"
    return sql, [run, attempt, age, reason, reported, frames]


def captured(run: UUID) -> Statement:
    return "SELECT captured FROM ledger_hold WHERE run_id = %s", [run]


# ── the end ───────────────────────────────────────────────────────────────────────────────────


def ended(case: Case) -> End:
    """How a closed session ended, for its settlement."""
    session = case.session
    if session is None:
        return failed("our_error", "not_started", "The session did not begin.")
    if session["reason"] == LOST:
        return cut_off(case, session)
    outcome = "cancelled_after" if session["reason"] == CANCELLED else "succeeded"
    return lasted(session, outcome)


def lasted(session: Mapping[str, Any], outcome: str, **error: str) -> End:
    """An end that is charged for what the session lasted."""
    reported = Decimal(session["reported"])
    return End(
        outcome,
        reported={SESSION_LENGTH: reported},
        session_seconds=Decimal(session["seconds"]),
        usage={
            SESSION_LENGTH: str(reported),
            "frames": session["frames"],
            "ended": session["reason"] or LOST,
        },
        error=error or None,
    )


def cut_off(case: Case, session: Mapping[str, Any]) -> End:
    """A session whose worker was lost: paid until it was seen last, if it had drawn anything."""
    if not session["frames"]:
        return failed("our_error", LOST, "Our worker was lost. You were not charged.")
    seconds = Decimal(session["seconds"]).quantize(MILLI)
    message = f"Our worker was lost. You pay for the {seconds} s until then."
    return lasted(session, "partial", code=LOST, message=message)


def lost(known: Row) -> End:
    """How a run ends whose last worker went silent. A plain one never does at its team's cost.

    known: of `claim.cases`.
    """
    case = Case.from_row(known, known["attempt"])
    if case.session:
        return ended(case) if case.session["reason"] else cut_off(case, case.session)
    doubt = "nobody was left to ask the lab" if case.doubtful else ""
    if known["cancel"]:
        return failed("cancelled_after", "cancelled", "The run was cancelled.", doubt=doubt)
    message = "Our worker was lost, also when the run was tried again. You were not charged."
    return failed("our_error", "worker_lost", message, doubt=doubt)


def is_sold(offer: Offer) -> bool:
    """Whether sessions of this release are one run each; else every prompt is a run."""
    return offer.session is not None and counted_units(offer.session.lines) == [SESSION_LENGTH]
