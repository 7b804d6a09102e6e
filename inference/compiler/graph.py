"""What the operators of a captured graph are: views, casts, products; what bytes each moves.

Works on undecomposed ATen (`torch.export`, or a pre-dispatch trace): `linear`, `layer_norm`,
`silu` are single nodes. Shapes come from `node.meta["val"]`; a symbolic size counts as its hint.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph, Node

VIEWS = {
    "view", "reshape", "_unsafe_view", "unflatten", "flatten", "permute", "transpose", "t",
    "unsqueeze", "squeeze", "expand", "expand_as", "slice", "select", "chunk", "split",
    "split_with_sizes", "unbind", "getitem", "narrow", "movedim", "view_as", "detach", "alias",
    "contiguous", "view_as_real", "view_as_complex",
}  # fmt: skip
CASTS = {"to", "type_as", "_to_copy"}
PRODUCTS = {
    "linear", "addmm", "mm", "bmm", "matmul", "conv1d", "conv2d", "conv3d", "convolution",
    "scaled_dot_product_attention",
}  # fmt: skip
FREE = {"empty_like", "empty", "sym_size", "lift_fresh_copy", "_assert_tensor_metadata"}


def kind(node: object) -> str:
    """Name an operator without its overload: `mul`, `layer_norm`; "" for what is none."""
    if not isinstance(node, Node) or node.op != "call_function":
        return ""
    if node.target is operator.getitem:
        return "getitem"
    return str(getattr(getattr(node.target, "overloadpacket", node.target), "__name__", ""))


def argument(node: Node, name: str) -> Any:
    """Give an operator's argument by its schema's name, however it was passed; or its default."""
    target: Any = node.target
    for index, one in enumerate(target._schema.arguments):
        if one.name == name:
            given = node.args[index] if index < len(node.args) else one.default_value
            return node.kwargs.get(name, given)
    return None


def value(node: Node) -> Any:
    """Give the shapes-only tensor that stands for a node's result, or what else it yields."""
    return node.meta.get("val", node.meta.get("example_value"))


def dtype(node: Node) -> torch.dtype:
    """Name a node's dtype."""
    found: torch.dtype = value(node).dtype
    return found


def hint(size: Any) -> int:
    """Give a size as a number without fixing a symbol to it."""
    return size if isinstance(size, int) else int(size.node.hint)


def shape(node: Node) -> tuple[int, ...]:
    """Give a node's shape in numbers; () for what is no tensor."""
    found = value(node)
    return tuple(map(hint, found.shape)) if isinstance(found, Tensor) else ()


def size_bytes(node: Node) -> int:
    """Count the bytes of a node's tensor."""
    found = value(node)
    return prod(shape(node)) * found.element_size() if isinstance(found, Tensor) else 0


def moved_bytes(inputs: Iterable[Node], outputs: Iterable[Node]) -> int:
    """Bytes read and written by one kernel that touches each operand once."""
    return sum(map(size_bytes, dict.fromkeys(inputs))) + sum(map(size_bytes, outputs))


def is_kernel(node: Node) -> bool:
    """Tell whether eager starts a kernel for it that is neither a product nor attention."""
    name = kind(node)
    free = not name or name in VIEWS or name in PRODUCTS or name in FREE
    return not free and isinstance(value(node), Tensor) and not is_idle(node)


def kernel_bytes(node: Node) -> int:
    """Bytes that eager moves for one kernel; a group norm reads its input twice."""
    inputs = node.all_input_nodes[1:] if kind(node) == "copy_" else node.all_input_nodes
    twice = size_bytes(inputs[0]) if kind(node) == "group_norm" else 0
    return moved_bytes(inputs, [node]) + twice


def is_idle(node: Node) -> bool:
    """Tell whether a node hands on its input as it is: no cast, no dropout, already contiguous."""
    name = kind(node)
    if name not in CASTS and name not in ("dropout", "contiguous"):
        return False
    before, after = value(node.args[0]), value(node)
    if name == "dropout":
        return not argument(node, "train") or argument(node, "p") == 0
    if name == "contiguous":
        return before.stride() == after.stride() and not node.kwargs
    alike = before.dtype == after.dtype and before.device == after.device
    return alike and not node.kwargs.get("copy") and "memory_format" not in node.kwargs


def is_one(node: Node) -> bool:
    """Tell whether a node multiplies or divides by the number 1, which eager does in full."""
    name, args = kind(node), node.args
    plain = name in ("mul", "div") and not node.kwargs and not isinstance(args[1], Node)
    return plain and args[1] == 1 and dtype(node) == dtype(args[0])


def rejoined(node: Node) -> Node | None:
    """Give x where a node is cat([x[:n], x[n:]]) along the same dimension, else None."""
    if kind(node) != "cat" or len(node.args[0]) != 2:
        return None
    first, second = node.args[0]
    if kind(first) != "slice" or kind(second) != "slice" or first.args[0] is not second.args[0]:
        return None
    whole, middle, dim = first.args[0], argument(first, "end"), argument(node, "dim")
    meet = argument(second, "start") == middle and argument(second, "end") == END
    begin = argument(first, "start") in (0, None)
    alike = {argument(one, "dim") for one in (first, second)} == {dim}
    steps = {argument(one, "step") for one in (first, second)} == {1}
    return whole if begin and meet and alike and steps else None


END = torch.iinfo(torch.int64).max  # what `x[n:]` has for its end


def mutated(graph: Graph) -> set[Node]:
    """Find every tensor that some operator writes into, through whatever view."""
    written: set[Node] = set()
    for node in graph.nodes:
        if kind(node).endswith("_") and not kind(node).startswith("_"):
            target = node.args[0]
            written.add(target)
            while kind(target) in VIEWS:
                target = target.args[0]
                written.add(target)
    return written


def tokens(graph: Graph) -> set[Node]:
    """Find all that depends on a product over tokens, as against tables and time embeddings."""
    found: set[Node] = set()
    for node in graph.nodes:
        starts = kind(node) in PRODUCTS and len(shape(node)) >= 3
        if starts or not found.isdisjoint(node.all_input_nodes):
            found.add(node)
    return found
