"""The gate that a plan passes at its first call, on the very inputs that are served.

Both run once. A plan that is further from eager than its class allows, or that cannot run at all,
is not used: eager runs from then on, and the gate says why.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule
from torch.fx.node import map_aggregate

from inference.compiler.chains import HALF
from inference.compiler.graph import mutated
from inference.compiler.parity import Parity, check, same_bits
from inference.compiler.plan import Plan
from inference.kernels import Exactness

log = logging.getLogger("inference.compiler")


@dataclass(frozen=True)
class Verdict:
    """Whether a plan is used, how near to eager it was found, or why it is not used."""

    used: bool
    parity: Parity | None = None
    reason: str = ""


class Gate:
    """One graph of a model: eager's, ours, and which of them runs."""

    def __init__(self, plan: Plan, eager: GraphModule, ours: GraphModule, allow: Exactness) -> None:
        """Take both graphs.  allow: the loosest class that may be used."""
        self.plan, self.eager, self.ours, self.allow = plan, eager, ours, allow
        self.verdict: Verdict | None = None
        self.chosen: Callable[..., Any] | None = None
        self.exactness = Exactness.E0

    def __call__(self, *args: Any) -> Any:
        """Run what was chosen; the first call chooses."""
        if self.chosen is None:
            self.verdict = self.judge(args)
            self.chosen = self.ours if self.verdict.used else self.eager
            if self.verdict.used:
                log.info("a plan is used: %s, %s", self.exactness, self.plan.report.templates)
            else:
                log.warning("a plan is not used, eager runs: %s", self.verdict.reason)
        return self.chosen(*args)

    def judge(self, args: tuple[Any, ...]) -> Verdict:
        """Run both and compare.  Lets out nothing but a lack of memory."""
        gpu = any(isinstance(one, Tensor) and one.is_cuda for one in args)
        self.exactness = self.plan.report.exactness if gpu else self.plan.cpu_exactness
        if self.exactness > self.allow:
            return Verdict(used=False, reason=f"the plan is {self.exactness}, not {self.allow}")
        try:
            return Verdict(used=True, parity=self.compare(args))
        except (torch.OutOfMemoryError, MemoryError):
            raise
        except Exception as error:
            return Verdict(used=False, reason=f"{type(error).__name__}: {error}")

    def compare(self, args: tuple[Any, ...]) -> Parity:
        """Check every output; the truth is asked for where bits differ.  Raises ParityError."""
        with torch.no_grad():
            eager, ours = (tensors(run(*self.spared(args))) for run in (self.eager, self.ours))
            pairs = list(zip(ours, eager, strict=True))
            if all(same_bits(*pair) for pair in pairs):
                return Parity(self.exactness, same_bits=True)
            exact = None
            if self.exactness != Exactness.E0:
                exact = tensors(widened(self.eager)(*in_float32(args)))
            found = [
                check(self.exactness, *pair, exact[i] if exact else None)
                for i, pair in enumerate(pairs)
            ]
        return max(found, key=lambda one: (one.ours or 0.0) / (one.eager or 1.0))

    def spared(self, args: tuple[Any, ...]) -> list[Any]:
        """Copy arguments that the graph writes into, so that a trial leaves them as they are."""
        places = self.ours.graph.find_nodes(op="placeholder")
        written = mutated(self.ours.graph).intersection(places)
        return [
            one.clone() if node in written else one for node, one in zip(places, args, strict=True)
        ]

    def as_json(self) -> dict[str, Any]:
        """Plain values: what is covered, and the verdict if there is one."""
        return {
            "templates": self.plan.report.templates,
            "covered": round(self.plan.report.share("ABCDEFG"), 4),
            "exactness": str(self.exactness),
            "verdict": asdict(self.verdict) if self.verdict else None,
        }


def tensors(output: Any) -> list[Tensor]:
    """Give the tensors that a graph returns."""
    each = output if isinstance(output, tuple | list) else (output,)
    return [one for one in each if isinstance(one, Tensor)]


def in_float32(args: tuple[Any, ...]) -> list[Any]:
    """Widen half tensors."""
    return [one.float() if isinstance(one, Tensor) and one.dtype in HALF else one for one in args]


def widened(graph: GraphModule) -> GraphModule:
    """Give the same graph with float32 wherever it names a half type."""
    wide = GraphModule(graph, copy.deepcopy(graph.graph))
    for node in wide.graph.nodes:
        node.args = map_aggregate(node.args, full)
        node.kwargs = map_aggregate(node.kwargs, full)
    wide.recompile()
    return wide


def full(value: Any) -> Any:
    """Name float32 for a half type."""
    return torch.float32 if isinstance(value, torch.dtype) and value in HALF else value
