"""From what happened to what is owed: builds one item of `settle_runs` (`settle.sql`), pure.

The three witnesses are the inputs (requested), the supplier (reported) and our probe or our clock
(measured). Where they agree the hold is captured for what was delivered, never above the hold;
where they do not the output is delivered and the hold waits for an admin.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.conf import settings
from psycopg.types.json import Jsonb

from marketplace import ids
from marketplace.ledger import capture
from marketplace.ledger.accounts import (
    cogs_account,
    payable_account,
    pool_account,
)
from marketplace.media.probe import Measures
from marketplace.metering import tariff
from marketplace.metering.meter import Event, Metered, meter
from marketplace.metering.outcomes import OVERRUN, rule_of
from marketplace.metering.quote import counted_units, priced_lines, total
from marketplace.metering.segments import SESSION
from marketplace.metering.terms import Unpriceable
from marketplace.metering.units import FEES, UNITS, Facts
from marketplace.payouts.split import Terms, split
from marketplace.runs.connections import Statement
from marketplace.runs.witnesses import checks

log = logging.getLogger(__name__)

STATES = {  # outcome → the run's state
    "succeeded": "succeeded",
    "partial": "succeeded",
    "cancelled_before": "cancelled",
    "cancelled_after": "cancelled",
}
SIX_PLACES = Decimal("0.000001")
LENGTH, COMPUTE, SESSION_LENGTH = "video_second", "gpu_second", "session_second"


@dataclass(frozen=True, slots=True)
class Case:
    """What was agreed about one run. held: nano-units."""

    run_id: UUID
    attempt: int
    model: str
    inputs: Mapping[str, Any]
    output_kind: str
    content_type: str
    timeout_seconds: int
    facts: Mapping[str, Any]
    policy: Mapping[str, str]
    price_lines: Sequence[Mapping[str, Any]]
    currency: str
    held: int
    created_at: datetime
    started_at: datetime | None = None
    media_seconds: int | None = None
    files: Mapping[str, str] = field(default_factory=dict)  # place among the inputs → stored path
    cancel_seconds: Decimal | None = None  # from the attempt's claim to the team's cancel
    attempt_seconds: Decimal | None = None  # of all attempts together, as of the reading
    queue: str = ""
    adapter: str = ""
    tariff_lines: Sequence[Mapping[str, Any]] = ()
    tariff_policy: Mapping[str, str] = field(default_factory=dict)
    doubtful: bool = False  # a lost attempt was handing the job in and left no receipt
    terms: Terms | None = None  # agreed with the lab at the instant of the hold
    parts: Sequence[Mapping[str, Any]] = ()  # of the hold, where the terms ask for them
    is_session: bool = False
    session: Mapping[str, Any] | None = None  # once it is open: seconds, reported, frames, reason

    @classmethod
    def from_row(cls, row: Mapping[str, Any], attempt: int) -> "Case":
        """row: of `claim.cases`."""
        return cls(
            run_id=row["run_id"],
            attempt=attempt,
            model=row["model"],
            inputs=row["inputs"],
            output_kind=row["output_kind"],
            content_type=row["content_type"],
            timeout_seconds=row["timeout_seconds"],
            facts=row["facts"],
            policy=row["policy"],
            price_lines=row["lines"],
            currency=row["currency"],
            held=row["held"],
            created_at=row["created_at"],
            started_at=row["started_at"],
            media_seconds=row["media_seconds"],
            files=row["files"] or {},
            cancel_seconds=row["cancel_seconds"],
            attempt_seconds=row["attempt_seconds"],
            queue=row["queue"],
            adapter=row["adapter"],
            tariff_lines=row["tariff_lines"] or (),
            tariff_policy=row["tariff_policy"] or {},
            doubtful=row["doubtful"],
            terms=Terms.from_json(row["terms"]),
            parts=row["parts"] or (),
            is_session=row["segment"] == SESSION,
            session=row["session"],
        )

    @property
    def public_id(self) -> str:
        return ids.public("run", self.run_id)

    def wanted_outputs(self) -> int:
        """A session delivers while it lasts, and leaves nothing."""
        return 0 if self.is_session else int(self.inputs.get("count", 1))


@dataclass(frozen=True, slots=True)
class Kept:
    """An output in the media store with our measures of it."""

    path: str
    bytes: int
    sha256: str
    measures: Measures


@dataclass(frozen=True, slots=True)
class End:
    """How an attempt ended. reported: unit → quantity. measured_seconds: our clock, for compute.

    session_seconds: the database's clock. error: {code, message}, fit for the customer. at_lab:
    the outcome as the lab saw it, where that is another one. doubt: why nobody knows whether the
    lab has the job, and will bill it.
    """

    outcome: str
    outputs: tuple[Kept, ...] = ()
    reported: Mapping[str, Decimal] = field(default_factory=dict)
    measured_seconds: Decimal | None = None
    usage: Mapping[str, Any] | None = None
    error: Mapping[str, str] | None = None
    at_lab: str = ""
    session_seconds: Decimal | None = None
    doubt: str = ""


def failed(outcome: str, code: str, message: str, *, at_lab: str = "", doubt: str = "") -> End:
    return End(outcome, error={"code": code, "message": message}, at_lab=at_lab, doubt=doubt)


def settling(items: Sequence[Mapping[str, Any]]) -> Statement:
    """Settle many runs in one commit: run_id, code (settled, replayed, stale), state."""
    return "SELECT run_id, code, state FROM settle_runs(%s)", [Jsonb(list(items))]


def item(case: Case, end: End) -> dict[str, Any]:
    """One item of `settle_runs`."""
    outcome = outcome_of(case, end)
    metered = metered_end(case, end, rule_of(case.policy, outcome))
    told = checks(case.inputs, [kept.measures for kept in end.outputs])
    if metered.amount and not all(check["agrees"] for check in told):
        metered = Metered(free(metered), 0, agreed=False)
    return {
        "run_id": str(case.run_id),
        "attempt": case.attempt,
        "state": STATES.get(outcome, "failed"),
        "outcome": outcome,
        "error": end.error,
        "usage": usage(end),
        "checks": told or None,
        "outputs": [output(case, kept, n) for n, kept in enumerate(end.outputs)],
        "events": [event.as_json() for event in metered.events],
        "hold": closing(case, metered),
        "cost": None if end.doubt else cost_item(case, end, end.at_lab or outcome),
        "fate": fate(case, end),
    }


def fate(case: Case, end: End) -> dict[str, Any] | None:
    """A job that the lab may have, with what was seen; None where its fate is known."""
    if not end.doubt:
        return None
    seen = {"at": datetime.now(UTC).isoformat(), "what": end.doubt, "attempt": case.attempt}
    return {"key": case.public_id, "evidence": [seen]}


def outcome_of(case: Case, end: End) -> str:
    """A success that delivered less than was asked for is a partial one."""
    return "partial" if end.outcome == "succeeded" and falls_short(case, end) else end.outcome


def metered_end(case: Case, end: End, rule: str) -> Metered:
    """What is counted and, by the matrix's rule, charged. What is free counts as used but free."""
    found = meter(
        case.price_lines,
        case.inputs,
        Facts(case.timeout_seconds, case.facts),
        reported=by_class(case, end.reported),
        measured=by_class(case, measured(end)),
        at=case.created_at,
        most=by_class(case, cancel_bound(case)) if rule == "until_cancel" else None,
    )
    if rule == "fee":
        return fined(case, found)
    if rule == "delivered" or (rule != "nothing" and end.reported):
        return found
    return Metered(free(found), 0, agreed=True)


def free(found: Metered) -> tuple[Event, ...]:
    """What the witnesses said, of which nothing is charged, or not yet."""
    return tuple(Event(e.unit, Decimal(0), e.witnesses) for e in found.events)


def fined(case: Case, found: Metered) -> Metered:
    """The fee alone, whatever else the witnesses counted."""
    used = {e.unit: Decimal(e.unit in FEES) for e in found.events}
    events = tuple(Event(e.unit, used[e.unit], e.witnesses) for e in found.events)
    lines = priced_lines(case.price_lines, used, case.inputs, case.created_at)
    return Metered(events, total(lines), agreed=True)


def by_class(case: Case, said: Mapping[str, Decimal]) -> dict[str, Decimal]:
    """Seconds of compute under the hardware class that the price counts them in."""
    classed = [u for u in counted_units(case.price_lines) if u.startswith(f"{COMPUTE}:")]
    if COMPUTE not in said:
        return dict(said)
    return dict(said) | dict.fromkeys(classed, said[COMPUTE])


def cancel_bound(case: Case) -> dict[str, Decimal]:
    """Compute that a cancelled run may be charged; what a slow worker ran beyond is ours."""
    seconds = (case.cancel_seconds or Decimal(0)) + OVERRUN
    return {COMPUTE: max(Decimal(0), seconds).quantize(SIX_PLACES)}


def closing(case: Case, metered: Metered) -> dict[str, Any]:
    """What becomes of the hold."""
    if not metered.agreed:
        return capture.in_review()
    amount = min(metered.amount, case.held)
    if amount == 0:
        return capture.voided()
    return captured(case, amount)


def captured(case: Case, amount: int) -> dict[str, Any]:
    """Capture `amount`, shared as agreed with the lab."""
    agreement = case.terms.agreement if case.terms else None
    shares = split(case.model, amount, case.terms, case.parts)
    return capture.captured(amount, shares, agreement)


def cost_item(case: Case, end: End, outcome: str) -> dict[str, Any] | None:
    """What the run cost us, for `book_costs`; None where it cost nothing. Where the tariff does not
    say, why: a person books it later, and the customer does not wait for that. A lab that has a
    part of the charges bills nothing beside it."""
    if case.terms and case.terms.by_share and case.adapter != tariff.OWN:
        return None
    used = tariff.Used(
        by_class(case, end.reported),
        by_class(case, measured(end)),
        (case.attempt_seconds or Decimal(0)).quantize(SIX_PLACES),
    )
    facts = Facts(case.timeout_seconds, case.facts)
    try:
        amount = tariff.cost(
            case.tariff_lines,
            case.tariff_policy,
            outcome,
            case.inputs,
            facts,
            used,
            case.created_at,
        )
    except (Unpriceable, ArithmeticError, KeyError) as reason:
        log.warning("%s: its tariff does not say what it costs: %s", case.public_id, reason)
        return {"uncosted": str(reason)[:200] or type(reason).__name__}
    return booking(case, amount) if amount else None


def booking(case: Case, amount: int) -> dict[str, Any]:
    """A cost as `book_costs` takes it: whom we owe it, nano-units."""
    lab = case.model.partition("/")[0]
    payable = pool_account(case.queue) if case.adapter == tariff.OWN else payable_account(lab)
    accounts = {"payable": payable, "cogs": cogs_account(case.model)}
    agreement = {"agreement": case.terms.agreement} if case.terms else {}
    return {"amount": amount, "currency": case.currency} | accounts | agreement


def measured(end: End) -> dict[str, Decimal]:
    """What we saw ourselves, unit → quantity."""
    pictures = [kept.measures for kept in end.outputs if kept.measures.kind == "image"]
    clips = [kept.measures for kept in end.outputs if kept.measures.kind == "video"]
    seconds = sum((m.seconds or Decimal(0) for m in clips), Decimal(0))
    pixels = sum((m.width or 0) * (m.height or 0) for m in pictures)
    found = {
        "image": Decimal(len(pictures)),
        "megapixel": Decimal(pixels) / 1_000_000,
        "video_second": seconds.quantize(SIX_PLACES),
    }
    if end.measured_seconds is not None:
        found[COMPUTE] = end.measured_seconds.quantize(SIX_PLACES)
    if end.session_seconds is not None:
        found[SESSION_LENGTH] = end.session_seconds.quantize(SIX_PLACES)
    return found


def falls_short(case: Case, end: End) -> bool:
    """Whether fewer outputs, or less of them, were delivered than asked for."""
    if len(end.outputs) < case.wanted_outputs():
        return True
    if LENGTH not in counted_units(case.price_lines):
        return False
    wanted = UNITS[LENGTH].upper_bound(case.inputs, Facts(case.timeout_seconds, case.facts))
    return measured(end)[LENGTH] < wanted - UNITS[LENGTH].tolerance


def usage(end: End) -> dict[str, Any] | None:
    """The supplier's own words, kept as evidence."""
    if end.usage is not None:
        return dict(end.usage)
    return {unit: str(quantity) for unit, quantity in end.reported.items()} or None


def output(case: Case, kept: Kept, position: int) -> dict[str, Any]:
    found = kept.measures
    seconds = min(settings.OUTPUT_SECONDS, case.media_seconds or settings.OUTPUT_SECONDS)
    expires_at = datetime.now(UTC) + timedelta(seconds=seconds)
    return {
        "id": str(ids.uuid7()),
        "position": position,
        "kind": found.kind,
        "content_type": found.content_type,
        "path": kept.path,
        "bytes": kept.bytes,
        "sha256": kept.sha256,
        "width": found.width,
        "height": found.height,
        "frames": found.frames,
        "seconds": None if found.seconds is None else str(found.seconds),
        "sound": found.sound,
        "expires_at": expires_at.isoformat(),
    }
