"""The front door for serving: a dynamo backend over the repeated blocks of a model.

Dynamo brings guards and one graph for all instances of a block, with symbolic sizes, so a new
resolution compiles nothing. Hooks, offloading and adapters of diffusers keep working.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any
from unittest.mock import patch

import torch
from diffusers.models.normalization import RMSNorm
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx

from inference.compiler.gate import Gate
from inference.compiler.graph import value
from inference.compiler.graphs import Graphed
from inference.compiler.joined import Activated, is_joined, join, joinable
from inference.compiler.plan import Plan, rewrite
from inference.kernels import Exactness

log = logging.getLogger("inference.compiler")
GRAPHS = ", graphs"  # behind a plan's name where forwards are replayed


class Compiler:
    """A backend for `torch.compile` that keeps what it made, one gate with a plan per graph."""

    def __init__(self, allow: Exactness = Exactness.E1, *, inline: bool = False) -> None:
        """Start without plans.

        allow: the loosest class that may be used; E2 asks for fp8. inline: see `plan.rewrite`.
        """
        self.allow, self.inline = allow, inline
        self.gates: list[Gate] = []
        self.failures: list[str] = []
        self.graphed: Graphed | None = None  # where forwards are replayed

    @property
    def plans(self) -> list[Plan]:
        """The plans made so far, used or not."""
        return [gate.plan for gate in self.gates]

    def __call__(self, module: GraphModule, inputs: Sequence[Any]) -> Callable[..., Any]:
        """Make dynamo's graph a plan behind a gate; eager's graph where that cannot be done."""
        try:
            self.gates.append(self.gate(module))
        except Exception as error:
            self.failures.append(f"{type(error).__name__}: {error}")
            log.warning("a graph has no plan, eager runs: %s", self.failures[-1])
            return module.forward
        return self.gates[-1]

    def gate(self, module: GraphModule) -> Gate:
        """Trace a graph to undecomposed ATen and put templates in."""
        stands = [value(node) for node in module.graph.nodes if node.op == "placeholder"]
        traced = trace(module, stands)
        plan = rewrite(traced, fp8=self.allow == Exactness.E2, inline=self.inline)
        return Gate(plan, module, traced, self.allow)

    def reasons(self) -> list[str]:
        """Say why plans are not used."""
        return self.failures + [
            one.verdict.reason for one in self.gates if one.verdict and not one.verdict.used
        ]

    def summary(self) -> dict[str, Any]:
        """Say in plain values what runs, and why.

        Names are `eager`, `templates`, `traced` (a tidied graph without templates), and the latter
        two `in part`, and with `, graphs` where forwards are replayed.
        """
        used = [gate for gate in self.gates if gate.verdict and gate.verdict.used]
        whole = "traced" if self.inline else "templates"
        whole += " in part" if self.reasons() else ""
        whole += GRAPHS if self.graphed is not None and not self.graphed.reason else ""
        exactness = max((gate.exactness for gate in used), default=Exactness.E0)
        return {
            "name": whole if used else "eager",
            "exactness": str(exactness),
            "graphs": [gate.as_json() for gate in self.gates],
            "failures": self.failures,
        }


def trace(module: Callable[..., Any], stands: Sequence[Any]) -> GraphModule:
    """Trace on shapes alone; constants of the module may be real tensors."""
    shapes = next(one.fake_mode for one in stands if isinstance(one, FakeTensor))
    with shapes, patch.object(shapes, "allow_non_fake_inputs", True):
        return make_fx(module, pre_dispatch=True)(*stands)


def accelerate(
    model: nn.Module,
    allow: Exactness = Exactness.E1,
    *,
    whole: bool = False,
    inline: bool = False,
    strict: bool = True,
) -> Compiler:
    """Compile the repeated blocks of a model in place.  → the compiler, with its plans to come.

    Blocks are those that the class declares (`_repeated_blocks`), else those of the lists that
    hold most parameters. Compilation itself happens at the first forward. Plans are E0 or E1;
    `allow` of E2 asks for products in fp8. whole: the model is one graph. strict: what
    cannot be one graph raises, rather than being several. Raises ValueError.
    """
    torch._dynamo.config.specialize_float = True  # an epsilon is a constant, never an input
    compiler = Compiler(allow, inline=inline)
    names = repeated(model)
    if whole:
        model.compile(backend=compiler, fullgraph=strict)
        return compiler
    if not names:
        raise ValueError(f"{type(model).__name__} has no repeated blocks to compile")
    join(model)
    for module in model.modules():
        if type(module).__name__ in names and not draws(module):
            module.compile(backend=compiler, fullgraph=strict, dynamic=True)
    return compiler


def repeated(model: nn.Module) -> set[str]:
    """Name the classes of a model's repeated blocks, residual blocks of convolutions included."""
    declared = set(getattr(model, "_repeated_blocks", None) or ()) or listed(model)
    normed = Counter(type(one).__name__ for one in model.modules() if is_residual(one, declared))
    joined = any(joinable(model)) or any(map(is_joined, model.modules()))
    found = {name for name, count in normed.items() if count > 1}
    return declared | found | ({Activated.__name__} if joined else set())


def is_residual(module: nn.Module, blocks: set[str]) -> bool:
    """Tell whether a module has group norms, or norms of a clip, and no blocks inside."""
    own = list(module.children())
    clip = any(isinstance(part, nn.Conv3d) for one in own for part in one.modules())
    normed = any(
        isinstance(one, nn.GroupNorm) or (clip and isinstance(one, RMSNorm)) for one in own
    )
    return normed and not any(type(one).__name__ in blocks for one in module.modules())


def draws(module: nn.Module) -> bool:
    """Tell whether a block of LTX's VAE adds noise of its own: a trial would use up numbers."""
    return getattr(module, "per_channel_scale1", None) is not None


def listed(model: nn.Module) -> set[str]:
    """Name the classes in the lists of blocks that hold most parameters."""
    weights = Counter[str]()
    for lists in model.children():
        if isinstance(lists, nn.ModuleList):
            for block in lists:
                weights[type(block).__name__] += sum(p.numel() for p in block.parameters())
    most = max(weights.values(), default=0)
    return {name for name, count in weights.items() if count * 10 >= most}
