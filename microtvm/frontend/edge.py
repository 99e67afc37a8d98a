"""Dropping the conversions at a quantised model's edges, so that its inputs and outputs are its
integers.
"""

from __future__ import annotations

from dataclasses import replace

from microtvm.graph.ir import Graph, Node


def strip_edges(graph: Graph) -> Graph:
    """The graph without `quantize` right after an input and `dequantize` or `quantize` before an
    output.

    An input is stripped where all that reads it is one `quantize` to int8; an output where a
    conversion from int8 makes it, and nothing else reads it. Inputs and outputs keep their names;
    types change.
    """
    for value in graph.inputs:
        graph = _strip_input(graph, value)
    for value in graph.outputs:
        graph = _strip_output(graph, value)
    return graph.pruned()


def _strip_input(graph: Graph, value: str) -> Graph:
    readers = graph.readers()[value]
    if len(readers) != 1 or readers[0].op != "quantize":
        return graph
    inner = readers[0].outputs[0]
    if graph.types[inner].dtype != "int8" or inner in graph.outputs:
        return graph
    types = {**graph.types, value: graph.types[inner]}
    nodes = tuple(_reading(n, inner, value) for n in graph.nodes if n is not readers[0])
    return replace(graph, nodes=nodes, types=types)


def _strip_output(graph: Graph, value: str) -> Graph:
    maker = graph.producers()[value]
    if maker.op not in ("dequantize", "quantize") or graph.readers()[value]:
        return graph
    inner = maker.inputs[0]
    inner_maker = graph.producers().get(inner)
    if graph.types[inner].dtype != "int8" or inner_maker is None or inner in graph.outputs:
        return graph
    types = {**graph.types, value: graph.types[inner]}
    nodes = tuple(
        _making(_reading(n, inner, value), inner, value) for n in graph.nodes if n is not maker
    )
    return replace(graph, nodes=nodes, types=types)


def _reading(node: Node, old: str, new: str) -> Node:
    if old not in node.inputs:
        return node
    return replace(node, inputs=tuple(new if v == old else v for v in node.inputs))


def _making(node: Node, old: str, new: str) -> Node:
    if old not in node.outputs:
        return node
    return replace(node, outputs=tuple(new if v == old else v for v in node.outputs))
