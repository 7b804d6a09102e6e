"""What is on sale now: every live release with its present price, ready to quote.

One SQL text serves Django's connection and the hot path's own. It brings the prices of every
segment, so that `Offer.for_team` finds what a team pays without asking again. Knows nothing of
runs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any
from uuid import UUID

import jsonschema_rs
import orjson

from marketplace.errors import InvalidInput
from marketplace.metering import segments
from marketplace.metering.outcomes import Policy
from marketplace.metering.predict import Fit
from marketplace.metering.quote import Book, Priced, PriceLines, book_of, total
from marketplace.metering.terms import Unpriceable
from marketplace.metering.units import Facts, unit_of

BINDING = timedelta(minutes=15)  # how long a quote binds
OPEN = "open"
SKEW = timedelta(seconds=5)  # how far this process's clock may be before the database's

# One text column of JSON, so that both connections read it alike. A model's newest release first.
# A release is on sale from its list price on, whoever has another; `release_access` says for whom:
# gate is what a stranger may. Beside each offer, the seconds until the next instant at which any of
# this changes; one row at least.
OFFERS_SQL = """
SELECT row_to_json(offer)::text, seconds_to_boundary() FROM (VALUES (1)) AS one LEFT JOIN (
    SELECT r.id AS release_id, l.slug || '/' || m.slug AS model, r.version, l.name AS lab,
           m.name AS title, m.task, m.summary, r.input_schema AS schema, r.facts,
           r.timeout_seconds, present.prices,
           to_json(coalesce(r.published_at, now())) #>> '{}' AS published_at,
           a.decision AS gate, a.window_id::text AS window,
           to_json(greatest(upper(w.span), r.published_at)) #>> '{}' AS opens_at,
           to_json(r.deprecated_at) #>> '{}' AS deprecated_at,
           to_json(r.retired_at) #>> '{}' AS retires_at,
           r.deprecated_at <= now() AS deprecated,
           (SELECT o.slug || '/' || n.slug || '@' || s.version FROM catalog_release s
              JOIN catalog_model n ON n.id = s.model_id JOIN catalog_lab o ON o.id = n.lab_id
             CROSS JOIN LATERAL release_access(s.id, NULL, NULL) AS b
             WHERE s.id = r.successor_id AND b.decision = 'open') AS successor,
           (SELECT json_build_object(
                       'since', lower(e.span), 'until', upper(e.span), 'terms', e.terms)
              FROM access_window e WHERE e.release_id = r.id AND e.kind = 'exclusive'
               AND e.withdrawn_at IS NULL AND e.span @> now()) AS promise,
           r.queue, r.adapter, r.target, r.content_type, r.output_kind,
           CASE WHEN f.id IS NOT NULL THEN f.fit || jsonb_build_object(
                'runs', f.runs, 'tested', f.tested, 'inside', f.inside, 'error', f.error)
           END AS prediction
      FROM catalog_release r
      JOIN catalog_model m ON m.id = r.model_id
      JOIN catalog_lab l ON l.id = m.lab_id
      LEFT JOIN metering_prediction f ON f.release_id = r.id
     CROSS JOIN LATERAL release_access(r.id, NULL, NULL) AS a
      LEFT JOIN access_window w ON w.id = a.window_id
     CROSS JOIN LATERAL (
           SELECT json_agg(json_build_object(
                      'id', p.id, 'version', p.version, 'segment', p.segment,
                      'currency', p.currency, 'lines', p.lines, 'policy', p.policy,
                      'digest', p.digest, 'effective_from', p.effective_from,
                      'holds', p.effective_from <= now()) ORDER BY p.effective_from) AS prices,
                  bool_or(p.segment = 'list' AND p.effective_from <= now()) AS listed
             FROM metering_price p
            WHERE p.release_id = r.id AND p.currency = 'USD'
              AND (p.effective_to IS NULL OR p.effective_to > now())) present
     WHERE r.stage IN ('vetting', 'staged') AND (r.retired_at IS NULL OR r.retired_at > now())
       AND present.listed
     ORDER BY l.slug, m.slug, r.published_at DESC, r.id DESC) offer ON true
"""


@dataclass(frozen=True, slots=True)
class Present:
    """A price version that holds now, or is announced. digest: hex, of what it says;
    effective_from: ISO 8601."""

    id: int
    version: int
    segment: str
    currency: str
    lines: PriceLines
    policy: Policy
    digest: str
    effective_from: str
    holds: bool
    book: Book

    @property
    def begins(self) -> datetime:
        return datetime.fromisoformat(self.effective_from)


@dataclass(frozen=True, slots=True)
class Offer:
    """A release at its present price. model: `kinora/glyph`.

    prices, announced: by segment, what holds and what comes next. price, upcoming: those of them
    that count; the list's until `for_team`. gate: open, shown or hidden, for whom it was taken
    from a `Sale`. window: the one that decides it now; opens_at: when it is for everybody.
    promise: of the lab's, that it is only here. successor: what to go to, once it is deprecated.
    """

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
    prices: Mapping[str, Present]
    price: Present
    announced: Mapping[str, Present]
    upcoming: Present | None
    published_at: str
    queue: str
    adapter: str
    target: str
    content_type: str
    output_kind: str
    prediction: Fit | None
    validator: jsonschema_rs.Draft202012Validator
    gate: str = OPEN
    window: str | None = None
    opens_at: str | None = None
    promise: Mapping[str, Any] | None = None
    deprecated: bool | None = None
    deprecated_at: str | None = None
    retires_at: str | None = None
    successor: str | None = None

    @property
    def full_name(self) -> str:
        return f"{self.model}@{self.version}"

    @property
    def price_id(self) -> int:
        return self.price.id

    @property
    def price_version(self) -> int:
        return self.price.version

    @property
    def price_lines(self) -> PriceLines:
        return self.price.lines

    @property
    def currency(self) -> str:
        return self.price.currency

    @property
    def is_contract(self) -> bool:
        """Whether the price was agreed with the one team that sees it."""
        return self.price.segment.startswith("team:")

    @property
    def session(self) -> Present | None:
        """The price of a realtime session; without one there are none, and each prompt is a run."""
        return self.prices.get(segments.SESSION)

    @property
    def is_window(self) -> bool:
        """Whether the price is that of an open window."""
        return self.price.segment.startswith("window:")

    def for_team(self, team_id: UUID | None) -> "Offer":
        """The offer as this team buys it, see `segments.chosen`; None is a visitor.

        Chooses anew whatever was chosen before, so an offer that was made for one team never
        prices another's run. A window's price is for whom the window lets in; admission asks again.
        """
        windows = [self.window] if self.window and self.gate == OPEN else []
        price = self.prices[segments.chosen(self.prices, team_id, windows)]
        later = self.announced.get(segments.chosen(self.announced, team_id, windows))
        if later and later.segment == segments.LIST != price.segment:
            later = None  # what the list will be changes nothing for who has another price
        if price is self.price and later is self.upcoming:
            return self
        return replace(self, price=price, upcoming=later)

    def quote(self, inputs: Mapping[str, Any]) -> Priced:
        """What a run with these validated inputs costs at most, defaults filled in.

        The bound holds for a run that is admitted within BINDING, whatever the hour's price then.
        Raises InvalidInput naming the input without which there is no price.
        """
        try:
            return self.price.book.quote(inputs, self.facts, datetime.now(UTC) - SKEW, BINDING)
        except Unpriceable as reason:
            raise InvalidInput(str(reason), param=reason.param) from None

    def predicted(self, inputs: Mapping[str, Any]) -> "Predicted | None":
        """What such a run usually costs, where it is priced by compute and enough runs are known.

        A part of the quote's reach, never beyond its maximum: the hold stays at the timeout.
        """
        if self.prediction is None:
            return None
        low, high = self.prediction.interval(inputs, self.facts.published)
        most = self.quote(inputs).maximum
        costs = [self.cost_of_seconds(s, inputs) for s in (low, high)]
        return Predicted(min(costs[0], most), min(costs[1], most), self.prediction)

    def cost_of_seconds(self, seconds: float, inputs: Mapping[str, Any]) -> int:
        """Nano-units of a run that computes for so long and is otherwise as expected."""
        book, used = self.price.book, {}
        for name in book.units:
            compute = name.partition(":")[0] == "gpu_second"
            usual = unit_of(name).expected(inputs, self.facts)
            used[name] = Decimal(f"{seconds:.6f}") if compute else usual
        return total(book.priced(used, inputs, datetime.now(UTC)))


@dataclass(frozen=True, slots=True)
class Predicted:
    """low to high: nano-units that nine of ten runs cost; fit: how well that held, tried."""

    low: int
    high: int
    fit: Fit


@lru_cache(maxsize=1024)
def compiled(schema: bytes) -> jsonschema_rs.Draft202012Validator:
    """A validator, made once per schema; its regular expressions run in linear time."""
    return jsonschema_rs.Draft202012Validator(
        orjson.loads(schema), validate_formats=True, pattern_options=jsonschema_rs.RegexOptions()
    )


def version(price: dict[str, Any]) -> Present:
    """A price from its JSON; its instant is spelt as in the text that the digest is of."""
    begins = datetime.fromisoformat(price["effective_from"]).astimezone(UTC).isoformat()
    return Present(**price | {"effective_from": begins, "book": book_of(price["lines"])})


def read(text: str) -> Offer:
    """An offer from one row of OFFERS_SQL."""
    row = orjson.loads(text)
    schema = row["schema"]
    properties = schema.get("properties", {})
    found = [version(price) for price in row["prices"]]
    prices = {p.segment: p for p in found if p.holds}
    announced = {p.segment: p for p in reversed(found) if not p.holds}
    facts = Facts(row.pop("timeout_seconds"), row["facts"])
    return Offer(
        **row
        | {
            "facts": facts,
            "prices": prices,
            "prediction": row["prediction"] and Fit(**row["prediction"]),
            "price": prices[segments.LIST],
            "announced": announced,
            "upcoming": announced.get(segments.LIST),
            "defaults": {name: p["default"] for name, p in properties.items() if "default" in p},
            "validator": compiled(orjson.dumps(schema)),
        }
    )
