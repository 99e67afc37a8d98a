"""What a pass is, and the one way to run some."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from microtvm.graph.ir import Graph
from microtvm.ops.verify import verify


@dataclass(frozen=True)
class Pass:
    """A function from graphs to graphs that compute the same, under a name for `--dump-after`."""

    name: str
    run: Callable[[Graph], Graph]


def run_passes(graph: Graph, passes: Sequence[Pass]) -> Graph:
    """The graph after all passes, verified after each."""
    for step in passes:
        graph = verify(step.run(graph))
    return graph
