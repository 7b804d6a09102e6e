"""Put templates where they matched: each match becomes one custom op behind its operands."""

from __future__ import annotations

import operator
from typing import Any

from torch.fx import Graph, GraphModule, Node
from torch.fx.passes.tools_common import stable_topological_sort

from inference.compiler.match import KEPT, Again, Match
from inference.kernels import TEMPLATES

Renamed = dict[Node, Node]


def emit(module: GraphModule, matches: list[Match]) -> None:
    """Rewrite a graph in place and compile it."""
    renamed: Renamed = {}
    for match in matches:
        if match.template != KEPT:
            renamed |= replace(module.graph, match, renamed)
    stable_topological_sort(module)  # a sum is handed on earlier than what is fused behind it
    module.graph.eliminate_dead_code()
    module.graph.lint()
    module.recompile()


def replace(graph: Graph, match: Match, renamed: Renamed) -> Renamed:
    """Call the template in place of the match's nodes.  → its outputs' new names."""
    with graph.inserting_before(match.outputs[-1]):
        args = tuple(placed(graph, arg, renamed) for arg in match.args)
        call = graph.call_function(TEMPLATES[match.template].op._opoverload, args)
        results = [call] if len(match.outputs) == 1 else picked(graph, call, len(match.outputs))
    call.meta["val"] = tuple(out.meta["val"] for out in match.outputs)
    for out, result in zip(match.outputs, results, strict=True):
        result.meta["val"] = out.meta["val"]
        out.replace_all_uses_with(result, lambda user: user not in match.nodes)
    erase(graph, set(match.nodes))
    return dict(zip(match.outputs, results, strict=True))


def placed(graph: Graph, arg: Any, renamed: Renamed) -> Any:
    """Turn a match's argument into a node's: under its new name, a view taken again if need be."""
    if isinstance(arg, list | tuple):
        return [placed(graph, one, renamed) for one in arg]
    if isinstance(arg, Again):
        of = placed(graph, arg.of, renamed)
        view = graph.call_function(arg.view.target, (of, *arg.view.args[1:]), arg.view.kwargs)
        view.meta["val"] = arg.view.meta["val"]
        return view
    return renamed.get(arg, arg) if isinstance(arg, Node) else arg


def picked(graph: Graph, call: Node, count: int) -> list[Node]:
    """Take a call's results apart."""
    return [graph.call_function(operator.getitem, (call, index)) for index in range(count)]


def erase(graph: Graph, nodes: set[Node]) -> None:
    """Erase nodes, users before what they use."""
    while nodes:
        unused = [node for node in nodes if not node.users]
        for node in unused:
            graph.erase_node(node)
        nodes.difference_update(unused)
