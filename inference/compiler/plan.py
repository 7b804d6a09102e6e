"""Decide what becomes of a graph: tidy, match, measure; a plan is text and figures, and JSON.

The same graph gives the same plan, line by line, whatever the machine: stored plans are compared
in the tests, so that a change of the compiler shows as a change of plans.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.fx import GraphModule, Node

from inference.compiler.approximate import to_fp8
from inference.compiler.capture import tidy
from inference.compiler.emit import emit
from inference.compiler.match import KEPT, Again, Match, find
from inference.compiler.report import CoverageReport, measure
from inference.kernels import Exactness


@dataclass(frozen=True)
class Plan:
    """What was done to one graph: a line per template call, and the coverage."""

    lines: tuple[str, ...]
    report: CoverageReport

    @property
    def cpu_exactness(self) -> Exactness:
        """The class of the plan where references run; only fp8 is still approximate there."""
        return Exactness.E2 if self.report.exactness == Exactness.E2 else Exactness.E0

    def as_json(self) -> dict[str, Any]:
        """Plain values: the lines and the report."""
        return {"lines": list(self.lines), "report": self.report.as_json()}


def rewrite(module: GraphModule, *, fp8: bool = False, inline: bool = False) -> Plan:
    """Put templates into a captured graph, in place.

    fp8: the approximate tier (E2) as well. inline: leave the operators that references consist of,
    where no kernel would run; the graph is only tidied.
    """
    removed = tidy(module.graph)
    matches = find(module.graph, slices=not fp8)  # products in fp8 are others
    plan = Plan(tuple(draw(matches)), measure(module.graph, matches, removed))
    if inline:
        module.recompile()
        return plan
    emit(module, matches)
    if fp8:
        plan.report.templates.update(to_fp8(module))
        plan.report.exactness = Exactness.E2
    return plan


def draw(matches: list[Match]) -> list[str]:
    """Write each call as one line that names its operands as the graph does."""
    return [
        f"{', '.join(out.name for out in match.outputs)} = {match.template}"
        f"({', '.join(map(written, match.args))})"
        for match in matches
        if match.template != KEPT
    ]


def written(arg: Any) -> str:
    """Write an argument for people."""
    if isinstance(arg, list | tuple):
        return f"[{', '.join(map(written, arg))}]"
    if isinstance(arg, Again):
        return f"{arg.view.name}·{written(arg.of)}"
    if isinstance(arg, Node):
        return arg.name.replace("__dict_____modules____", "").replace("___", ".")
    return str(arg).removeprefix("torch.") if isinstance(arg, torch.dtype) else repr(arg)
