"""Channels that are constant for every input but stay: made of nothing but a bias of plain size.

Where training has switched a channel off, its weights are noise, and its scale is so small that its
bias has nearly 32 bits. Such numbers keep a whole layer from the short arithmetic. What the channel
is can be said with weights of zero and a bias that fits beside the others.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from microtvm.graph.ir import Graph, Node, Quant
from microtvm.ops.base import NodeContext
from microtvm.ops.registry import find
from microtvm.passes.channel_fold import CHANNEL_AXIS
from microtvm.passes.interval import Intervals, analyse
from microtvm.util import Array

RATIO = 2.0**-7
"""Of accumulator to output: 255 levels are a bias of 15 bits."""


def settle_channels(graph: Graph) -> Graph:
    """The graph with constant channels of int8 convolutions and dense layers as a bias alone.

    Only where the layer has a bias and a scale for each channel, and where the operator's own
    arithmetic gives the same value then.
    """
    intervals = analyse(graph)
    for node in graph.nodes:
        if node.op in CHANNEL_AXIS and len(node.inputs) == 3:
            graph = _settled(graph, node, intervals)
    return graph


def _settled(graph: Graph, node: Node, intervals: Intervals) -> Graph:
    _, w, b = node.inputs
    axis = CHANNEL_AXIS[node.op]
    quant, out = graph.types[w].quant, graph.types[node.outputs[0]]
    found = intervals.values.get(node.outputs[0])
    channels = graph.types[w].shape[axis]
    if found is None or out.dtype != "int8" or out.shape[-1] != channels:
        return graph
    if quant is None or len(quant.scale) != channels:
        return graph
    if any(graph.readers()[v] != [node] for v in (w, b)):
        return graph
    low, high = _channels(found.low, out.shape), _channels(found.high, out.shape)
    still = low.min(axis=0) == high.max(axis=0)
    if not still.any() or still.all():
        return graph
    value = low.min(axis=0).astype(np.int64)
    weights, bias = graph.constants[w].copy(), graph.constants[b].copy().reshape(-1)
    index: list[slice | Array] = [slice(None)] * weights.ndim
    index[axis] = still
    weights[tuple(index)] = 0
    bias[still] = ((value[still] - out.zero) / RATIO).astype(bias.dtype)
    x = graph.types[node.inputs[0]]
    scale = np.where(still, out.scale * RATIO / x.scale, quant.scale)
    kind = replace(
        graph.types[w], quant=Quant(tuple(float(s) for s in scale), quant.zero, quant.axis)
    )
    changed = replace(
        graph,
        types={**graph.types, w: kind},
        constants={
            **graph.constants,
            w: _frozen(weights),
            b: _frozen(bias.reshape(graph.constants[b].shape)),
        },
    )
    (after,) = find(node.op).intervals(
        NodeContext.of(changed, node), [intervals.values.get(v) for v in node.inputs]
    )
    same = after is not None and all(
        np.array_equal(
            _channels(end, out.shape)[:, still], _channels(found.low, out.shape)[:, still]
        )
        for end in (after.low, after.high)
    )
    return changed if same else graph


def _channels(bound: Array, shape: tuple[int, ...]) -> Array:
    """A bound as [elements of a channel, channels]."""
    return np.broadcast_to(bound, shape).reshape(-1, shape[-1])


def _frozen(array: Array) -> Array:
    array.setflags(write=False)
    return array
