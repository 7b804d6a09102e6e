"""The front door for serving: a dynamo backend over the repeated blocks of a model.

Dynamo brings guards and one graph for all instances of a block, with symbolic sizes, so a new
resolution compiles nothing. Hooks, offloading and adapters of diffusers keep working.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any
from unittest.mock import patch

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx

from inference.compiler.gate import Gate
from inference.compiler.graph import value
from inference.compiler.plan import Plan, rewrite
from inference.kernels import Exactness


class Compiler:
    """A backend for `torch.compile` that keeps what it made, one gate with a plan per graph."""

    def __init__(self, allow: Exactness = Exactness.E1) -> None:
        """Start without plans.  allow: the loosest class that may be used; E2 asks for fp8."""
        self.allow = allow
        self.gates: list[Gate] = []

    @property
    def plans(self) -> list[Plan]:
        """The plans made so far, used or not."""
        return [gate.plan for gate in self.gates]

    def __call__(self, module: GraphModule, inputs: Sequence[Any]) -> Callable[..., Any]:
        """Trace dynamo's graph to undecomposed ATen and put templates in, behind a gate."""
        stands = [value(node) for node in module.graph.nodes if node.op == "placeholder"]
        traced = trace(module, stands)
        plan = rewrite(traced, fp8=self.allow == Exactness.E2)
        self.gates.append(Gate(plan, module, traced, self.allow))
        return self.gates[-1]

    def reasons(self) -> list[str]:
        """Say why plans are not used."""
        return [one.verdict.reason for one in self.gates if one.verdict and not one.verdict.used]

    def summary(self) -> dict[str, Any]:
        """Say in plain values what runs: `templates`, `eager`, or `templates in part`; and why."""
        used = [gate for gate in self.gates if gate.verdict and gate.verdict.used]
        whole = "templates" if len(used) == len(self.gates) else "templates in part"
        exactness = max((gate.exactness for gate in used), default=Exactness.E0)
        return {
            "name": whole if used else "eager",
            "exactness": str(exactness),
            "graphs": [gate.as_json() for gate in self.gates],
        }


def trace(module: Callable[..., Any], stands: Sequence[Any]) -> GraphModule:
    """Trace on shapes alone; constants of the module may be real tensors."""
    shapes = next(one.fake_mode for one in stands if isinstance(one, FakeTensor))
    with shapes, patch.object(shapes, "allow_non_fake_inputs", True):
        return make_fx(module, pre_dispatch=True)(*stands)


def accelerate(model: nn.Module, allow: Exactness = Exactness.E1) -> Compiler:
    """Compile the repeated blocks of a model in place.  → the compiler, with its plans to come.

    Blocks are those that the class declares (`_repeated_blocks`), else those of the lists that
    hold most parameters. Compilation itself happens at the first forward. Plans are E0 or E1;
    `allow` of E2 asks for products in fp8.
    """
    torch._dynamo.config.specialize_float = True  # an epsilon is a constant, never an input
    compiler = Compiler(allow)
    names = repeated(model)
    if not names:
        raise ValueError(f"{type(model).__name__} has no repeated blocks to compile")
    for module in model.modules():
        if type(module).__name__ in names:
            module.compile(backend=compiler, fullgraph=True, dynamic=True)
    return compiler


def repeated(model: nn.Module) -> set[str]:
    """Name the classes of a model's repeated blocks."""
    declared = set(getattr(model, "_repeated_blocks", None) or ())
    if declared:
        return declared
    weights = Counter[str]()
    for lists in model.children():
        if isinstance(lists, nn.ModuleList):
            for block in lists:
                weights[type(block).__name__] += sum(p.numel() for p in block.parameters())
    most = max(weights.values(), default=0)
    return {name for name, count in weights.items() if count * 10 >= most}
