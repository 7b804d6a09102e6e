"""Binding quotes: a stored upper bound for one release with one exact set of inputs."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
from django.utils import timezone

from marketplace.metering.file_inputs import pending
from marketplace.metering.limit import within
from marketplace.metering.models import Quote
from marketplace.metering.offer import BINDING, Offer
from marketplace.metering.sale import callable_now

BOUND_SQL = """
SELECT row_to_json(bound)::text FROM (
    SELECT q.id, q.release_id, q.price_id, p.version AS price_version, q.maximum,
           encode(q.inputs_digest, 'hex') AS inputs_digest, q.expires_at <= now() AS expired,
           l.slug || '/' || m.slug || '@' || r.version AS release
      FROM metering_quote q
      JOIN metering_price p ON p.id = q.price_id
      JOIN catalog_release r ON r.id = q.release_id
      JOIN catalog_model m ON m.id = r.model_id
      JOIN catalog_lab l ON l.id = m.lab_id
     WHERE q.id = %s AND q.team_id = %s) bound
"""


@dataclass(frozen=True, slots=True)
class Bound:
    """A stored quote. maximum: nano-units; release: `lab/model@version`; inputs_digest: hex."""

    id: str
    release_id: int
    release: str
    price_id: int
    price_version: int
    maximum: int
    inputs_digest: str
    expired: bool


def read(text: str) -> Bound:
    """A quote from one row of BOUND_SQL."""
    return Bound(**orjson.loads(text))


def inputs_digest(inputs: Mapping[str, Any]) -> bytes:
    """SHA-256 of the canonical JSON of validated inputs, defaults filled in, files `pending`."""
    return hashlib.sha256(orjson.dumps(inputs, option=orjson.OPT_SORT_KEYS)).digest()


def bind(
    *, offer: Offer, inputs: Mapping[str, Any], team_id: UUID, max_cost: int | None = None
) -> Quote:
    """Store what a run of this team with these validated inputs costs at most, for 15 minutes.

    max_cost: nano-units. Raises InvalidInput, CostAboveLimit, NotYetOpen; then nothing is stored.
    """
    offer = callable_now(offer).for_team(team_id)
    priced = offer.quote(inputs)
    within(max_cost, priced.maximum, offer.currency)
    return Quote.objects.create(
        team_id=team_id,
        release_id=offer.release_id,
        price_id=offer.price_id,
        inputs_digest=inputs_digest(pending(offer.schema, inputs)),
        lines=[line.as_json() for line in priced.lines],
        maximum=priced.maximum,
        expected=priced.expected,
        expires_at=timezone.now() + BINDING,
    )
