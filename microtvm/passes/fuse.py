"""Fusion: nodes to groups, each of which becomes one kernel; reshapes become aliases.

At most one node of a group has a reduction of its own. Padding joins the convolution behind it;
element-wise operators join a node before them, where nobody else reads what is between. An operator
of two tensors (a residual addition) joins the later of the two groups that make them, as the other
tensor is there when that one runs.
"""

from __future__ import annotations

from dataclasses import dataclass

from microtvm.graph.ir import Graph, Node
from microtvm.ops.registry import find


@dataclass(frozen=True)
class Group:
    """Nodes that become one kernel, in order; `inputs` are outside values that are no constants."""

    name: str
    nodes: tuple[Node, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def internal(self) -> tuple[str, ...]:
        """Values that exist only inside the kernel."""
        return tuple(v for n in self.nodes for v in n.outputs if v not in self.outputs)


@dataclass(frozen=True)
class Fused:
    """A graph as groups. `aliases` maps a value to the value whose memory it is (reshape)."""

    graph: Graph
    groups: tuple[Group, ...]
    aliases: dict[str, str]

    def root(self, value: str) -> str:
        """The value whose memory holds `value`."""
        while value in self.aliases:
            value = self.aliases[value]
        return value


def fuse(graph: Graph) -> Fused:
    """Groups in the order of execution."""
    readers = graph.readers()
    members: list[list[Node]] = []
    maker: dict[str, int] = {}
    aliases: dict[str, str] = {}
    for node in graph.nodes:
        if node.op == "reshape" and not _needs_memory(graph, node, aliases):
            aliases[node.outputs[0]] = node.inputs[0]
            continue
        joined = _joinable(graph, node, members, Fused(graph, (), aliases), maker, readers)
        if joined is None:
            joined = len(members)
            members.append([])
        members[joined].append(node)
        maker.update(dict.fromkeys(node.outputs, joined))
    groups = [_group(graph, k, nodes, readers) for k, nodes in enumerate(members)]
    return Fused(graph, tuple(groups), aliases)


def _needs_memory(graph: Graph, node: Node, aliases: dict[str, str]) -> bool:
    """Whether a reshape leads from a graph's input to an output, which must not share memory."""
    source = node.inputs[0]
    while source in aliases:
        source = aliases[source]
    return source in graph.inputs and node.outputs[0] in graph.outputs


def _joinable(
    graph: Graph,
    node: Node,
    members: list[list[Node]],
    so_far: Fused,
    maker: dict[str, int],
    readers: dict[str, list[Node]],
) -> int | None:
    """The group that a node becomes a part of, if any; `maker` has the groups that make values."""
    data = dict.fromkeys(graph.data_inputs(node))
    for value in data:
        index = maker.get(value)
        is_private = value not in graph.outputs and all(r is node for r in readers[value])
        if index is None or not is_private:
            continue
        if _is_epilogue(graph, node, value):
            # Nobody else reads the value: all others are made before, or after this group.
            others = (maker.get(so_far.root(v), -1) for v in data if v != value)
            if all(other < index for other in others):
                return index
        elif node.op in ("conv2d", "depthwise_conv2d"):
            return index if [n.op for n in members[index]] == ["pad"] else None
    return None


def _is_epilogue(graph: Graph, node: Node, value: str) -> bool:
    """Whether a node changes the elements of one tensor, each with those at its place in others."""
    types, (out,) = graph.types, node.outputs
    shape = types[out].shape
    return (
        find(node.op).elementwise
        and types[value].shape == shape
        and all(types[v].shape == shape or types[v].elements == 1 for v in node.inputs)
    )


def _group(graph: Graph, index: int, nodes: list[Node], readers: dict[str, list[Node]]) -> Group:
    made = {v for n in nodes for v in n.outputs}
    inputs = dict.fromkeys(
        v for n in nodes for v in n.inputs if v not in made and v not in graph.constants
    )
    ids = {n.name for n in nodes}
    outputs = [
        v
        for n in nodes
        for v in n.outputs
        if v in graph.outputs or not readers[v] or any(r.name not in ids for r in readers[v])
    ]
    anchor = next((n for n in nodes if n.op != "pad" and not find(n.op).elementwise), nodes[0])
    return Group(f"n{index}_{anchor.op}", tuple(nodes), tuple(inputs), tuple(outputs))
