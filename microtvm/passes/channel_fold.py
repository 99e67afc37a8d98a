"""Constant channels are folded away: what is the same for every model input is not computed.

Interval analysis finds channels that can have one value only (trained networks with ReLU have
them, pruned ones more). Products with them are part of the bias, bit for bit; what made them goes,
and so does what only they needed. What is left are ordinary operators on fewer channels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from microtvm.graph.ir import Graph, Node, Quant, TensorType
from microtvm.passes.canonical import canonicalise
from microtvm.passes.channel_need import Need
from microtvm.passes.dead import remove_dead
from microtvm.passes.interval import Intervals, analyse
from microtvm.passes.rewrite import fresh, with_attrs
from microtvm.util import Array

MULTIPLE = 4
"""Of how many channels a tensor that loses some keeps a multiple, by default.

Register tiles take sums over four channels at a time: 19 channels cost more than 20. What is kept
for it is constant, and right like any other channel.
"""


@dataclass(frozen=True)
class Folding:
    """A graph before and after, equal in all outputs, and what was found in the one before."""

    before: Graph
    after: Graph
    intervals: Intervals
    keep: Mapping[str, Array]
    """Of every value that is no constant, which channels stay: bool [channels]."""


def fold_channels(graph: Graph) -> Graph:
    """The graph without channels that are constant for every input, or that nothing needs."""
    return fold(graph).after


def fold(graph: Graph, multiple: int = MULTIPLE) -> Folding:
    """The same with what was found; a tensor that loses channels keeps a multiple of `multiple`."""
    folding = _fold_once(remove_dead(graph), multiple)
    while True:
        # A convolution of which one group is left may read fewer channels of it.
        more = _fold_once(folding.after, multiple)
        if more.after is more.before:
            return folding
        keep = {v: _within(stay, more.keep.get(v)) for v, stay in folding.keep.items()}
        folding = replace(folding, after=more.after, keep=keep)


def _fold_once(graph: Graph, multiple: int) -> Folding:
    intervals = analyse(graph)
    need = Need(graph, intervals, multiple)
    after = graph
    if not all(keep.all() for keep in need.keep.values()):
        after = canonicalise(_Narrowing(graph, need).run())
    return Folding(graph, after, intervals, need.keep)


def _within(stay: Array, of_these: Array | None) -> Array:
    """Which channels stay (bool) if of those that do only some are left."""
    if of_these is None:
        return stay
    both = stay.copy()
    both[stay] = of_these
    return both


class _Narrowing:
    """The graph while channels are taken out of it."""

    def __init__(self, graph: Graph, need: Need) -> None:
        self.graph = graph
        self.need = need
        self.types = dict(graph.types)
        self.constants = dict(graph.constants)

    def run(self) -> Graph:
        """All nodes that stay, on the channels that stay."""
        keep = self.need.keep
        nodes = [n for n in self.graph.nodes if any(keep[v].any() for v in n.outputs)]
        narrowed = tuple(self._node(node) for node in nodes)
        channels, absorbed = dict(self.graph.channels), dict(self.graph.absorbed)
        for value, stay in keep.items():
            if not stay.any():
                absorbed[value] = self.graph.readers()[value][0].outputs[0]
            elif not stay.all():
                held = np.array(channels.get(value, range(len(stay))))
                channels[value] = tuple(int(c) for c in held[stay])
                self.types[value] = _narrow_type(self.types[value], -1, stay)
        return replace(
            self.graph,
            nodes=narrowed,
            types=self.types,
            constants=self.constants,
            channels=channels,
            absorbed=absorbed,
        ).pruned()

    def _node(self, node: Node) -> Node:
        links, outputs = self.need.links[node.name], self.need.keep[node.outputs[0]]
        if links is None:
            return node
        stay = self.need.bundles(node)
        if stay.all() and outputs.all():
            return node
        inputs = list(node.inputs)
        for position, bundle in links.inputs.items():
            value, chosen = inputs[position], stay[bundle]
            if not chosen.any():  # a part of a concatenation
                inputs[position] = ""
            elif value in self.graph.constants:
                inputs[position] = self._constant(node, value, {-1: chosen})
        node = replace(node, inputs=tuple(v for v in inputs if v))
        if node.op == "pad":
            return with_attrs(node, **_narrow_borders(node, outputs))
        if node.op == "conv2d" and links.columns is None:
            node = with_attrs(node, groups=int(stay.sum()))
        if node.op in CHANNEL_AXIS:
            return self._weights(
                node, outputs, None if links.columns is None else stay[links.columns]
            )
        return node

    def _weights(self, node: Node, outputs: Array, columns: Array | None) -> Node:
        """The node with weights for the chosen channels; other columns join the bias."""
        x, w, *rest = node.inputs
        chosen = {CHANNEL_AXIS[node.op]: outputs}
        added = np.zeros(int(outputs.sum()), np.int64)
        if columns is not None:
            chosen[-1] = columns
            added = self.need.products[node.name].bias(outputs, ~columns)
        inputs = [x, self._constant(node, w, chosen)]
        if rest:
            flat = self.graph.constants[rest[0]].reshape(len(outputs))
            inputs.append(self._constant(node, rest[0], {0: outputs}, flat, added))
        elif added.any():
            name = self._fresh(f"{w}_bias")
            self.types[name] = TensorType(added.shape, "int32")
            self.constants[name] = _frozen(added.astype(np.int32))
            inputs.append(name)
        return replace(node, inputs=tuple(inputs))

    def _constant(
        self,
        node: Node,
        value: str,
        chosen: Mapping[int, Array],
        array: Array | None = None,
        added: Array | int = 0,
    ) -> str:
        """A constant's name for its chosen indices of some axes (bool), for this reader.

        `array` is its contents in another shape, `added` is added to what is left of them.
        """
        old, kind = self.graph.constants[value], self.graph.types[value]
        array = old if array is None else array
        if array.shape != kind.shape:
            kind = TensorType(array.shape, kind.dtype, _whole(kind.quant))
        for axis, stay in chosen.items():
            array, kind = array.compress(stay, axis), _narrow_type(kind, axis, stay)
        # Whoever shares it chooses for itself.
        shared = [n.inputs.count(value) for n in self.graph.readers()[value]] != [1]
        name = self._fresh(f"{value}_{node.name}") if shared else value
        self.types[name] = kind
        self.constants[name] = _frozen((array + added).astype(old.dtype))
        return name

    def _fresh(self, wanted: str) -> str:
        return fresh(replace(self.graph, types=self.types), wanted)


CHANNEL_AXIS: Mapping[str, int] = {"conv2d": 0, "depthwise_conv2d": 3, "dense": 0}
"""Of operators with weights: the axis of the weights that is the output's channels."""


def _narrow_borders(node: Node, outputs: Array) -> dict[str, tuple[int, ...]]:
    """The attributes of a padding of which some output channels (bool) stay."""
    changed = {}
    for key, backward in (("before", 1), ("after", -1)):
        widths = node.attrs[key]
        assert isinstance(widths, tuple)
        *others, last = (int(n) for n in widths)
        changed[key] = (*others, int(outputs[::backward][:last].sum()))
    return changed


def _narrow_type(t: TensorType, axis: int, stay: Array) -> TensorType:
    """The type of a tensor's chosen indices (bool) of an axis."""
    axis %= len(t.shape)
    shape = (*t.shape[:axis], int(stay.sum()), *t.shape[axis + 1 :])
    quant = t.quant
    if quant is not None and quant.axis == axis:
        pairs = [
            p for p, s in zip(zip(quant.scale, quant.zero, strict=True), stay, strict=True) if s
        ]
        quant = Quant(tuple(s for s, _ in pairs), tuple(z for _, z in pairs), axis)
    return TensorType(shape, t.dtype, quant)


def _whole(quant: Quant | None) -> Quant | None:
    """Quantisation without the scales of an axis, of which nothing depends."""
    return quant if quant is None or quant.axis is None else None


def _frozen(array: Array) -> Array:
    array.setflags(write=False)
    return array
