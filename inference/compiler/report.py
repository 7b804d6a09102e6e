"""What a plan covers: sites, kernels and bytes per pattern, and what no template has reached.

Bytes are those of one forward in the simplest memory: an eager kernel reads each input once and
writes its output once; so does a template. Products, convolutions, attention and views are left
out. Sizes come from shapes; nothing is run or timed.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from torch.fx import Graph

from inference.compiler.capture import Removed
from inference.compiler.graph import is_kernel, kernel_bytes, kind, moved_bytes, size_bytes
from inference.compiler.match import KEPT, Match
from inference.kernels import TEMPLATES, Exactness

PATTERNS = {
    "A": "QK-norm and RoPE",
    "B": "modulate",
    "C": "gated residual",
    "D": "activation",
    "E": "concatenation",
    "F": "plain norm, residual add",
    "G": "group or channel norm",
}


@dataclass
class Row:
    """One pattern: how often, and kernels and bytes before and after."""

    sites: int = 0
    kernels: int = 0
    eager_bytes: int = 0
    fused_bytes: int = 0


@dataclass
class CoverageReport:
    """A plan in figures; `exactness` is the class of the plan on a GPU (on a CPU it is E0)."""

    exactness: Exactness
    patterns: dict[str, Row]
    templates: dict[str, int]
    uncovered: dict[str, Row] = field(default_factory=dict)

    @property
    def eager_bytes(self) -> int:
        """All that eager moves between products and attention."""
        return sum(row.eager_bytes for row in [*self.patterns.values(), *self.uncovered.values()])

    @property
    def fused_bytes(self) -> int:
        """All that the plan moves there."""
        return sum(row.fused_bytes for row in [*self.patterns.values(), *self.uncovered.values()])

    def share(self, letters: str) -> float:
        """The part of eager's bytes that lies in these patterns."""
        covered = sum(self.patterns[letter].eager_bytes for letter in letters)
        return covered / self.eager_bytes if self.eager_bytes else 1.0

    def as_json(self) -> dict[str, Any]:
        """Plain values, to be stored beside a release."""
        return asdict(self)

    def __str__(self) -> str:
        """Draw the table that people read."""
        rows = [(f"{letter} {PATTERNS[letter]}", row) for letter, row in self.patterns.items()]
        most = sorted(self.uncovered.items(), key=lambda item: -item[1].eager_bytes)[:6]
        lines = [f"{'pattern':28}{'sites':>7}{'kernels':>9}{'eager MB':>11}{'fused MB':>11}"]
        lines += [
            f"{name:28}{row.sites:7}{row.kernels:9}{row.eager_bytes / 1e6:11.1f}"
            f"{row.fused_bytes / 1e6:11.1f}"
            for name, row in [*rows, *((f"- {name}", row) for name, row in most)]
        ]
        used = " ".join(f"{name}:{count}" for name, count in self.templates.items())
        return "\n".join(
            [
                *lines,
                f"bytes {self.eager_bytes / 1e6:.1f} → {self.fused_bytes / 1e6:.1f} MB,"
                f" A-D {self.share('ABCD'):.1%}, A-G {self.share('ABCDEFG'):.1%},"
                f" exactness {self.exactness} (E0 on a CPU)",
                f"templates {used}",
            ]
        )


def measure(graph: Graph, matches: list[Match], removed: list[Removed]) -> CoverageReport:
    """Count a tidied graph against the matches found in it, before it is rewritten."""
    used = Counter(match.template for match in matches if match.template != KEPT)
    classes = [TEMPLATES[name].exactness for name in used]
    report = CoverageReport(
        max(classes, default=Exactness.E0),
        {letter: Row() for letter in PATTERNS},
        dict(sorted(used.items())),
    )
    for match in matches:
        add_match(report, match)
    covered = {node for match in matches for node in match.nodes}
    for node in graph.nodes:
        if is_kernel(node) and node not in covered:
            moved = kernel_bytes(node)
            grow(report.uncovered, kind(node), Row(1, 1, moved, moved))
    for one in removed:
        rows = report.patterns if one.letter else report.uncovered
        grow(rows, one.letter or one.kind, Row(1, 1, one.bytes, 0))
    return report


def add_match(report: CoverageReport, match: Match) -> None:
    """Add one match: its eager bytes by pattern, its fused bytes shared out likewise."""
    before = Counter[str]()
    for node, letter in match.nodes.items():
        if is_kernel(node):
            before[letter] += kernel_bytes(node)
            report.patterns[letter].kernels += 1
    whole = sum(before.values())
    after = whole
    if match.product:
        after = 0
    elif match.template != KEPT:
        written = sum(map(size_bytes, match.outputs))
        after = moved_bytes(match.operands, []) + written
    for letter, count in match.sites.items():
        part = before[letter]
        row = Row(count, 0, part, round(after * part / whole) if whole else 0)
        grow(report.patterns, letter, row)


def grow(rows: dict[str, Row], name: str, more: Row) -> None:
    """Add to a row."""
    row = rows.setdefault(name, Row())
    row.sites += more.sites
    row.kernels += more.kernels
    row.eager_bytes += more.eager_bytes
    row.fused_bytes += more.fused_bytes
