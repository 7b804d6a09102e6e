"""The opt-in fp8 tier (E2) of a plan: linear layers over tokens become products in e4m3.

Runs on a graph that has its templates already. Activations are quantised once however many layers
read them, and inside the modulation where one precedes; a weight is quantised when it is first
used and kept as long as the weight is.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph, GraphModule, Node
from torch.utils.weak import WeakTensorKeyDictionary

from inference.compiler.emit import picked
from inference.compiler.graph import argument, dtype, kind, shape
from inference.kernels import TEMPLATES
from inference.kernels.fp8 import APPROXIMATE

ALIGNED = 16  # what both sides of a product in fp8 are multiples of
GATED = 5  # arguments of gated_modulate that are those of gated_residual
_stored = WeakTensorKeyDictionary()


def stored(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Quantise a weight once.  (N, K) → e4m3 (N, K), scales (N, 1)."""
    if weight not in _stored:
        _stored[weight] = APPROXIMATE["quantize"].op(weight)
    found: tuple[Tensor, Tensor] = _stored[weight]
    return found


def to_fp8(module: GraphModule) -> Counter[str]:
    """Rewrite a graph in place.  → how often each template of this tier is used."""
    graph, used = module.graph, Counter[str]()
    quantized: dict[Node, list[Node]] = {}
    for node in list(graph.nodes):
        if fits(node):
            x = node.args[0]
            if x not in quantized:
                quantized[x] = quantize(graph, x, used)
            multiply(graph, node, quantized[x])
            used["linear_fp8"] += 1
    graph.eliminate_dead_code()
    graph.lint()
    module.recompile()
    return used


def fits(node: Node) -> bool:
    """Tell whether a node is a bfloat16 linear layer over tokens, of sizes that fp8 takes."""
    if kind(node) != "linear" or len(shape(node)) < 3:
        return False
    x, weight = node.args[:2]
    alike = dtype(x) == dtype(weight) == torch.bfloat16
    return alike and all(size % ALIGNED == 0 for size in shape(weight))


def call(graph: Graph, template: Any, args: tuple[Any, ...]) -> Node:
    """Call a template."""
    made: Node = graph.call_function(template.op._opoverload, args)
    return made


def quantize(graph: Graph, x: Node, used: Counter[str]) -> list[Node]:
    """Quantise x, in the modulation that makes it where nothing else reads that.

    → e4m3 and scales.
    """
    alone = all(map(fits, x.users))
    source = x.args[0] if kind(x) == "getitem" else x
    made = "modulate_fp8"
    with graph.inserting_after(x):
        place = graph.call_function(stored, (x,))  # marks the place
    with graph.inserting_before(place):
        if alone and kind(source) == "modulate":
            node = call(graph, APPROXIMATE[made], source.args)
        elif alone and kind(source) == "gated_modulate" and source.args[2] is not None:
            node = call(graph, APPROXIMATE[made], (split(graph, source), *source.args[GATED:]))
        else:
            made = "quantize"
            node = call(graph, APPROXIMATE[made], (x,))
        both = picked(graph, node, 2)
    graph.erase_node(place)
    used[made] += 1
    return both


def split(graph: Graph, node: Node) -> Node:
    """Take the gated residual out of a modulation that quantises.  → the new residual."""
    with graph.inserting_before(node):
        total = call(graph, TEMPLATES["gated_residual"], node.args[:GATED])
    for user in list(node.users):
        if user.args[1] == 0:
            user.replace_all_uses_with(total)
            total.meta["val"] = user.meta["val"]
    return total


def multiply(graph: Graph, node: Node, quantized: list[Node]) -> None:
    """Put the product in fp8 in a linear layer's place."""
    with graph.inserting_before(node):
        weight = picked(graph, graph.call_function(stored, (node.args[1],)), 2)
        args = (*quantized, *weight, argument(node, "bias"), torch.bfloat16)
        product = call(graph, APPROXIMATE["linear_fp8"], args)
    product.meta["val"] = node.meta["val"]
    node.replace_all_uses_with(product)
    graph.erase_node(node)
