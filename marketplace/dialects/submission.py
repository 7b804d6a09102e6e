"""Start a run for a client that speaks another service's words: one way for all dialects.

Idempotency, caps and attribution come in headers, since those bodies have no place for them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from marketplace.access import attribution
from marketplace.dialects.contract import Admitted, Desk, Request
from marketplace.dialects.native import idempotency_key
from marketplace.dialects.vocabulary import fitted, reworded
from marketplace.errors import InvalidInput
from marketplace.metering.offer import named
from marketplace.runs.submit import Admission, cost_limit, prepare


@dataclass(frozen=True, slots=True)
class Wish:
    """model: `lab/model` or `lab/model@version`; arguments: in the client's words.

    user: the end user that the body names, where the client has a field for one.
    """

    model: str
    arguments: Mapping[str, Any]
    user: Any = None


async def start(desk: Desk, request: Request, wish: Wish) -> Admitted:
    """Admit a run. Raises Kinora's errors, with `param` in the client's words."""
    caller = await desk.caller(request, needs="run")
    offer = named(await desk.offers(), wish.model)
    fit = fitted(offer, wish.arguments)
    try:
        admission: Admission = prepare(
            offer=offer,
            body={"model": offer.full_name, "inputs": fit.inputs},
            team_id=caller.team_id,
            key_id=caller.key_id,
            user_id=None,
            idempotency_key=idempotency_key(request),
            quote=None,
            max_cost=cost_limit(request.headers.get("x-kinora-max-cost")),
            attribution=attribution.attribution(header=request.headers.get, user=wish.user),
        )
    except InvalidInput as refusal:
        raise reworded(refusal, fit.words) from None
    return await desk.admit(admission, request.trail)
