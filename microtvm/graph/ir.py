"""The graph: what a model is between the file and the tensor expressions.

A graph is one list of nodes in static single assignment form, in an order that can be executed.
Values are named by strings; a value is a graph input, a constant, or the output of one node.
Everything is immutable: a pass takes a graph and returns a graph (`dataclasses.replace`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from microtvm.errors import IRError
from microtvm.util import Array, array_digest

Attr = int | float | str | bool | tuple[int, ...] | tuple[float, ...]
"""What a node's attribute may be: these print and parse back equal."""

DTYPES: dict[str, int] = {
    "int8": 1, "uint8": 1, "int16": 2, "int32": 4, "int64": 8, "float32": 4, "bool": 1,
}  # fmt: skip
"""Element types of a graph's tensors, with their size in bytes."""


@dataclass(frozen=True)
class Quant:
    """real = scale * (q - zero). One pair for the tensor (`axis` None), or one per index of `axis`.

    Scales are float32 values held as Python floats (they are rounded to float32 here), greater than
    zero and finite.
    """

    scale: tuple[float, ...]
    zero: tuple[int, ...]
    axis: int | None = None

    def __post_init__(self) -> None:
        if len(self.scale) != len(self.zero) or not self.scale:
            raise IRError(f"quantisation has {len(self.scale)} scales and {len(self.zero)} zeros")
        if self.axis is None and len(self.scale) != 1:
            raise IRError(f"quantisation of {len(self.scale)} scales needs an axis")
        with np.errstate(over="ignore"):
            object.__setattr__(self, "scale", tuple(float(np.float32(s)) for s in self.scale))


@dataclass(frozen=True)
class TensorType:
    """Shape (all dimensions known, each at least 1; () is a scalar), dtype and quantisation."""

    shape: tuple[int, ...]
    dtype: str
    quant: Quant | None = None

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise IRError(f"unknown dtype {self.dtype!r}; known: {', '.join(DTYPES)}")
        if any(d < 1 for d in self.shape):
            raise IRError(f"shape {list(self.shape)} has a dimension below 1")

    @property
    def elements(self) -> int:
        """Number of elements."""
        n = 1
        for d in self.shape:
            n *= d
        return n

    @property
    def size_bytes(self) -> int:
        """Bytes of the dense tensor."""
        return self.elements * DTYPES[self.dtype]

    @property
    def scale(self) -> float:
        """The per-tensor scale; IRError where there is none."""
        return self._per_tensor().scale[0]

    @property
    def zero(self) -> int:
        """The per-tensor zero point; IRError where there is none."""
        return self._per_tensor().zero[0]

    def _per_tensor(self) -> Quant:
        if self.quant is None or len(self.quant.scale) != 1:
            raise IRError(f"{self} has no per-tensor quantisation")
        return self.quant


@dataclass(frozen=True)
class Node:
    """One operator. `name` is unique in the graph; `source` names the node in the model file."""

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attrs: Mapping[str, Attr] = field(default_factory=dict)
    source: str = ""


@dataclass(frozen=True)
class Graph:
    """A whole model. `types` has every value: inputs, constants and node outputs."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    types: Mapping[str, TensorType]
    constants: Mapping[str, Array] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    """Value name to the tensor's name in the model file, where it came from one."""
    absorbed: Mapping[str, str] = field(default_factory=dict)
    """Value of the model that a pass did away with to the value whose making includes it now."""
    channels: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Value that holds only some channels (of the last axis) of the model's tensor to their indices
    there, ascending."""

    def const(self, value: str) -> Array:
        """The constant's array; IRError where the value is not a constant."""
        if value not in self.constants:
            raise IRError(f"%{value} is not a constant of graph {self.name}")
        return self.constants[value]

    def producers(self) -> dict[str, Node]:
        """Value name to the node that makes it. Shared: not to be changed."""
        return self._producers

    def readers(self) -> dict[str, list[Node]]:
        """Value name to the nodes that read it, in order; every value has an entry. Shared."""
        return self._readers

    @cached_property
    def _producers(self) -> dict[str, Node]:
        return {out: node for node in self.nodes for out in node.outputs}

    @cached_property
    def _readers(self) -> dict[str, list[Node]]:
        found: dict[str, list[Node]] = {value: [] for value in self.types}
        for node in self.nodes:
            for value in dict.fromkeys(node.inputs):
                found[value].append(node)
        return found

    def data_inputs(self, node: Node) -> Iterator[str]:
        """The node's inputs that are not constants."""
        return (value for value in node.inputs if value not in self.constants)

    def pruned(self) -> Graph:
        """The graph without what it says of values that nothing names any more."""
        used = {*self.inputs, *self.outputs}
        for node in self.nodes:
            used.update(node.inputs, node.outputs)
        return replace(
            self,
            types={v: t for v, t in self.types.items() if v in used},
            constants={v: a for v, a in self.constants.items() if v in used},
            sources={v: s for v, s in self.sources.items() if v in used or v in self.absorbed},
            channels={v: c for v, c in self.channels.items() if v in used},
        )


def same_graph(a: Graph, b: Graph) -> bool:
    """Whether two graphs are equal in everything, arrays by content and NaN equal to itself."""

    def exact(value: object) -> object:
        if isinstance(value, tuple):
            return tuple(exact(v) for v in value)
        return (type(value).__name__, repr(value))

    def plain(g: Graph) -> object:
        return (
            (g.name, g.inputs, g.outputs, dict(g.types)),
            (dict(g.sources), dict(g.absorbed), dict(g.channels)),
            [(n.name, n.op, n.inputs, n.outputs, n.source) for n in g.nodes],
            [{k: exact(v) for k, v in n.attrs.items()} for n in g.nodes],
            {v: array_digest(c) for v, c in g.constants.items()},
        )

    return plain(a) == plain(b)
