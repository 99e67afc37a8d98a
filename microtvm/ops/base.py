"""What an operator is: its types, its numpy meaning and its tensor expression, in one object.

An operator's two meanings are written independently on purpose: `evaluate` (numpy, the oracle) and
`compute` (tensor expressions, what is compiled). They share nothing but quantisation constants,
which are computed once, at compile time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from microtvm.errors import ModelError
from microtvm.graph.ir import Attr, Graph, Node, TensorType
from microtvm.ops.interval import Interval, ends, full
from microtvm.util import Array

if TYPE_CHECKING:
    from microtvm.te.tensor import Tensor


@dataclass(frozen=True)
class NodeContext:
    """A node with the types of what it reads and writes, and the arrays of its constant inputs."""

    node: Node
    inputs: tuple[TensorType, ...]
    outputs: tuple[TensorType, ...]
    constants: Mapping[int, Array]
    """Input position to the constant read there."""

    @classmethod
    def of(cls, graph: Graph, node: Node) -> NodeContext:
        """The context of `node` in `graph`."""
        return cls(
            node=node,
            inputs=tuple(graph.types[v] for v in node.inputs),
            outputs=tuple(graph.types[v] for v in node.outputs),
            constants={
                i: graph.constants[v] for i, v in enumerate(node.inputs) if v in graph.constants
            },
        )

    @property
    def out(self) -> TensorType:
        """The type of the only output."""
        return self.outputs[0]

    def attr_int(self, key: str) -> int:
        """An integer attribute."""
        value = self.node.attrs[key]
        assert isinstance(value, int)
        return value

    def attr_ints(self, key: str) -> tuple[int, ...]:
        """An attribute that is a tuple of integers."""
        value = self.node.attrs[key]
        assert isinstance(value, tuple)
        return tuple(int(v) for v in value)

    def attr_float(self, key: str) -> float:
        """A floating point attribute."""
        value = self.node.attrs[key]
        assert isinstance(value, int | float)
        return float(value)

    def attr_str(self, key: str) -> str:
        """A string attribute."""
        value = self.node.attrs[key]
        assert isinstance(value, str)
        return value

    def fail(self, message: str, hint: str = "") -> ModelError:
        """The error to raise when the node can't be compiled; it names node and operator."""
        where = self.node.source or self.node.name
        return ModelError(f"{self.node.op} {where!r}: {message}", hint=hint)


@dataclass(frozen=True)
class Views:
    """Shapes of a node's inputs and outputs as its tensor expression sees them."""

    inputs: tuple[tuple[int, ...], ...]
    outputs: tuple[tuple[int, ...], ...]


class Op:
    """One operator of the graph. Subclasses are registered by `ops/registry.py`."""

    name: ClassVar[str]
    elementwise: ClassVar[bool] = False
    """Each output element depends on the elements at its own index only (of inputs that broadcast:
    at the index that is broadcast to it), in the same way but for scales of an axis: channels can
    be left out.

    Such a node is fused behind one that makes an input of its output's shape, and may overwrite
    what it reads.
    """

    monotone: ClassVar[bool] = False
    """Of integers, no output element falls where an input element rises."""

    def infer(self, ctx: NodeContext) -> list[tuple[tuple[int, ...], str]]:
        """Shape and dtype of every output, from the inputs and the attributes.

        Also checks what the operator demands of its inputs (ranks, dtypes, quantisation); raises
        `ctx.fail(...)`. The verifier compares the result with the types in the graph.
        """
        raise NotImplementedError

    def evaluate(self, ctx: NodeContext, inputs: Sequence[Array]) -> list[Array]:
        """The numpy meaning: arrays of all inputs (constants included) to arrays of all outputs."""
        raise NotImplementedError

    def intervals(
        self, ctx: NodeContext, inputs: Sequence[Interval | None]
    ) -> list[Interval | None]:
        """What the channels of every output can be, for inputs within `inputs` (None: unknown).

        By default all that the type holds; of a `monotone` operator, what its numpy meaning gives
        for the lowest and for the highest input.
        """
        at = ends(ctx.inputs, inputs, ctx.constants) if self.monotone else None
        widest = [full(t) for t in ctx.outputs]
        if at is None or None in widest:
            return widest
        lows, highs = (self.evaluate(ctx, arrays) for arrays in at)
        return [Interval.around(a, b) for a, b in zip(lows, highs, strict=True)]

    def accumulators(self, ctx: NodeContext, inputs: Sequence[Interval | None]) -> Interval | None:
        """Of an operator with integer weights: what requantisation is given in each channel.

        That is the sum of (x - zero point) w, plus the bias. None where there is no such thing.
        """
        return None

    def views(self, ctx: NodeContext) -> Views:
        """Shapes in which `compute` sees inputs and outputs; the order of elements is the same.

        By default the types' own. Element-wise operators whose inputs all have the output's shape,
        or one element, see vectors: where the expression names no axis, neither should the loop.
        """
        own = Views(tuple(t.shape for t in ctx.inputs), tuple(t.shape for t in ctx.outputs))
        if not self.elementwise:
            return own
        shape = ctx.out.shape
        if any(t.shape != shape and t.elements != 1 for t in ctx.inputs):
            return own
        return Views(tuple((t.elements,) for t in ctx.inputs), ((ctx.out.elements,),))

    def compute(self, ctx: NodeContext, inputs: Sequence[Tensor]) -> list[Tensor]:
        """The tensor expressions of all outputs, shaped as `views` says.

        `inputs` has a te tensor for each input, shaped as `views` says; constants carry their data.
        An element-wise node that is fused behind another is given that one's shape instead if
        `views` makes vectors of its tensors.
        """
        raise NotImplementedError

    def macs(self, ctx: NodeContext) -> int:
        """Products of weights that one run takes, as MLPerf Tiny counts them (padding included)."""
        return 0


def activation_range(ctx: NodeContext) -> tuple[int, int]:
    """Smallest and largest quantised output under the node's fused `activation`."""
    return quantised_range(ctx.out, ctx.attr_str("activation"))


def quantised_range(out: TensorType, activation: str) -> tuple[int, int]:
    """Smallest and largest value of the quantised type `out` under an activation.

    none, relu, relu6 or relu_n1_to_1, as CalculateActivationRangeQuantized of TFLite: the real
    bound divided by the scale in float32, rounded half away from zero, plus the zero point, clamped
    to the dtype.
    """
    info = np.iinfo(out.dtype)
    low, high = int(info.min), int(info.max)

    def quantise(real: float) -> int:
        scaled = min(np.float32(abs(real)) / np.float32(out.scale), np.float32(1 << 30))
        return out.zero + int(np.floor(float(scaled) + 0.5)) * (1 if real >= 0 else -1)

    if activation in ("relu", "relu6"):
        low = max(low, quantise(0.0))
    if activation == "relu6":
        high = min(high, quantise(6.0))
    if activation == "relu_n1_to_1":
        low, high = max(low, quantise(-1.0)), min(high, quantise(1.0))
    return low, high


def float_activation(activation: str) -> tuple[float, float]:
    """Smallest and largest float32 output under a fused activation; infinite where unbounded."""
    return {
        "none": (-np.inf, np.inf),
        "relu": (0.0, np.inf),
        "relu6": (0.0, 6.0),
        "relu_n1_to_1": (-1.0, 1.0),
    }[activation]


def attributes(**values: Attr) -> dict[str, Attr]:
    """A node's attributes sorted, so that text and hashes do not depend on the writer."""
    return dict(sorted(values.items()))
