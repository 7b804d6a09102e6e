"""What is on sale now: every live release with its present price, ready to quote.

One SQL text serves Django's connection and the hot path's own. Knows nothing of teams or runs.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jsonschema_rs
import orjson
from django.db import connection

from marketplace.errors import InvalidInput, NotFound
from marketplace.metering.quote import Priced, PriceLines, quote
from marketplace.metering.units import Facts

# One text column of JSON, so that both connections read it alike. A model's newest release first.
OFFERS_SQL = """
SELECT row_to_json(offer)::text FROM (
    SELECT r.id AS release_id, l.slug || '/' || m.slug AS model, r.version, l.name AS lab,
           m.name AS title, m.task, m.summary, r.input_schema AS schema, r.facts,
           r.timeout_seconds, p.id AS price_id, p.version AS price_version, p.lines AS price_lines,
           p.currency, r.queue, r.adapter, r.target, r.content_type, r.output_kind
      FROM catalog_release r
      JOIN catalog_model m ON m.id = r.model_id
      JOIN catalog_lab l ON l.id = m.lab_id
     CROSS JOIN LATERAL (
           SELECT * FROM metering_price p
            WHERE p.release_id = r.id AND p.effective_from <= now()
              AND (p.effective_to IS NULL OR p.effective_to > now())
            ORDER BY p.effective_from DESC, p.version DESC LIMIT 1) p
     WHERE r.published_at <= now() AND (r.retired_at IS NULL OR r.retired_at > now())
     ORDER BY l.slug, m.slug, r.published_at DESC, r.id DESC) offer
"""


@dataclass(frozen=True, slots=True)
class Offer:
    """A live release at its present price. model: `kinora/glyph`; lines: the price's."""

    release_id: int
    model: str
    version: str
    lab: str
    title: str
    task: str
    summary: str
    schema: Mapping[str, Any]
    defaults: Mapping[str, Any]
    facts: Facts
    price_id: int
    price_version: int
    price_lines: PriceLines
    currency: str
    queue: str
    adapter: str
    target: str
    content_type: str
    output_kind: str
    validator: jsonschema_rs.Draft202012Validator

    @property
    def full_name(self) -> str:
        return f"{self.model}@{self.version}"

    def quote(self, inputs: Mapping[str, Any]) -> Priced:
        """What a run with these validated inputs costs at most, defaults filled in."""
        return quote(self.price_lines, inputs, self.facts)


@lru_cache(maxsize=1024)
def compiled(schema: bytes) -> jsonschema_rs.Draft202012Validator:
    """A validator, made once per schema; its regular expressions run in linear time."""
    return jsonschema_rs.Draft202012Validator(
        orjson.loads(schema), validate_formats=True, pattern_options=jsonschema_rs.RegexOptions()
    )


def read(text: str) -> Offer:
    """An offer from one row of OFFERS_SQL."""
    row = orjson.loads(text)
    schema = row["schema"]
    properties = schema.get("properties", {})
    facts = Facts(row.pop("timeout_seconds"), row["facts"])
    return Offer(
        **row
        | {
            "facts": facts,
            "defaults": {name: p["default"] for name, p in properties.items() if "default" in p},
            "validator": compiled(orjson.dumps(schema)),
        }
    )


def by_name(offers: Iterable[Offer]) -> dict[str, Offer]:
    """Offers by `lab/model@version`, and by `lab/model` the newest of each."""
    named: dict[str, Offer] = {}
    for offer in offers:
        named.setdefault(offer.model, offer)
        named[offer.full_name] = offer
    return named


def named(offers: Mapping[str, Offer], name: Any) -> Offer:
    """The offer that a body's `model` names. Raises InvalidInput, NotFound."""
    if not isinstance(name, str) or not name:
        raise InvalidInput('model is required, such as "kinora/glyph".', param="model")
    if (offer := offers.get(name)) is None:
        raise NotFound(f"There is no model {name[:120]}.", param="model")
    return offer


def load_offers() -> dict[str, Offer]:
    """All offers, by name. One query on Django's connection."""
    with connection.cursor() as cursor:
        cursor.execute(OFFERS_SQL)
        return by_name(read(text) for (text,) in cursor.fetchall())
