"""Nodes without effect, proven so: for integers by trying every value that can occur."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from microtvm.graph.ir import Graph, Node
from microtvm.ops.base import NodeContext, float_activation, quantised_range
from microtvm.ops.registry import find
from microtvm.passes.rewrite import bypass, reread, with_node

CLAMPS = ("relu", "relu6", "relu_n1_to_1")
ELEMENTWISE = (*CLAMPS, "quantize", "dequantize")
"""Operators of one input whose every output element depends on one input element."""
BYTES = ("int8", "uint8")


def drop_copy(graph: Graph, node: Node) -> Graph | None:
    """A copy goes, unless an output of the graph needs it; then nothing else reads it."""
    if node.op != "copy":
        return None
    source, result = node.inputs[0], node.outputs[0]
    without = bypass(graph, node)
    if without is not None or not graph.readers()[result]:
        return without
    nodes = tuple(
        replace(n, inputs=tuple(source if v == result else v for v in n.inputs))
        for n in graph.nodes
    )
    return replace(graph, nodes=nodes)


def find_identity(graph: Graph, node: Node) -> Graph | None:
    """A node that gives what it reads becomes a copy, as the second of a pair may."""
    if node.op == "copy" or not node.inputs:
        return None
    if _moves_nothing(graph, node) or _keeps_all(graph, [node]):
        return with_node(graph, node, _copy(node, node.inputs[0]))
    before = graph.producers().get(node.inputs[0])
    if before is not None and _keeps_all(graph, [before, node]):
        return reread(graph, node, _copy(node, before.inputs[0]))
    return None


def value_range(graph: Graph, value: str) -> tuple[float, float]:
    """Smallest and largest element that a value can have, as far as its maker's activation says."""
    maker = graph.producers().get(value)
    if maker is not None and maker.op in ("reshape", "copy"):
        return value_range(graph, maker.inputs[0])
    activation = "none"
    if maker is not None:
        activation = maker.op if maker.op in CLAMPS else str(maker.attrs.get("activation", "none"))
    tensor_type = graph.types[value]
    if tensor_type.dtype == "float32":
        return float_activation(activation)
    info = np.iinfo(tensor_type.dtype)
    if tensor_type.quant is None or tensor_type.quant.axis is not None:
        return info.min, info.max
    return quantised_range(tensor_type, activation)


def _copy(node: Node, value: str) -> Node:
    return replace(node, op="copy", inputs=(value,), attrs={})


def _moves_nothing(graph: Graph, node: Node) -> bool:
    """Operators on whole tensors whose attributes make them the identity."""
    if graph.types[node.inputs[0]] != graph.types[node.outputs[0]]:
        return False
    attrs = node.attrs
    if node.op in ("avg_pool2d", "max_pool2d"):
        whole = attrs["size"] == (1, 1) and attrs["strides"] == (1, 1)
        return whole and attrs["activation"] == "none"
    if node.op == "concat":
        return len(node.inputs) == 1 and attrs["activation"] == "none"
    # Neither changes elements, and the shape is the same.
    return node.op in ("reshape", "pad")


def _keeps_all(graph: Graph, chain: Sequence[Node]) -> bool:
    """Whether element-wise nodes in a row give back every element that they can be given."""
    if any(n.op not in ELEMENTWISE for n in chain):
        return False
    start = graph.types[chain[0].inputs[0]]
    if start != graph.types[chain[-1].outputs[0]] or (start.quant and start.quant.axis is not None):
        return False
    low, high = value_range(graph, chain[0].inputs[0])
    if start.dtype == "float32" and len(chain) == 1 and chain[0].op in CLAMPS:
        first, last = float_activation(chain[0].op)
        return first <= low and high <= last
    if start.dtype not in BYTES:
        return False
    values = np.arange(int(low), int(high) + 1).astype(start.dtype)
    results = values
    for node in chain:
        types = [replace(graph.types[v], shape=values.shape) for v in (*node.inputs, *node.outputs)]
        ctx = NodeContext(node, (types[0],), (types[1],), {})
        (results,) = find(node.op).evaluate(ctx, [results])
    return bool(np.array_equal(results, values))
