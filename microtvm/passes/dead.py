"""Dead code: nodes and values from which no output can be reached."""

from __future__ import annotations

from dataclasses import replace

from microtvm.graph.ir import Graph, Node


def remove_dead(graph: Graph) -> Graph:
    """The graph without nodes that nothing needs, and without what only they needed.

    Inputs stay, even unused ones: they are what the caller gives.
    """
    needed = set(graph.outputs)
    kept: list[Node] = []
    for node in reversed(graph.nodes):
        if needed.intersection(node.outputs):
            needed.update(node.inputs)
            kept.append(node)
    absorbed = _still_there(graph, needed | set(graph.inputs))
    return replace(graph, nodes=tuple(reversed(kept)), absorbed=absorbed).pruned()


def _still_there(graph: Graph, values: set[str]) -> dict[str, str]:
    """Absorbed values whose last successor is among `values`."""

    def last(value: str) -> str:
        while value in graph.absorbed:
            value = graph.absorbed[value]
        return value

    return {v: s for v, s in graph.absorbed.items() if last(s) in values}
