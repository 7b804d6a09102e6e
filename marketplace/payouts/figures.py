"""From a statement's lines to its figures: pure sums, and a guarantee's burn-down.

share + cost + adjustments − borne − burned = payable, to the nano-unit.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Line = Mapping[str, Any]
Burn = dict[str, int]


@dataclass(slots=True)
class Figures:
    """What lines add up to, nano-units. earned: agreement's id → owed less borne."""

    lines_count: int = 0
    gross: int = 0
    refunded: int = 0
    share: int = 0
    cost: int = 0
    adjustments: int = 0
    credits: Counter[str] = field(default_factory=Counter)
    borne: Counter[str] = field(default_factory=Counter)
    earned: Counter[int] = field(default_factory=Counter)

    def add(self, line: Line) -> None:
        kind, owed = line["kind"], line["owed"]
        self.lines_count += 1
        self.gross += line["gross"] if kind == "charge" else 0
        self.refunded -= line["gross"] if kind == "refund" else 0
        self.share += owed if kind in ("charge", "refund") else 0
        self.cost += owed if kind == "cost" else 0
        self.adjustments += owed if kind == "adjustment" else 0
        for funder, amount in line["credits"].items():
            self.credits[funder] += amount
        for funder, amount in line["borne"].items():
            self.borne[funder] += amount
        if line["agreement_id"]:
            self.earned[line["agreement_id"]] += owed - sum(line["borne"].values())

    @property
    def due(self) -> int:
        """What is owed before guarantees."""
        return self.share + self.cost + self.adjustments - sum(self.borne.values())


def added(lines: Iterable[Line]) -> Figures:
    figures = Figures()
    for line in lines:
        figures.add(line)
    return figures


def burn(guaranteed: int, earned_before: int, earned: int) -> Burn:
    """How earnings burn a guarantee down, which the lab has already. Refunds give some of it back,
    never more than was burned."""
    before = min(max(0, earned_before), guaranteed)
    after = min(max(0, earned_before + earned), guaranteed)
    return {
        "guaranteed": guaranteed,
        "earned": earned_before + earned,
        "burned": after - before,
        "left": guaranteed - after,
    }
