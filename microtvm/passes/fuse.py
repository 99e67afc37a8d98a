"""Fusion: nodes to groups, each of which becomes one kernel; reshapes become aliases.

At most one node of a group has a reduction of its own. Padding joins the convolution behind it;
element-wise operators join the node before them, where nobody else reads what is between.
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
    of_value: dict[str, list[Node]] = {}
    aliases: dict[str, str] = {}
    for node in graph.nodes:
        if node.op == "reshape" and not _needs_memory(graph, node, aliases):
            aliases[node.outputs[0]] = node.inputs[0]
            continue
        previous = _joinable(graph, node, of_value, readers)
        if previous is None:
            previous = []
            members.append(previous)
        previous.append(node)
        for value in node.outputs:
            of_value[value] = previous
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
    of_value: dict[str, list[Node]],
    readers: dict[str, list[Node]],
) -> list[Node] | None:
    data = list(graph.data_inputs(node))
    if len(data) != 1 or data[0] in graph.outputs or len(readers[data[0]]) != 1:
        return None
    group = of_value.get(data[0])
    if group is None:
        return None
    last = group[-1]
    if _is_epilogue(node):
        return group
    if last.op == "pad" and len(group) == 1 and node.op in ("conv2d", "depthwise_conv2d"):
        return group
    return None


def _is_epilogue(node: Node) -> bool:
    """Whether a node changes the elements of one tensor, each by itself."""
    return find(node.op).elementwise and len(node.inputs) == 1


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
    anchor = next((n for n in nodes if n.op != "pad" and not _is_epilogue(n)), nodes[0])
    return Group(f"n{index}_{anchor.op}", tuple(nodes), tuple(inputs), tuple(outputs))
