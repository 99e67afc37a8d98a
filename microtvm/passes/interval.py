"""Interval analysis: what each channel of each integer tensor can be, for every model input.

Forward over the graph, through the exact arithmetic of the operators (`Op.intervals`). Nothing is
rounded outward: an interval is too wide only where channels depend on each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from microtvm.graph.ir import Graph
from microtvm.ops.base import NodeContext
from microtvm.ops.interval import Interval, full
from microtvm.ops.registry import find


@dataclass(frozen=True)
class Intervals:
    """What the analysis found, by value name."""

    values: Mapping[str, Interval]
    """Of every value of integers: inputs, constants and what nodes make."""
    accumulators: Mapping[str, Interval]
    """Of the outputs of integer nodes with weights: what requantisation is given, bias included
    (see `Op.accumulators`)."""


def analyse(graph: Graph) -> Intervals:
    """The intervals of a graph. Inputs of the graph can be all that their type holds."""
    found: dict[str, Interval | None] = {v: full(graph.types[v]) for v in graph.inputs}
    for value, array in graph.constants.items():
        whole = full(graph.types[value])
        found[value] = None if whole is None else Interval.around(array)
    accumulators: dict[str, Interval] = {}
    for node in graph.nodes:
        ctx, op = NodeContext.of(graph, node), find(node.op)
        inputs = [found[v] for v in node.inputs]
        found.update(zip(node.outputs, op.intervals(ctx, inputs), strict=True))
        accumulator = op.accumulators(ctx, inputs)
        if accumulator is not None:
            accumulators[node.outputs[0]] = accumulator
    return Intervals({v: i for v, i in found.items() if i is not None}, accumulators)
