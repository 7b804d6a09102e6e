"""Start a run for a client that speaks another service's words: one way for all dialects.

Idempotency, caps and attribution come in headers, since those bodies have no place for them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from marketplace.access import attribution
from marketplace.dialects.contract import Admitted, Caller, Desk, Request
from marketplace.dialects.native import idempotency_key
from marketplace.dialects.vocabulary import fitted, reworded
from marketplace.errors import InvalidInput
from marketplace.media.lifetime import Lifetime
from marketplace.metering.limit import cost_limit
from marketplace.metering.sale import named
from marketplace.runs.submit import prepare


@dataclass(frozen=True, slots=True)
class Wish:
    """model: `lab/model` or `lab/model@version`; arguments: in the client's words.

    user: the end user that the body names, where the client has a field for one. webhooks: of
    `webhooks.targets.target`. waits, priority, start_by, cancel_at, most_attempts: as of an
    Admission.
    kept: of `media.lifetime`, where the client shortens the clocks.
    """

    model: str
    arguments: Mapping[str, Any]
    user: Any = None
    webhooks: Sequence[Mapping[str, Any]] = ()
    waits: bool = False
    priority: int = 0
    start_by: datetime | None = None
    cancel_at: datetime | None = None
    most_attempts: int | None = None
    kept: Lifetime | None = None


async def start(
    desk: Desk, request: Request, wish: Wish, *, caller: Caller | None = None
) -> Admitted:
    """Admit a run. caller: where the request's own header does not say it.

    Raises Unfit for an argument, Kinora's errors for the rest.
    """
    caller = caller or await desk.caller(request, needs="run")
    offer = named(await desk.offers(caller), wish.model)
    fit = fitted(offer, wish.arguments)
    admission = prepare(
        offer=offer,
        body={"model": offer.full_name, "inputs": fit.inputs},
        team_id=caller.team_id,
        key_id=caller.key_id,
        user_id=None,
        idempotency_key=idempotency_key(request),
        quote=None,
        max_cost=cost_limit(request.headers.get("x-kinora-max-cost")),
        attribution=attribution.attribution(header=request.headers.get, user=wish.user),
        webhooks=wish.webhooks,
        kept=wish.kept,
    )
    admission = replace(
        admission,
        waits=wish.waits,
        priority=wish.priority,
        start_by=wish.start_by,
        cancel_at=wish.cancel_at,
        most_attempts=wish.most_attempts,
    )
    try:
        return await desk.admit(admission, request.trail)
    except InvalidInput as refusal:  # of a file that was brought
        raise reworded(refusal, fit.words) from None
