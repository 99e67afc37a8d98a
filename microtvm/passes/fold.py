"""Constant folding: nodes that read only constants are evaluated."""

from __future__ import annotations

from dataclasses import replace

from microtvm.graph.ir import Graph, Node
from microtvm.ops.base import NodeContext
from microtvm.ops.evaluate import fold_node
from microtvm.passes.rewrite import fresh
from microtvm.util import Array


def fold_constants(graph: Graph) -> Graph:
    """The graph with the results of nodes that read only constants as constants.

    An output of the graph is always made by a node: there a `copy` of the constant takes its place.
    """
    for node in graph.nodes:
        results = None if node.op == "copy" else fold_node(NodeContext.of(graph, node))
        if results is not None:
            graph = _fold(graph, node, results)
    return graph.pruned()


def _fold(graph: Graph, node: Node, results: list[Array]) -> Graph:
    constants, types = dict(graph.constants), dict(graph.types)
    copies: list[Node] = []
    for value, array in zip(node.outputs, results, strict=True):
        name = value
        if value in graph.outputs:
            name = fresh(graph, f"{value}_folded")
            types[name] = types[value]
            copies.append(replace(node, op="copy", inputs=(name,), outputs=(value,), attrs={}))
        constants[name] = array
    at = graph.nodes.index(node)
    nodes = (*graph.nodes[:at], *copies, *graph.nodes[at + 1 :])
    return replace(graph, nodes=nodes, constants=constants, types=types)
