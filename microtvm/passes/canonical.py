"""Canonicalisation: the same computation in fewer operators and fewer forms.

Every rule keeps every output bit for bit. A rule looks at one node and returns a changed graph, or
None.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from microtvm.graph.ir import Graph, Node, Quant, TensorType
from microtvm.ops.base import float_activation, quantised_range
from microtvm.ops.check import ACTIVATIONS
from microtvm.passes.dead import remove_dead
from microtvm.passes.identity import CLAMPS, drop_copy, find_identity
from microtvm.passes.rewrite import (
    absorb,
    fresh,
    is_only_reader,
    reread,
    with_attrs,
    with_constant,
    with_node,
)

Rule = Callable[[Graph, Node], Graph | None]


def canonicalise(graph: Graph) -> Graph:
    """The graph after all rules, applied until none applies, and without dead code."""
    changed: Graph | None = graph
    while changed is not None:
        # A dead reader would keep rules from what only one reader may see.
        graph = remove_dead(changed)
        changed = _first_change(graph)
    return graph


def _first_change(graph: Graph) -> Graph | None:
    for node in graph.nodes:
        for rule in RULES:
            changed = rule(graph, node)
            if changed is not None:
                return changed
    return None


def _reshape_of_reshape(graph: Graph, node: Node) -> Graph | None:
    """Only the last of several shapes matters."""
    before = graph.producers().get(node.inputs[0]) if node.op == "reshape" else None
    if before is None or before.op != "reshape":
        return None
    return reread(graph, node, replace(node, inputs=before.inputs))


def _pad_of_pad(graph: Graph, node: Node) -> Graph | None:
    """Two borders of one value are one border."""
    before = graph.producers().get(node.inputs[0]) if node.op == "pad" else None
    if before is None or before.op != "pad" or before.attrs["value"] != node.attrs["value"]:
        return None
    sums = {
        key: tuple(
            int(a) + int(b) for a, b in zip(_ints(before, key), _ints(node, key), strict=True)
        )
        for key in ("before", "after")
    }
    return reread(graph, node, replace(with_attrs(node, **sums), inputs=before.inputs))


def _pad_into_window(graph: Graph, node: Node) -> Graph | None:
    """A border of an image, of what the next operator pads with anyway, is padding of that
    operator.
    """
    pad = graph.producers().get(node.inputs[0]) if node.inputs else None
    if pad is None or pad.op != "pad" or len(_ints(pad, "before")) != 4:
        return None
    source, padded = graph.types[pad.inputs[0]], graph.types[pad.outputs[0]]
    if source.quant != padded.quant or pad.attrs["value"] != _neutral(node, source):
        return None
    before, after = _ints(pad, "before"), _ints(pad, "after")
    if before[0] or after[0] or before[3] or after[3]:
        return None
    borders = (before[1], after[1], before[2], after[2])
    total = tuple(a + b for a, b in zip(_ints(node, "padding"), borders, strict=True))
    if node.op == "max_pool2d":
        sizes = np.repeat(_ints(node, "size"), 2)
        if any(p >= s for p, s in zip(total, sizes, strict=True)):
            return None
    inputs = (pad.inputs[0], *node.inputs[1:])
    return reread(graph, node, replace(with_attrs(node, padding=total), inputs=inputs))


def _neutral(node: Node, x: TensorType) -> int | float | None:
    """The stored value that an operator's own padding stands for; None where it has none."""
    if node.op in ("conv2d", "depthwise_conv2d"):
        return 0.0 if x.dtype == "float32" else x.zero
    if node.op == "max_pool2d" and x.dtype == "int8":
        return -128
    return None


def _ints(node: Node, key: str) -> tuple[int, ...]:
    value = node.attrs[key]
    assert isinstance(value, tuple)
    return tuple(int(v) for v in value)


def _activation_into_maker(graph: Graph, node: Node) -> Graph | None:
    """An activation of its own becomes the fused activation of what makes its input."""
    if node.op not in CLAMPS:
        return None
    source, result = node.inputs[0], node.outputs[0]
    maker = graph.producers().get(source)
    if (
        maker is None
        or maker.op not in FUSES_ACTIVATION
        or graph.types[source] != graph.types[result]
    ):
        return None
    if not is_only_reader(graph, source, node):
        return None
    tensor_type = graph.types[source]
    # Equal scales: the activation rescales by 1 and then clamps, so that two clamps in a row
    # remain.
    first = _bounds(tensor_type, str(maker.attrs["activation"]))
    second = _bounds(tensor_type, node.op)
    both = (max(first[0], second[0]), min(first[1], second[1]))
    for activation in ACTIVATIONS:
        if _bounds(tensor_type, activation) == both and both[0] <= both[1]:
            graph = with_node(graph, maker, with_attrs(maker, activation=activation))
            return absorb(graph, node)
    return None


FUSES_ACTIVATION = (
    "conv2d", "depthwise_conv2d", "dense", "avg_pool2d", "max_pool2d", "add", "sub", "mul",
)  # fmt: skip


def _bounds(tensor_type: TensorType, activation: str) -> tuple[float, float]:
    if tensor_type.dtype == "float32":
        return float_activation(activation)
    return quantised_range(tensor_type, activation)


def _conv_to_depthwise(graph: Graph, node: Node) -> Graph | None:
    """A convolution with one channel a group is depthwise, with its weights transposed."""
    if node.op != "conv2d" or node.attrs["groups"] == 1:
        return None
    weights = node.inputs[1]
    old = graph.types[weights]
    if old.shape[3] != 1:
        return None
    channels, height, width, _ = old.shape
    quant = old.quant
    if quant is not None and quant.axis is not None:
        quant = Quant(quant.scale, quant.zero, 3)
    array = np.ascontiguousarray(graph.const(weights).transpose(3, 1, 2, 0))
    name = fresh(graph, f"{weights}_depthwise")
    new_type = TensorType((1, height, width, channels), old.dtype, quant)
    graph = with_constant(graph, name, array, new_type)
    attrs = {key: value for key, value in node.attrs.items() if key != "groups"}
    multiplier = channels // graph.types[node.inputs[0]].shape[3]
    depthwise = replace(
        node,
        op="depthwise_conv2d",
        inputs=(node.inputs[0], name, *node.inputs[2:]),
        attrs={**attrs, "multiplier": multiplier},
    )
    return with_node(graph, node, with_attrs(depthwise)).pruned()


RULES: tuple[Rule, ...] = (
    drop_copy,
    find_identity,
    _reshape_of_reshape,
    _pad_of_pad,
    _pad_into_window,
    _activation_into_maker,
    _conv_to_depthwise,
)
