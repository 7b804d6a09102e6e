"""Read chains of operators upwards from their last node: norms, rotations, gated sums, activations.

A reader records every node that it passes in a `Trail` and returns the operands, or raises
`Mismatch`. It looks at structure alone: names of modules and stack traces mean nothing to it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch.fx import Node

from inference.compiler.graph import CASTS, VIEWS, argument, dtype, kind, shape

HALF = (torch.float16, torch.bfloat16)


class Mismatch(Exception):
    """The chain is another one."""


@dataclass
class Trail:
    """Nodes that a match replaces, each with the letter of the pattern that it counts for."""

    letter: str
    nodes: dict[Node, str] = field(default_factory=dict)

    def step(self, node: object, *kinds: str, letter: str = "") -> Node:
        """Record a node of one of these kinds and return it."""
        if not isinstance(node, Node) or kind(node) not in kinds:
            raise Mismatch
        self.nodes[node] = letter or self.letter
        return node

    def unwiden(self, node: Node) -> Node:
        """Go above a cast to more bytes that serves this chain alone."""
        if kind(node) not in CASTS or narrowing(node) or len(node.users) > 1:
            return node
        above: Node = self.step(node, *CASTS).args[0]
        return above

    def unnarrow(self, node: Node) -> Node:
        """Go above a cast to fewer bytes."""
        return self.step(node, *CASTS).args[0] if narrowing(node) else node


def demand(fact: object) -> None:
    """Raise Mismatch unless it is so."""
    if not fact:
        raise Mismatch


def either(node: Node, wanted: Callable[[Node], bool]) -> tuple[Node, Node]:
    """Give a commutative operator's operands, the wanted one first."""
    demand(len(node.args) == 2 and not node.kwargs)
    first, second = node.args
    demand(isinstance(first, Node) and isinstance(second, Node))
    if wanted(first):
        return first, second
    demand(wanted(second))
    return second, first


def source(node: Node) -> Node:
    """Go above all views."""
    while kind(node) in VIEWS:
        node = node.args[0]
    return node


def fed(node: Node) -> Node:
    """Go above the views between a computation and attention."""
    while kind(node) in VIEWS and kind(node.args[0]) != "view_as_real":
        node = node.args[0]
    return node


def joined(node: Node) -> tuple[list[Node], int]:
    """Give the parts of a concatenation and its dimension."""
    demand(kind(node) == "cat")
    return argument(node, "tensors"), argument(node, "dim")


def narrowing(node: Node) -> bool:
    """Tell whether a node casts to fewer bytes."""
    return kind(node) in CASTS and dtype(node).itemsize < dtype(node.args[0]).itemsize


def settled(node: Node) -> Node:
    """Give the cast to fewer bytes that alone uses a node, else the node."""
    users = list(node.users)
    return users[0] if len(users) == 1 and narrowing(users[0]) else node


# --- norms ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Norm:
    """The operands of kernels/norm.py's `normalize`."""

    x: Node
    weight: Node | None
    bias: Node | None
    eps: float
    kind: str


def norm(trail: Trail, node: Node) -> Norm:
    """Read layer_norm, rms_norm, or diffusers' RMSNorm written out."""
    if kind(node) not in ("layer_norm", "rms_norm"):
        return written_norm(trail, node)
    trail.step(node, "layer_norm", "rms_norm")
    eps = argument(node, "eps")
    demand(len(argument(node, "normalized_shape")) == 1 and isinstance(eps, float))
    operands = (node.args[0], argument(node, "weight"), argument(node, "bias"))
    return Norm(*operands, eps, "layer" if kind(node) == "layer_norm" else "rms")


def written_norm(trail: Trail, node: Node) -> Norm:
    """Read x·rsqrt(mean(float(x)²) + eps), rounded to half, times weight."""
    weight = None
    if kind(node) == "mul" and not any(kind(arg) == "rsqrt" for arg in node.args):
        trail.step(node, "mul")
        weight, node = either(node, lambda arg: len(shape(arg)) == 1)
    rounded = dtype(node)
    node = trail.step(trail.unnarrow(node), "mul")
    root, x = either(node, lambda arg: kind(arg) == "rsqrt")
    total = trail.step(trail.step(root, "rsqrt").args[0], "add")
    mean = trail.step(total.args[0], "mean")
    square = trail.step(mean.args[0], "pow")
    demand(trail.unwiden(square.args[0]) is x and square.args[1] == 2)
    demand(argument(mean, "dim") in ([-1], [len(shape(x)) - 1]) and argument(mean, "keepdim"))
    demand(isinstance(total.args[1], float))
    demand(rounded == rounding(x, weight))
    return Norm(x, weight, None, total.args[1], "rms32")


def rounding(x: Node, weight: Node | None) -> torch.dtype:
    """Name the dtype in which diffusers' RMSNorm meets its weight."""
    if weight is None:
        return dtype(x)
    return dtype(weight) if dtype(weight) in HALF else torch.float32


@dataclass(frozen=True)
class ChannelNorm:
    """The operands of kernels/channel_norm_silu.py, all but the activation."""

    x: Node
    weight: Node | None
    eps: float
    kind: str
    scale: float


def unit_norm(trail: Trail, node: Node) -> ChannelNorm:
    """Read normalize(float(x)) over channels, rounded, times a number and a weight, plus 0."""
    total = trail.step(node, "add")
    demand(total.args[1] == 0 and not isinstance(total.args[1], Node))
    weighted = trail.step(total.args[0], "mul")
    weight, scaled = either(weighted, lambda arg: shape(arg) != shape(weighted))
    trail.step(scaled, "mul")
    scale = scaled.args[1]
    demand(isinstance(scale, float) and shape(weight) == by_channel(weighted))
    wide, eps = unit(trail, trail.unnarrow(scaled.args[0]))
    x = trail.step(wide, *CASTS).args[0] if kind(wide) in CASTS else wide
    demand(dtype(wide) == torch.float32 and dtype(x) == dtype(scaled) == dtype(total))
    return ChannelNorm(x, weight, eps, "unit", scale)


def by_channel(node: Node) -> tuple[int, ...]:
    """Give the shape of one number for each channel of (B, C, ...)."""
    _, channels, *rest = shape(node)
    return (channels, *(1 for _ in rest))


def unit(trail: Trail, node: Node) -> tuple[Node, float]:
    """Read x / max(‖x‖, eps) over channels.  → x and eps."""
    x, spread = trail.step(node, "div").args
    least = trail.step(trail.step(spread, "expand_as").args[0], "clamp_min")
    length = trail.step(least.args[0], "linalg_vector_norm")
    demand(spread.args[1] is x and length.args[:4] == (x, 2, [1], True))
    return x, least.args[1]


def moved_norm(trail: Trail, node: Node) -> ChannelNorm:
    """Read diffusers' RMSNorm between two moves of channels, to the end and back."""
    last = len(shape(node)) - 1
    demand(trail.step(node, "movedim").args[1:] in ((-1, 1), (last, 1)))
    found = written_norm(trail, node.args[0])
    demand(found.bias is None and dtype(node) == dtype(found.x))
    demand(trail.step(found.x, "movedim").args[1:] in ((1, -1), (1, last)))
    return ChannelNorm(found.x.args[0], found.weight, found.eps, found.kind, 1.0)


# --- rotations -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rotation:
    """The operands of kernels/qk_norm_rope.py's `rotate`."""

    x: Node
    cos: Node
    sin: Node | None
    rope: str


def rotation(trail: Trail, node: Node) -> Rotation:
    """Read a rotation in any of its three spellings, the last cast included."""
    if kind(node) == "empty_like":
        return pairs_rotation(trail, node)
    node = trail.unnarrow(node)
    return full_rotation(trail, node) if kind(node) == "add" else complex_rotation(trail, node)


def full_rotation(trail: Trail, node: Node) -> Rotation:
    """Read float(x)·cos + float(stack(-odd, even))·sin."""
    left, right = trail.step(node, "add").args
    turned, sin = either(trail.step(right, "mul"), is_turned)
    stack = trail.step(trail.step(trail.unwiden(turned), "flatten").args[0], "stack")
    negative, even = stack.args[0]
    x = halves(trail, trail.step(negative, "neg").args[0], even)
    straight, cos = either(trail.step(left, "mul"), lambda arg: uncast_source(arg) is x)
    demand(trail.unwiden(straight) is x and dtype(node) == torch.float32)
    return Rotation(x, cos, sin, "full")


def is_turned(node: Node) -> bool:
    """Tell whether a node is a flattened stack, cast or not."""
    return kind(uncast_source(node)) == "flatten"


def uncast_source(node: Node) -> Node:
    """Go above casts, whoever else uses them."""
    while kind(node) in CASTS:
        node = node.args[0]
    return node


def halves(trail: Trail, odd: Node, even: Node) -> Node:
    """Read the split of x's last dimension into neighbours, and return x."""
    for index, half in ((1, odd), (0, even)):
        demand(trail.step(half, "getitem").args[1] == index)
    demand(odd.args[0] is even.args[0])
    unbind = trail.step(odd.args[0], "unbind")
    pairs = trail.step(unbind.args[0], "reshape", "unflatten", "view")
    x = pairs.args[0]
    demand(shape(pairs)[-1] == 2 and shape(pairs)[:-2] == shape(x)[:-1])
    demand(argument(unbind, "dim") in (-1, len(shape(x))))
    return x


def pairs_rotation(trail: Trail, node: Node) -> Rotation:
    """Read two writes into the even and odd places of an empty tensor."""
    trail.step(node, "empty_like")
    slices = [user for user in node.users if kind(user) == "slice"]
    demand([(argument(one, "start"), argument(one, "step")) for one in slices] == [(0, 2), (1, 2)])
    writes = [trail.step(next(iter(trail.step(one, "slice").users)), "copy_") for one in slices]
    minus, plus = trail.step(writes[0].args[1], "sub"), trail.step(writes[1].args[1], "add")
    (even, cos), (odd, sin) = (trail.step(arg, "mul").args for arg in minus.args)
    demand([trail.step(arg, "mul").args for arg in plus.args] == [(even, sin), (odd, cos)])
    x = halves(trail, odd, even)
    demand(node.args[0] is x)
    return Rotation(x, cos, sin, "pairs")


def complex_rotation(trail: Trail, node: Node) -> Rotation:
    """Read a product of complex numbers."""
    real = trail.step(trail.step(node, "flatten").args[0], "view_as_real")
    product = trail.step(real.args[0], "mul")
    number, table = either(product, lambda arg: kind(arg) == "view_as_complex")
    pairs = trail.step(trail.step(number, "view_as_complex").args[0], "reshape", "unflatten")
    demand(shape(pairs)[-1] == 2 and shape(pairs)[:-2] == shape(pairs.args[0])[:-1])
    return Rotation(trail.unwiden(pairs.args[0]), table, None, "complex")


# --- sums and activations ------------------------------------------------------------------------


@dataclass(frozen=True)
class Sum:
    """residual + gate·y, or residual + y where gate is None."""

    residual: Node
    y: Node
    gate: Node | None
    compute: torch.dtype
    out: torch.dtype


def gated_sum(trail: Trail, node: Node) -> Sum:
    """Read residual + gate·y; the gate is what is smaller than y."""
    total = trail.step(trail.unnarrow(node), "add")
    product, residual = either(total, lambda arg: is_gating(arg, shape(total)))
    gate, y = either(trail.step(product, "mul"), lambda arg: shape(arg) != shape(total))
    demand(dtype(product) == dtype(total) and shape(residual) == shape(total))
    return Sum(trail.unwiden(residual), trail.unwiden(y), gate, dtype(total), dtype(node))


def is_gating(node: Node, whole: tuple[int, ...]) -> bool:
    """Tell whether a node multiplies something whole by something that is broadcast."""
    operands = [arg for arg in node.args if isinstance(arg, Node)] if kind(node) == "mul" else []
    return len(operands) == 2 and [shape(arg) == whole for arg in operands].count(True) == 1


def plain_sum(trail: Trail, node: Node) -> Sum:
    """Read residual + y."""
    total = trail.step(node, "add")
    residual, y = either(total, lambda arg: shape(arg) == shape(total))
    demand(shape(y) == shape(total) and dtype(residual) == dtype(y))
    return Sum(residual, y, None, dtype(total), dtype(total))


def activation(trail: Trail, node: Node) -> tuple[Node, Node | None, str]:
    """Read gelu or silu of a linear layer, or that times its other half: (x, up, kind)."""
    up = None
    if kind(node) == "mul":
        trail.step(node, "mul")
        node, up = either(node, lambda arg: kind(arg) in ("gelu", "silu"))
        demand(is_linear(up) and shape(up) == shape(node))
    trail.step(node, "gelu", "silu")
    x = node.args[0]
    demand(is_linear(x) and len(shape(x)) >= 3)
    if kind(node) == "silu":
        return x, up, "silu"
    return x, up, "gelu_tanh" if argument(node, "approximate") == "tanh" else "gelu_erf"


def is_linear(node: Node) -> bool:
    """Tell whether a node comes of a linear layer, or of one with an adapter's part added."""
    found = source(node)
    if kind(found) != "add":
        return kind(found) == "linear"
    return all(kind(source(arg)) == "linear" for arg in found.args if isinstance(arg, Node))
