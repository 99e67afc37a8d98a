"""Which channels must stay, where a constant input of products becomes part of their bias.

Backward over the graph until nothing is added: outputs of the graph stay whole, products need what
varies in their input, and linked channels stay together (`channel_link.py`).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from microtvm.graph.ir import Graph, Node
from microtvm.ops.base import NodeContext
from microtvm.ops.interval import channel_count
from microtvm.passes.channel_link import Links, find_links
from microtvm.passes.channel_product import Products
from microtvm.passes.interval import Intervals
from microtvm.util import Array


class Need:
    """The channels of every value that stay, and what was found on the way."""

    def __init__(self, graph: Graph, intervals: Intervals, multiple: int) -> None:
        self.graph = graph
        self.intervals = intervals
        self.links: dict[str, Links | None] = {}
        """By node name."""
        self.products: dict[str, Products] = {}
        """By node name, of nodes with columns."""
        for node in graph.nodes:
            ctx = NodeContext.of(graph, node)
            links = find_links(ctx)
            if not any(graph.data_inputs(node)) or node.inputs[0] not in intervals.values:
                links = None
            if links is not None and links.columns is not None:
                self.products[node.name] = Products.of(ctx, intervals.values[node.inputs[0]])
            self.links[node.name] = links
        # Inputs and outputs are the caller's; of floats nothing is known, and 0 x is not always 0.
        whole = {*graph.inputs, *graph.outputs}
        self.keep: dict[str, Array] = {
            v: np.full(channel_count(t.shape), v in whole or v not in intervals.values)
            for v, t in graph.types.items()
            if v not in graph.constants
        }
        """Value to bool [channels]; all False where the value itself can go."""
        self._close()
        while self._round_up(multiple):
            self._close()

    def bundles(self, node: Node) -> Array:
        """Which bundles of the node's links stay, bool [bundles]."""
        links = self.links[node.name]
        assert links is not None
        stay = np.zeros(links.bundles, bool)
        for value, bundle in self._linked(node, links):
            stay[bundle[self.keep[value]]] = True
        return stay

    def _linked(self, node: Node, links: Links) -> Iterator[tuple[str, Array]]:
        for position, bundle in links.inputs.items():
            if node.inputs[position] in self.keep:
                yield node.inputs[position], bundle
        if links.output is not None:
            yield node.outputs[0], links.output

    def _close(self) -> None:
        while any([self._extend(node) for node in reversed(self.graph.nodes)]):
            pass

    def _extend(self, node: Node) -> bool:
        """Keep what a node asks for; whether that was more than before."""
        if not any(self.keep[v].any() for v in node.outputs):
            return False
        before = self._count(node)
        links = self.links[node.name]
        for position, value in enumerate(node.inputs):
            if value in self.keep and (links is None or position not in links.inputs):
                self.keep[value][:] = True
        if links is None:
            for value in node.outputs:
                self.keep[value][:] = True
            return self._count(node) > before
        stay = self.bundles(node)
        if links.columns is not None:
            needed = self.products[node.name].needed(self.keep[node.outputs[0]])
            stay[links.columns[needed]] = True
        for value, bundle in self._linked(node, links):
            self.keep[value] |= stay[bundle]
        if node.op != "concat":  # which can do without a part
            for value in self.graph.data_inputs(node):
                if not self.keep[value].any():
                    self.keep[value][self._spare(value)[0]] = True
        return self._count(node) > before

    def _count(self, node: Node) -> int:
        values = {v for v in (*node.inputs, *node.outputs) if v in self.keep}
        return sum(int(self.keep[v].sum()) for v in values)

    def _spare(self, value: str) -> Array:
        """Channels that need not stay, those first that cost nothing to be right: constants."""
        constant = self.intervals.values[value].constant
        gone = np.flatnonzero(~self.keep[value])
        return gone[np.argsort(~constant[gone], kind="stable")]

    def _round_up(self, multiple: int) -> bool:
        """Keep more channels of the last value whose number is no multiple; whether there is one.

        A value that keeps all its channels may have any number of them.
        """
        for node in reversed(self.graph.nodes):
            for value in node.outputs:
                keep = self.keep[value]
                more = -int(keep.sum()) % multiple
                if keep.any() and not keep.all() and more:
                    keep[self._spare(value)[:more]] = True
                    return True
        return False
