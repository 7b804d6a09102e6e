"""Turn a module into an ATen graph, and take out what does nothing.

`torch.export` in strict mode, without decompositions: one graph, or an error that says where it
broke. Parameters are lifted, so one compiled block serves all its instances.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.fx import Graph, Node

from inference.compiler import graph as ops


@dataclass(frozen=True)
class Removed:
    """A kernel of eager's that changed no bit."""

    kind: str
    letter: str
    bytes: int


def capture(
    module: torch.nn.Module, inputs: dict[str, Any], dynamic: dict[str, Any] | None = None
) -> ExportedProgram:
    """Export a module as it would run with these keyword inputs.

    dynamic: dynamic shapes by input, as `torch.export` takes them.
    """
    with torch.no_grad():
        return torch.export.export(module, (), inputs, dynamic_shapes=dynamic, strict=True)


def sign(program: ExportedProgram) -> None:
    """Tell a rewritten program's signature what its outputs are called now."""
    (outputs,) = program.graph.output_node().args
    for spec, node in zip(program.graph_signature.output_specs, outputs, strict=True):
        if isinstance(node, Node):
            spec.arg.name = node.name


def tidy(graph: Graph) -> list[Removed]:
    """Drop idle casts and dropouts, divisions by one, and halves that are joined again.

    → what of it were kernels.
    """
    removed = []
    written = ops.mutated(graph)
    for node in list(graph.nodes):
        if ops.kind(node) == "_assert_tensor_metadata":
            graph.erase_node(node)
        elif same := unchanged(node, written):
            if ops.is_kernel(node):
                letter = "E" if ops.kind(node) == "cat" else ""
                removed.append(Removed(ops.kind(node), letter, ops.kernel_bytes(node)))
            node.replace_all_uses_with(same)
            graph.erase_node(node)
    return removed


def unchanged(node: Node, written: set[Node]) -> Node | None:
    """Give the input that a node hands on bit for bit, if it does."""
    first = node.args[0] if node.args else None
    if ops.is_idle(node):
        return first  # eager hands on the very tensor, too
    same = first if ops.is_one(node) else ops.rejoined(node)
    return None if same in written or node in written else same
