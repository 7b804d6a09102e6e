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

from inference.compiler.graph import value
from inference.compiler.plan import Plan, rewrite


class Compiler:
    """A backend for `torch.compile` that keeps the plans it made, one per graph."""

    def __init__(self) -> None:
        """Start without plans."""
        self.plans: list[Plan] = []

    def __call__(self, module: GraphModule, inputs: Sequence[Any]) -> Callable[..., Any]:
        """Trace dynamo's graph to undecomposed ATen, put templates in, and run it as it is."""
        stands = [value(node) for node in module.graph.nodes if node.op == "placeholder"]
        traced = trace(module, stands)
        self.plans.append(rewrite(traced))
        return traced


def trace(module: Callable[..., Any], stands: Sequence[Any]) -> GraphModule:
    """Trace on shapes alone; constants of the module may be real tensors."""
    shapes = next(one.fake_mode for one in stands if isinstance(one, FakeTensor))
    with shapes, patch.object(shapes, "allow_non_fake_inputs", True):
        return make_fx(module, pre_dispatch=True)(*stands)


def accelerate(model: nn.Module) -> Compiler:
    """Compile the repeated blocks of a model in place.  → the compiler, with its plans to come.

    Blocks are those that the class declares (`_repeated_blocks`), else those of the lists that
    hold most parameters. Compilation itself happens at the first forward.
    """
    torch._dynamo.config.specialize_float = True  # an epsilon is a constant, never an input
    compiler = Compiler()
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
