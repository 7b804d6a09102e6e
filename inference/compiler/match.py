"""Find the sites where a template can stand in: structural matchers over a captured graph.

Each matcher starts at the last node of its pattern and gives back a `Match`, or nothing. What a
match may replace, and that no two overlap, is checked in `find`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from torch.fx import Graph, Node

from inference.compiler import chains
from inference.compiler.chains import Mismatch, Norm, Rotation, Sum, Trail, demand, settled
from inference.compiler.graph import VIEWS, argument, dtype, kind, mutated, shape, tokens

KEPT = ""  # the template of what is counted and left as it is


@dataclass(frozen=True)
class Again:
    """An operand: the same view as `view`, but of another tensor."""

    view: Node
    of: Node | Again


@dataclass(frozen=True)
class Match:
    """One site.

    `args`: the template's arguments in order, nodes and switches; `outputs`: the nodes whose uses
    its results take over; `nodes`: all that goes away, by the pattern letter it counts for;
    `sites`: how many of each pattern it covers. `product`: products do it, and move no more for it.
    """

    template: str
    args: tuple[Any, ...]
    outputs: tuple[Node, ...]
    nodes: dict[Node, str]
    sites: dict[str, int]
    product: bool = False

    @property
    def operands(self) -> list[Node]:
        """Every node that the template reads."""
        return list(dict.fromkeys(operands_of(self.args)))


def operands_of(arg: Any) -> Iterator[Node]:
    """Walk the nodes in arguments."""
    if isinstance(arg, Node):
        yield arg
    elif isinstance(arg, Again):
        yield from operands_of(arg.of)
    elif isinstance(arg, list | tuple):
        for one in arg:
            yield from operands_of(one)


# --- A: queries and keys -------------------------------------------------------------------------


@dataclass(frozen=True)
class Part:
    """Text or image inside one attention operand."""

    norm: Norm
    x: Node | Again
    turn: Rotation | None
    heads: int


def qk_norm_rope(end: Node) -> Match:
    """Read what is fed to attention: [rotation] of a norm, or of several joined."""
    trail = Trail("A")
    turn = rotation_or_none(trail, end)
    inner = turn.x if turn else end
    joint = kind(inner) == "cat"
    parts, dim = chains.joined(trail.step(inner, "cat", letter="E")) if joint else ([inner], 0)
    read = [part(trail, one, None if joint else turn) for one in parts]
    first = read[0]
    turns = [turn] if joint and turn else [one.turn for one in read]
    ropes = {one.rope for one in turns if one}
    alike = {(one.norm.eps, one.norm.kind, one.heads) for one in read}
    demand(len(alike) == 1 and len(ropes) <= 1)
    args = (
        [one.x for one in read],
        [one.norm.weight for one in read],
        [one and one.cos for one in turns] if ropes else [],
        [one and one.sin for one in turns] if ropes else [],
        first.norm.eps,
        first.norm.kind,
        ropes.pop() if ropes else "none",
        first.heads,
        dim,
    )
    norms = len({one.norm.x for one in read})
    return Match("qk_norm_rope", args, (end,), trail.nodes, {"A": norms, "E": int(joint)})


def part(trail: Trail, node: Node, turn: Rotation | None) -> Part:
    """Read one part: [rotation], [slice of both streams], [split into heads], norm."""
    own = None if turn else rotation_or_none(trail, node)
    node = own.x if own else node
    window = trail.step(node, "slice") if kind(node) == "slice" else None
    node = window.args[0] if window else node
    heads = 0
    if kind(node) in VIEWS and not window:
        split = trail.step(node, "unflatten", "view", "reshape")
        node, heads = split.args[0], shape(split)[-2]
        demand(shape(split) == (*shape(node)[:-1], heads, shape(node)[-1] // heads))
    norm = chains.norm(trail, node)
    demand(norm.bias is None)
    return Part(norm, Again(window, norm.x) if window else norm.x, turn or own, heads)


def rotation_or_none(trail: Trail, node: Node) -> Rotation | None:
    """Read a rotation where there is one."""
    tried = Trail(trail.letter)
    with suppress(Mismatch):
        turn = chains.rotation(tried, node)
        trail.nodes.update(tried.nodes)
        return turn
    return None


# --- B, C: modulation and gated residuals ---------------------------------------------------------


def is_one_plus(node: Node) -> bool:
    """Tell whether a node is 1 + scale, seen through views."""
    found = chains.source(node)
    return kind(found) == "add" and any(arg == 1 for arg in found.args[:2])


def scale_of(trail: Trail, node: Node) -> Node | Again:
    """Read 1 + scale through views, which are then taken of the scale instead."""
    if kind(node) == "add":
        first, second = trail.step(node, "add").args
        scale: Node = first if isinstance(first, Node) else second
        return scale
    view = trail.step(node, *VIEWS)
    return Again(view, scale_of(trail, view.args[0]))


def modulate(end: Node) -> Match:
    """Read norm(x)·(1 + scale) + shift, with the casts around and between."""
    trail, end = Trail("B"), settled(end)
    norm, args = modulation(trail, end)
    return Match("modulate", (norm.x, *args), (end,), trail.nodes, {"B": 1})


def gated_modulate(end: Node) -> Match:
    """Read `modulate` of a residual sum, which is also handed on."""
    trail, front, end = Trail("B"), Trail("C"), settled(end)
    norm, args = modulation(trail, end)
    total = any_sum(front, norm.x)
    start = (total.residual, total.y, total.gate, total.compute, total.out)
    nodes = front.nodes | trail.nodes
    return Match("gated_modulate", (*start, *args), (norm.x, end), nodes, {front.letter: 1, "B": 1})


def modulation(trail: Trail, end: Node) -> tuple[Norm, tuple[Any, ...]]:
    """Read from the last cast up to the norm's input; the template's arguments after x."""
    total = trail.step(trail.unnarrow(end), "add")
    product, shift = chains.either(total, lambda arg: kind(arg) == "mul")
    factor, normed = chains.either(trail.step(product, "mul"), is_one_plus)
    scale = scale_of(trail, factor)
    norm, compute = cast_norm(trail, normed)
    dtypes = (compute, dtype(normed), dtype(end))
    return norm, (norm.weight, norm.bias, scale, shift, norm.eps, norm.kind, *dtypes)


def cast_norm(trail: Trail, node: Node) -> tuple[Norm, Any]:
    """Read a norm with the casts before and behind it; its x is what stands before the casts."""
    inner = chains.uncast_source(node)
    if kind(inner) in ("layer_norm", "rms_norm"):
        demand(trail.unnarrow(node) is inner)
        node = inner
    norm = chains.norm(trail, node)
    if norm.kind == "rms32":
        return norm, dtype(norm.x)
    x = trail.unwiden(norm.x)
    return Norm(x, norm.weight, norm.bias, norm.eps, norm.kind), dtype(norm.x)


def any_sum(trail: Trail, node: Node) -> Sum:
    """Read a gated sum (C) or a plain one (F) into `trail`, whose letter follows."""
    tried = Trail("C")
    with suppress(Mismatch):
        total = chains.gated_sum(tried, node)
        trail.nodes.update(tried.nodes)
        return total
    trail.letter = "F"
    return chains.plain_sum(trail, node)


def gated_residual(end: Node) -> Match:
    """Read residual + gate·y."""
    trail, end = Trail("C"), settled(end)
    total = chains.gated_sum(trail, end)
    args = (total.residual, total.y, total.gate, total.compute, total.out)
    return Match("gated_residual", args, (end,), trail.nodes, {"C": 1})


# --- D, E, F, G -----------------------------------------------------------------------------------


def activation(end: Node) -> Match:
    """Read an activation behind a linear layer."""
    trail = Trail("D")
    args = chains.activation(trail, end)
    return Match("activation", args, (end,), trail.nodes, {"D": 1})


def concat(end: Node) -> Match:
    """Read a concatenation with at least one activation among its parts."""
    trail = Trail("D")
    parts, dim = chains.joined(trail.step(end, "cat", letter="E"))
    read = [activated(trail, one) for one in parts]
    active = sum(how != "none" for _, _, how in read)
    demand(active)
    xs, ups, kinds = zip(*read, strict=True)
    args = (list(xs), list(ups), ",".join(kinds), dim)
    return Match("concat", args, (end,), trail.nodes, {"D": active, "E": 1})


def activated(trail: Trail, node: Node) -> tuple[Node, Node | None, str]:
    """Read an activation that serves this concatenation alone, or take the part as it is."""
    tried = Trail("D")
    with suppress(Mismatch):
        found = chains.activation(tried, node)
        if len(node.users) == 1:
            trail.nodes.update(tried.nodes)
            return found
    return node, None, "none"


def sliced(end: Node) -> Match:
    """Read a concatenation over tokens of linear layers, which may be split into heads."""
    trail = Trail("E")
    parts, dim = chains.joined(trail.step(end, "cat"))
    read = [split_linear(trail, one) for one in parts]
    layers = [layer for layer, _ in read]
    demand(dim == 1 and len({heads for _, heads in read}) == 1)
    demand(all(len(shape(one)) == 3 and len(one.users) == 1 for one in layers))
    args = (
        [argument(one, "input") for one in layers],
        [argument(one, "weight") for one in layers],
        [argument(one, "bias") for one in layers],
        read[0][1],
    )
    return Match("linears", args, (end,), trail.nodes, {"E": 1}, product=True)


def split_linear(trail: Trail, node: Node) -> tuple[Node, int]:
    """Read a linear layer and the split of its output into heads, if any.  → layer, heads or 0."""
    if kind(node) == "linear":
        return trail.step(node, "linear"), 0
    split = trail.step(node, "unflatten", "view", "reshape")
    layer = trail.step(split.args[0], "linear")
    demand(len(shape(split)) == 4 and shape(split)[:2] == shape(layer)[:2])
    return layer, shape(split)[2]


def plain_norm(end: Node) -> Match:
    """Read a norm with the casts around it."""
    trail, end = Trail("F"), settled(end)
    norm, compute = cast_norm(trail, end)
    args = (norm.x, norm.weight, norm.bias, norm.eps, norm.kind, compute, dtype(end))
    return Match("norm", args, (end,), trail.nodes, {"F": 1})


def group_norm_silu(end: Node) -> Match:
    """Read a group norm and the SiLU that alone uses it."""
    trail = Trail("G")
    names = ("input", "weight", "bias", "num_groups", "eps")
    operands = tuple(argument(trail.step(end, "group_norm"), name) for name in names)
    user = next(iter(end.users))
    silu = len(end.users) == 1 and kind(user) == "silu"
    end = trail.step(user, "silu") if silu else end
    return Match("group_norm_silu", (*operands, silu), (end,), trail.nodes, {"G": 1})


def channel_norm_silu(end: Node) -> Match:
    """Read a norm over channels and the SiLU that alone uses it."""
    trail = Trail("G")
    read = chains.moved_norm if kind(end) == "movedim" else chains.unit_norm
    norm = read(trail, end)
    user = next(iter(end.users))
    silu = len(end.users) == 1 and kind(user) == "silu"
    end = trail.step(user, "silu") if silu else end
    args = (norm.x, norm.weight, norm.eps, norm.kind, norm.scale, silu)
    return Match("channel_norm_silu", args, (end,), trail.nodes, {"G": 1})


def kept_cat(end: Node) -> Match:
    """Count a concatenation that stays."""
    return Match(KEPT, (), (end,), {end: "E"}, {"E": 1})


def kept_add(end: Node) -> Match:
    """Count a residual add that stays."""
    demand(len(shape(end)) >= 3 and all(isinstance(arg, Node) for arg in end.args))
    return Match(KEPT, (), (end,), {end: "F"}, {"F": 1})


# Tried in this order, each over the whole graph: what covers most comes first.
RULES: list[tuple[frozenset[str], Callable[[Node], Match]]] = [
    (frozenset({"add"}), gated_modulate),
    (frozenset({"add"}), modulate),
    (frozenset({"add"}), gated_residual),
    (frozenset({"cat"}), concat),
    (frozenset({"cat"}), sliced),
    (frozenset({"mul", "gelu", "silu"}), activation),
    (frozenset({"add", "movedim"}), channel_norm_silu),
    (frozenset({"layer_norm", "rms_norm", "mul"}), plain_norm),
    (frozenset({"group_norm"}), group_norm_silu),
    (frozenset({"cat"}), kept_cat),
    (frozenset({"add"}), kept_add),
]
# Only on streams of tokens: elsewhere the same shape is a time embedding or a table.
STREAMED = {gated_residual, concat, sliced, activation, kept_cat, kept_add}


def candidates(graph: Graph, *, slices: bool) -> Iterator[Match]:
    """Try every matcher where it may end."""
    for node in graph.nodes:
        if "scaled_dot_product" in kind(node):
            for operand in node.args[:2]:
                yield from attempt(qk_norm_rope, chains.fed(operand))
    nodes, streams = list(reversed(graph.nodes)), tokens(graph)  # the outermost chain first
    for kinds, rule in RULES:
        for node in nodes if slices or rule is not sliced else ():
            if kind(node) in kinds and (node in streams or rule not in STREAMED):
                yield from attempt(rule, node)


def attempt(rule: Callable[[Node], Match], node: Node) -> Iterator[Match]:
    """Yield a rule's match, if it has one."""
    with suppress(Mismatch):
        yield rule(node)


def find(graph: Graph, *, slices: bool = True) -> list[Match]:
    """All matches that may be replaced, none overlapping another, in the order of the graph.

    slices: products may become one with the concatenation of their outputs.
    """
    place = {node: index for index, node in enumerate(graph.nodes)}
    taken: set[Node] = set()
    found = []
    written = mutated(graph)
    for match in candidates(graph, slices=slices):
        if taken.isdisjoint(match.nodes) and is_legal(match, place, written):
            taken |= match.nodes.keys()
            found.append(match)
    return sorted(found, key=lambda match: place[match.outputs[-1]])


def is_legal(match: Match, place: dict[Node, int], written: set[Node]) -> bool:
    """Tell whether nothing outside needs what goes away, or stands between its input and output."""
    inside, outputs = match.nodes.keys(), set(match.outputs)
    private = all(user in inside for node in inside - outputs for user in node.users)
    fresh = all(chains.source(operand) not in written for operand in match.operands)
    return private and fresh and is_convex(match, place)


def is_convex(match: Match, place: dict[Node, int]) -> bool:
    """Tell whether no path leads from an output through other nodes to an operand."""
    operands = set(match.operands)
    last = max((place[node] for node in operands), default=-1)
    open_nodes = [u for out in match.outputs for u in out.users if u not in match.nodes]
    seen: set[Node] = set()
    while open_nodes:
        node = open_nodes.pop()
        if node in operands:
            return False
        if node not in seen and place[node] < last:
            seen.add(node)
            open_nodes.extend(node.users)
    return True
