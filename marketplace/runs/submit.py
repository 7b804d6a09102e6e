"""Turn a caller's wish into a run: validate, price, cap, hold.

`prepare` is pure and decides everything that needs no row. The function in `submit.sql` decides
the rest in one commit; the hot path calls it in batches, `submit_now` alone.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

import orjson
from asgiref.sync import async_to_sync
from django.db import connection, transaction

from marketplace import errors, ids
from marketplace.access import refusal as budgets
from marketplace.access.attribution import NOBODY, Attribution
from marketplace.media.files import Stored
from marketplace.media.lifetime import Lifetime, lifetime
from marketplace.media.resolve import resolved
from marketplace.media.shelf import Shelf, now
from marketplace.metering import binding
from marketplace.metering.binding import Bound
from marketplace.metering.file_inputs import Brought, brought, pending, replaced
from marketplace.metering.inputs import validated
from marketplace.metering.limit import within
from marketplace.metering.offer import Offer
from marketplace.metering.sale import callable_now, not_yet_open
from marketplace.money import Money
from marketplace.runs import hint

ADMIT_SQL = """
SELECT place, code, run_id, available, hint_ids, to_json(admitted_at) #>> '{}', budget::text
  FROM admit_runs(%s::jsonb)
"""
DIGESTED = ("model", "inputs", "quote", "max_cost", "webhook")


@dataclass(frozen=True, slots=True)
class Admission:
    """A run that only the database has still to agree to. quoted: nano-units, held whole.

    waits: whether its caller stays for the end. priority: 0, or less to come after others.
    start_by: a run that has not begun by then ends at no cost. cancel_at: one that has not ended by
    then is cancelled. most_attempts: None for ours.
    brought: files that `bring` has still to keep; then files: place → id. asked: the body, for its
    digest. kept: the clocks, where the request shortens them. slice: of `quoted`, what is held at
    first; None for all. route: more to be said of where it goes.
    """

    run_id: UUID
    team_id: UUID
    key_id: UUID | None
    user_id: int | None
    offer: Offer
    inputs: Mapping[str, Any]
    digest: bytes
    idempotency_key: str | None
    quote_id: str | None
    price_id: int
    price_version: int
    quoted: int
    attribution: Attribution = NOBODY
    webhooks: Sequence[Mapping[str, Any]] = ()
    waits: bool = False
    priority: int = 0
    start_by: datetime | None = None
    cancel_at: datetime | None = None
    most_attempts: int | None = None
    asked: Mapping[str, Any] = field(default_factory=dict)
    slice: int | None = None
    route: Mapping[str, Any] = field(default_factory=dict)
    brought: tuple[Brought, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    kept: Lifetime | None = None

    @property
    def held(self) -> int:
        """Nano-units that are set aside before it begins."""
        return self.quoted if self.slice is None else self.slice


def prepare(
    *,
    offer: Offer,
    body: Mapping[str, Any],
    team_id: UUID,
    key_id: UUID | None,
    user_id: int | None,
    idempotency_key: str | None,
    quote: Bound | None,
    max_cost: int | None,
    attribution: Attribution = NOBODY,
    webhooks: Sequence[Mapping[str, Any]] = (),
    kept: Lifetime | None = None,
) -> Admission:
    """Check a request and price it as this team buys it, whoever the offer was made for.

    quote: the team's stored one, where the body names one. max_cost: nano-units. webhooks: of
    `webhooks.targets.target`. Raises InvalidInput, QuoteUnusable, CostAboveLimit.
    """
    offer = callable_now(offer).for_team(team_id)
    inputs = validated(offer, body.get("inputs"))
    if quote:
        usable(quote, offer, inputs)
    quoted = quote.maximum if quote else offer.quote(inputs).maximum
    within(max_cost, quoted, offer.currency)
    return Admission(
        run_id=ids.uuid7(),
        team_id=team_id,
        key_id=key_id,
        user_id=user_id,
        offer=offer,
        inputs=inputs,
        digest=digest(body, attribution),
        idempotency_key=idempotency_key,
        quote_id=quote.id if quote else None,
        price_id=quote.price_id if quote else offer.price_id,
        price_version=quote.price_version if quote else offer.price_version,
        quoted=quoted,
        attribution=attribution,
        webhooks=webhooks,
        asked=body,
        brought=brought(offer.schema, inputs),
        kept=kept,
    )


def digest(body: Mapping[str, Any], attribution: Attribution = NOBODY) -> bytes:
    """SHA-256 of what was asked for, and for whom; who asks for the same asks for one run."""
    asked = {name: body[name] for name in DIGESTED if body.get(name) is not None}
    asked |= attribution.as_json()
    return hashlib.sha256(orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)).digest()


def usable(quote: Bound, offer: Offer, inputs: Mapping[str, Any]) -> None:
    """Raises QuoteUnusable where the quote has expired or was for something else."""
    if quote.expired:
        raise errors.QuoteUnusable("This quote has expired. Ask for a new one.", param="quote")
    same = quote.inputs_digest == binding.inputs_digest(pending(offer.schema, inputs)).hex()
    if quote.release_id != offer.release_id or not same:
        raise errors.QuoteUnusable(
            "This quote is for another model or other inputs.", param="quote"
        )


async def bring(shelf: Shelf, admission: Admission) -> Admission:
    """Make files of what the request brings, after its cheap checks and before its hold.

    Outside any transaction: a run that is refused later has cost its team a stored file, never
    money. Raises InvalidInput, TooLarge, Busy.
    """
    if not admission.brought:
        return admission
    kept = (admission.kept or lifetime()).of_files()
    found = await resolved(shelf, admission.brought, team_id=admission.team_id, kept=kept)
    return with_files(admission, found)


def with_files(admission: Admission, found: Mapping[str, Stored]) -> Admission:
    """Inputs name the files; the digest is over what is in them, so that a retry which brings the
    same bytes another way is the same run."""
    content = {place: f"sha256:{stored.sha256}" for place, stored in found.items()}
    asked = {**admission.asked, "inputs": replaced(admission.asked["inputs"], content)}
    return replace(
        admission,
        inputs=replaced(admission.inputs, {p: stored.public_id for p, stored in found.items()}),
        digest=digest(asked, admission.attribution),
        files={place: str(stored.id) for place, stored in found.items()},
        brought=(),
    )


def to_item(admission: Admission) -> dict[str, Any]:
    """What `admit_runs` takes."""
    offer = admission.offer
    return {
        "run_id": admission.run_id,
        "team_id": admission.team_id,
        "key_id": admission.key_id,
        "user_id": admission.user_id,
        "release_id": offer.release_id,
        "price_id": admission.price_id,
        "quote_id": admission.quote_id,
        "inputs": admission.inputs,
        "inputs_digest": admission.digest.hex(),
        "idempotency_key": admission.idempotency_key,
        "project": admission.attribution.project,
        "end_user": admission.attribution.end_user,
        "quoted": admission.quoted,
        "amount": admission.held,
        "currency": offer.currency,
        "model": offer.model,
        "queue": offer.queue,
        "priority": admission.priority,
        "start_by": admission.start_by,
        "cancel_at": admission.cancel_at,
        "most_attempts": admission.most_attempts,
        "route": {"supplier": offer.adapter, "reason": "waiting", **admission.route},
        "webhooks": admission.webhooks,
        "files": admission.files,
        "media_seconds": admission.kept and admission.kept.media,
        "record_seconds": (admission.kept or lifetime()).record,
        "waits": admission.waits,
        "window_id": offer.window if offer.is_window and not admission.quote_id else None,
    }


def refusal(
    code: str, admission: Admission, available: int | None, budget: str | None
) -> errors.KinoraError:
    """The error that a refused item means. budget: JSON of the one that refused it."""
    if budget:
        return budgets.refusal(code, orjson.loads(budget), quoted=admission.quoted)
    if code == "insufficient_balance":
        return short_of_money(admission, available or 0)
    if code == "idempotency_conflict":
        return errors.IdempotencyConflict(
            "This Idempotency-Key was used with another body.", param="Idempotency-Key"
        )
    if code == "key_revoked":
        return errors.NotAuthenticated("This key is not valid.")
    if code == "team_locked":
        return errors.TeamLocked("This team is locked. Write to support.")
    return closed(code, admission.offer)


def closed(code: str, offer: Offer) -> errors.KinoraError:
    """What a caller is told whom the clock kept out after its request was understood."""
    if code == "not_yet_open":
        return not_yet_open(offer)
    if code == "window_quota":
        return errors.NotAllowed("Your team has used all its runs of this early access.")
    if code == "window_over":
        text = "The price of this early access has just ended. Ask again."
        return errors.Conflict(text, param="model", retry_after=0)
    return errors.NotFound(f"There is no model {offer.full_name}.", param="model")


def short_of_money(admission: Admission, available: int) -> errors.InsufficientBalance:
    currency = admission.offer.currency
    missing = Money(max(admission.quoted - available, 0), currency)
    return errors.InsufficientBalance(
        f"This run may cost {Money(admission.quoted, currency)}; {missing} is missing.",
        missing=missing.as_json(),
        available=Money(available, currency).as_json(),
        quoted=Money(admission.quoted, currency).as_json(),
    )


def submit_now(
    *,
    offer: Offer,
    inputs: Mapping[str, Any],
    team_id: UUID,
    user_id: int | None = None,
    key_id: UUID | None = None,
    idempotency_key: str | None = None,
    max_cost: int | None = None,
    webhooks: Sequence[Mapping[str, Any]] = (),
) -> UUID:
    """Admit one run on Django's connection and hint its queue after the commit.

    Repeats safely with an idempotency key. Raises the errors of `prepare` and `refusal`.
    """
    admission = prepare(
        offer=offer,
        body={"model": offer.full_name, "inputs": inputs},
        team_id=team_id,
        key_id=key_id,
        user_id=user_id,
        idempotency_key=idempotency_key,
        quote=None,
        max_cost=max_cost,
        webhooks=webhooks,
    )
    if admission.brought:
        admission = async_to_sync(bring)(now(), admission)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(ADMIT_SQL, [orjson.dumps([to_item(admission)]).decode()])
        _, code, run_id, available, _, _, budget = cursor.fetchone()
        if code == "ok":
            transaction.on_commit(partial(hint.publish, offer.queue))
    if code not in ("ok", "replayed"):  # outside: what a refusal notes stays
        raise refusal(code, admission, available, budget)
    return UUID(str(run_id))
