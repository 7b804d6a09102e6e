"""Price versions, requests and witnesses drawn at random, and what must hold of each of them.

A book is drawn from the whole language and kept only where it could be published, so that what is
shown of the drawn ones is shown of what `publish` lets pass.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

from marketplace.catalog.models import Release
from marketplace.errors import InvalidInput
from marketplace.metering.bounds import check
from marketplace.metering.meter import meter
from marketplace.metering.offer import BINDING
from marketplace.metering.quote import Book, Priced, book_of, bounds, total
from marketplace.metering.units import FEES, UNITS, Facts, unit_of

Line = dict[str, Any]
Inputs = dict[str, Any]
KINDS = [*sorted(UNITS.keys() - {"token"}), "token:text_in", "token:image_out", "gpu_second:h200"]
SIZES = ("720p", "1080p", "2160p")
RANGES = {
    "count": (1, 4), "seconds": (1, 12), "steps": (1, 50), "width": (64, 2048),
    "height": (64, 2048), "gpus": (1, 8), "references": (0, 4),
}  # fmt: skip
SCHEMA: dict[str, Any] = {
    "properties": {
        **{n: {"type": "integer", "minimum": a, "maximum": b, "default": b}
           for n, (a, b) in RANGES.items()},
        "sound": {"type": "boolean", "default": False},
        "resolution": {"enum": list(SIZES), "default": "720p"},
        "text": {"type": "string", "default": "a lantern at dusk"},
    }
}  # fmt: skip
LEAVES = (
    "inputs.width", "inputs.seconds", "inputs.count", "inputs.gpus", "usage.video_second",
    "usage.image", "usage.gpu_second.h200", "usage.token.image_out", "3", "0.5", "1000000",
)  # fmt: skip


@dataclass(frozen=True)
class Drawn:
    """A version, a request, and when each was made."""

    lines: list[Line]
    book: Book
    facts: Facts
    inputs: Inputs
    quoted_at: datetime
    held_at: datetime

    def quote(self) -> Priced:
        return self.book.quote(self.inputs, self.facts, self.quoted_at, BINDING)


class Draw:
    """Everything from one seed."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)

    def money(self) -> str:
        text = str(self.random.choice([0, 1, 7, 333, 20_000, 999_999_999, 10**12]))
        return f"{Decimal(text).scaleb(-self.random.randint(0, 12)):f}"[:14].rstrip(".")

    def case(self) -> dict[str, Any]:
        kind = self.random.randint(0, 3)
        if kind == 0:
            return {"when": {"sound": self.random.random() < 0.5}}
        if kind == 1:
            return {"when": {"resolution": self.random.choice(SIZES)}}
        if kind == 2:
            return {"when": {"seconds": self.random.randint(1, 12), "resolution": "1080p"}}
        first, second = self.random.sample(range(0, 24 * 60, 5), 2)
        return {"between": [f"{m // 60:02d}:{m % 60:02d}" for m in (first, second)]}

    def cases(self, number: str) -> list[dict[str, Any]]:
        most = self.random.randint(0, 3)
        return [{**self.case(), number: self.money()} for _ in range(most)]

    def tiers(self) -> dict[str, Any]:
        ends = sorted(self.random.sample(range(1, 60), self.random.randint(0, 3)))
        steps = [{"up_to": str(end), "unit_price": self.money()} for end in ends]
        steps.append({"up_to": None, "unit_price": self.money()})
        return {"mode": self.random.choice(["graduated", "volume"]), "steps": steps}

    def formula(self, depth: int = 3) -> str:
        if depth == 0 or self.random.random() < 0.25:
            return self.random.choice(LEAVES)
        left, right = self.formula(depth - 1), self.formula(depth - 1)
        shape = self.random.choice(
            ["({} + {})", "({} * {})", "({} / {})", "({} - {})", "min({}, {})", "max({}, {})"]
        )
        text = shape.format(left, right)
        return f"ceil({text} / 7)" if self.random.random() < 0.2 else text

    def line(self) -> Line:
        line: Line = {"unit": self.random.choice(KINDS)}
        if self.random.random() < 0.3:
            line["tiers"] = self.tiers()
        else:
            line |= {"unit_price": self.money(), "table": self.cases("unit_price")}
        line["factors"] = self.cases("factor")
        for name in ("included", "minimum"):
            if self.random.random() < 0.3:
                line[name] = str(self.random.randint(0, 9))
        if self.random.random() < 0.3:
            line["step"] = self.random.choice(["0.1", "0.5", "1", "1000"])
            line["rounding"] = self.random.choice(["up", "down", "nearest"])
        if self.random.random() < 0.3:
            line["quantity"] = self.formula()
        return line

    def facts(self) -> Facts:
        published = {
            "gpu_seconds_per_step": str(self.random.choice(["0.07", "1", "0.333"])),
            "tokens": {"text_in": 1_000, "image_out": self.random.randint(1, 9_000)},
            "expected_tokens": {"image_out": self.random.randint(1, 9_000)},
        }
        return Facts(self.random.choice([5, 60, 600]), published)

    def inputs(self) -> Inputs:
        found: Inputs = {n: self.random.randint(a, b) for n, (a, b) in RANGES.items()}
        found |= {"sound": self.random.random() < 0.5, "resolution": self.random.choice(SIZES)}
        return found | {"text": "ab\u0301" * self.random.randint(0, 40)}

    def version(self) -> tuple[list[Line], Facts]:
        """Lines that could be published for a release with these facts."""
        while True:
            lines = [self.line() for _ in range(self.random.randint(1, 3))]
            facts = self.facts()
            release = Release(
                input_schema=SCHEMA, facts=facts.published, timeout_seconds=facts.timeout_seconds
            )
            try:
                check(release, lines, "USD")
            except InvalidInput:
                continue
            return lines, facts

    def request(self, lines: list[Line], facts: Facts) -> Drawn:
        minutes = timedelta(minutes=self.random.randint(0, 24 * 60))
        quoted = datetime(2026, 11, 20, tzinfo=UTC) + minutes
        held = quoted + BINDING * self.random.random()
        return Drawn(lines, book_of(lines), facts, self.inputs(), quoted, held)

    def witness(self, most: Decimal) -> Decimal | None:
        """What one witness says of a unit: nothing, about as asked, a part, or far too much."""
        share = self.random.choice([None, 0, "0.001", "0.4", "0.98", 1, 1, "1.001", "128.4"])
        return None if share is None else (most * Decimal(share)).quantize(Decimal("0.000001"))


def never_above_its_quote(drawn: Drawn, draw: Draw) -> bool:
    """Whatever three witnesses say, in any hour of the quote's life. Gives whether it settled."""
    quote = drawn.quote()
    most = bounds(drawn.book.units, drawn.inputs, drawn.facts)
    said = [{u: s for u in most if (s := draw.witness(most[u])) is not None} for _ in range(2)]
    delivers = dict.fromkeys(FEES & most.keys(), Decimal(0))
    found = meter(
        drawn.lines, drawn.inputs, drawn.facts,
        reported=said[0], measured=said[1] | delivers, at=drawn.held_at,
    )  # fmt: skip
    assert 0 <= found.amount <= quote.maximum, (drawn, said)
    assert 0 <= quote.expected <= quote.maximum, drawn
    refused = {unit: Decimal(unit in FEES) for unit in most}
    if FEES & most.keys():
        assert total(drawn.book.priced(refused, drawn.inputs, drawn.held_at)) <= quote.maximum
    return found.agreed


def as_expected_where_all_is_as_requested(drawn: Drawn) -> None:
    """Usage as expected, at the hour of the quote, costs what the quote expected, to the nano."""
    usual = {u: unit_of(u).expected(drawn.inputs, drawn.facts) for u in drawn.book.units}
    found = meter(
        drawn.lines, drawn.inputs, drawn.facts,
        reported=usual, measured=usual, at=drawn.quoted_at,
    )  # fmt: skip
    assert found.agreed, drawn
    assert found.amount == drawn.quote().expected, drawn


def grows_with_each_quantity(drawn: Drawn, draw: Draw) -> None:
    """More of any one unit, all others as they are, never costs less."""
    most = bounds(drawn.book.units, drawn.inputs, drawn.facts)
    some = {u: (m * Decimal(draw.random.random())).quantize(m.normalize()) for u, m in most.items()}
    some = {unit: min(quantity, most[unit]) for unit, quantity in some.items()}
    before = total(drawn.book.priced(some, drawn.inputs, drawn.held_at))
    for unit, quantity in some.items():
        more = some | {unit: quantity + (most[unit] - quantity) * Decimal("0.37")}
        assert total(drawn.book.priced(more, drawn.inputs, drawn.held_at)) >= before, (drawn, unit)
