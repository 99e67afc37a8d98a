"""Whether a graph is what its operators say: the check after the import and after every pass."""

from __future__ import annotations

from microtvm.errors import IRError
from microtvm.graph.ir import Graph
from microtvm.graph.verify import verify_structure
from microtvm.ops.base import NodeContext
from microtvm.ops.registry import find


def verify(graph: Graph) -> Graph:
    """The graph itself, where its structure holds and every node's types are what its operator
    infers.

    IRError for an invariant that does not hold; ModelError (from `Op.infer`) where a node asks for
    what its operator can't do.
    """
    verify_structure(graph)
    for node in graph.nodes:
        ctx = NodeContext.of(graph, node)
        inferred = find(node.op).infer(ctx)
        declared = [(t.shape, t.dtype) for t in ctx.outputs]
        if inferred != declared:
            raise IRError(
                f"node {node.name} ({node.op}) makes {_show(inferred)}, "
                f"but the graph says {_show(declared)}"
            )
    return graph


def _show(types: list[tuple[tuple[int, ...], str]]) -> str:
    return ", ".join(f"{dtype}{list(shape)}" for shape, dtype in types)
