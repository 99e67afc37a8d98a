"""Steps that rewriting passes are made of. Each returns a new graph that is valid again."""

from __future__ import annotations

from dataclasses import replace

from microtvm.graph.ir import Attr, Graph, Node, TensorType
from microtvm.util import Array

MAX_CHARACTERS = 63


def fresh(graph: Graph, wanted: str) -> str:
    """A value's name that is not taken: `wanted`, shortened and numbered where it must be."""
    taken = {*graph.types, *graph.sources, *graph.absorbed}
    name, count = wanted[:MAX_CHARACTERS], 1
    while name in taken:
        count += 1
        suffix = f"_{count}"
        name = wanted[: MAX_CHARACTERS - len(suffix)] + suffix
    return name


def with_node(graph: Graph, old: Node, new: Node) -> Graph:
    """`new` in the place of `old`."""
    return replace(graph, nodes=tuple(new if n is old else n for n in graph.nodes))


def with_attrs(node: Node, **changed: Attr) -> Node:
    """The node with some attributes changed."""
    return replace(node, attrs=dict(sorted({**node.attrs, **changed}.items())))


def with_constant(graph: Graph, value: str, array: Array, tensor_type: TensorType) -> Graph:
    """The graph with one more constant."""
    array.setflags(write=False)
    return replace(
        graph,
        constants={**graph.constants, value: array},
        types={**graph.types, value: tensor_type},
    )


def bypass(graph: Graph, node: Node) -> Graph | None:
    """The graph without `node`, whose only output equals its first input.

    Readers of the output read the input. An output of the graph keeps its name: then the input is
    made under that name. None where that can't be: the input is an input, a constant or another
    output of the graph.
    """
    if node.outputs[0] in graph.outputs:
        return absorb(graph, node)
    return _renamed(graph, node, node.outputs[0], node.inputs[0])


def absorb(graph: Graph, node: Node) -> Graph | None:
    """The graph without `node`, where what makes its first input makes its only output instead.

    None where no node makes the input, or where it is an output of the graph.
    """
    source = node.inputs[0]
    if source not in graph.producers() or source in graph.outputs:
        return None
    return _renamed(graph, node, source, node.outputs[0])


def _renamed(graph: Graph, without: Node, gone: str, successor: str) -> Graph:
    def rename(values: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(successor if v == gone else v for v in values)

    nodes = tuple(
        replace(n, inputs=rename(n.inputs), outputs=rename(n.outputs))
        for n in graph.nodes
        if n is not without
    )
    absorbed = {**graph.absorbed, gone: successor}
    return replace(graph, nodes=nodes, absorbed=absorbed).pruned()


def reread(graph: Graph, reader: Node, changed: Node) -> Graph:
    """`changed` in the place of `reader`, whose first input it does not read any more.

    Where nothing else reads that value, what made it goes too.
    """
    value = reader.inputs[0]
    graph = with_node(graph, reader, changed)
    maker = graph.producers().get(value)
    if maker is None or value in graph.outputs or graph.readers()[value]:
        return graph.pruned()
    nodes = tuple(n for n in graph.nodes if n is not maker)
    absorbed = {**graph.absorbed, value: changed.outputs[0]}
    return replace(graph, nodes=nodes, absorbed=absorbed).pruned()


def is_only_reader(graph: Graph, value: str, node: Node) -> bool:
    """Whether nothing else reads a value, which is not an output either, and `node` does once."""
    readers = graph.readers()[value]
    return value not in graph.outputs and readers == [node] and node.inputs.count(value) == 1
