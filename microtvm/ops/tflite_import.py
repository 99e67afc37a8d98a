"""How an operator's file says what its TFLite form means, not knowing how a file is read.

Each file of `ops/` has a table `TFLITE` from the builtin operator's name to an `Importer`;
`ops/registry.py` joins the tables. The frontend calls `Importer.run` with a `TfliteNode`, a view of
one operator of the file:

    def import_add(node: TfliteNode) -> None:
        a, b = node.operands(2)
        node.add("add", (a, b), attributes(activation=node.activation()))

    TFLITE = {"ADD": Importer(import_add, options="AddOptions", ignored=("PotScaleInt16",))}

What an importer need not check:

- types, shapes and quantisation of what it adds: `infer` does, right after the import;
- the operator's version: every option that has another value than its default and that was neither
  read nor listed in `ignored` is reported, and so is an option that the schema does not know.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from microtvm.errors import ModelError
from microtvm.graph.ir import Attr, Quant, TensorType
from microtvm.util import Array

SAME, VALID = 0, 1
"""The two values of the schema's enum Padding."""
FUSED = {0: "none", 1: "relu", 2: "relu_n1_to_1", 3: "relu6"}
"""The values of the schema's enum ActivationFunctionType that can be compiled."""
FUSED_UNSUPPORTED = {4: "tanh", 5: "sign_bit"}


class TfliteNode(ABC):
    """One operator of a .tflite file as an importer sees it.

    `inputs` are names of values of the graph, None for an optional input that is absent (and inputs
    left out at the end are simply not there); `outputs` are the names of the values that the
    importer has to make.
    """

    builtin: str
    """The builtin operator's name, such as CONV_2D."""
    source: str
    """The node's name in messages: the file's name of its first output."""
    inputs: tuple[str | None, ...]
    outputs: tuple[str, ...]

    @abstractmethod
    def type_of(self, value: str) -> TensorType:
        """The type of a value: an input's is final, an output's shape is what the file says."""

    @abstractmethod
    def constant(self, value: str) -> Array | None:
        """The contents of a value that is constant, else None."""

    @abstractmethod
    def option(self, name: str) -> bool | int | float | tuple[int, ...]:
        """A field of the builtin options by its accessor's name in package `tflite` (StrideH).

        A vector is a tuple, () where it is absent. ModelError where the operator has no options.
        """

    @property
    @abstractmethod
    def has_options(self) -> bool:
        """The operator carries the options that its importer names."""

    @abstractmethod
    def add(
        self,
        op: str,
        inputs: tuple[str, ...],
        attrs: Mapping[str, Attr],
        outputs: tuple[str, ...] | None = None,
    ) -> None:
        """Append a node of the graph; it makes the operator's own outputs unless told otherwise."""

    @abstractmethod
    def new_value(self, suffix: str, tensor_type: TensorType) -> str:
        """A fresh value between two nodes that one operator becomes; named after the node."""

    @abstractmethod
    def new_constant(self, suffix: str, array: Array, quant: Quant | None = None) -> str:
        """A fresh constant value; named after the node."""

    @abstractmethod
    def fold(self, array: Array) -> None:
        """Make the first output a constant: for what is known once shapes are."""

    @abstractmethod
    def set_output_shape(self, shape: tuple[int, ...]) -> None:
        """Fix the first output's shape, for an operator whose `infer` can't know it (reshape)."""

    @abstractmethod
    def report(self, message: str, hint: str = "") -> None:
        """Record that the node can't be compiled, and go on: several things may be wrong with one
        node.
        """

    def fail(self, message: str, hint: str = "") -> ModelError:
        """The error to raise when the import of the node can't go on."""
        return ModelError(f"{self.builtin} {self.source!r}: {message}", hint=hint)

    def operands(self, low: int, high: int | None = None) -> tuple[str, ...]:
        """All inputs, none absent, `low` to `high` of them (exactly `low` without `high`).

        Optional inputs that are absent at the end are dropped first.
        """
        high = low if high is None else high
        values = list(self.inputs)
        while values and values[-1] is None:
            values.pop()
        present = tuple(v for v in values if v is not None)
        if len(present) != len(values) or not low <= len(values) <= high:
            wanted = f"{low}" if low == high else f"{low} to {high}"
            raise self.fail(f"takes {wanted} inputs, has {len(present)} of {len(self.inputs)}")
        return present

    def constant_ints(self, position: int) -> tuple[int, ...]:
        """The input at `position`, an integer tensor that must be constant, flattened."""
        value = self.inputs[position] if position < len(self.inputs) else None
        array = None if value is None else self.constant(value)
        if array is None or array.dtype.kind != "i":
            raise self.fail(
                f"input {position} must be a constant integer tensor",
                hint="shapes, paddings and axes must be known when the model is compiled",
            )
        return tuple(int(v) for v in array.reshape(-1))

    def option_int(self, name: str) -> int:
        """An integer option."""
        value = self.option(name)
        assert isinstance(value, int), f"{name} is {value!r}"
        return int(value)

    def option_bool(self, name: str) -> bool:
        """A boolean option."""
        return bool(self.option(name))

    def option_float(self, name: str) -> float:
        """A floating point option."""
        value = self.option(name)
        assert isinstance(value, int | float), f"{name} is {value!r}"
        return float(value)

    def option_ints(self, name: str) -> tuple[int, ...]:
        """An option that is a vector of integers; () where it is absent."""
        value = self.option(name)
        assert isinstance(value, tuple), f"{name} is {value!r}"
        return value

    def activation(self) -> str:
        """The fused activation: none, relu, relu6 or relu_n1_to_1; any other is reported."""
        code = self.option_int("FusedActivationFunction")
        if code not in FUSED:
            name = FUSED_UNSUPPORTED.get(code, str(code))
            self.report(
                f"fused activation {name} is not supported",
                hint="train with the activation as a layer of its own, or with relu or relu6",
            )
        return FUSED.get(code, "none")

    def padding(
        self, size: tuple[int, int], kernel: tuple[int, int], strides: tuple[int, int],
        dilation: tuple[int, int] = (1, 1),
    ) -> tuple[int, int, int, int]:  # fmt: skip
        """The option Padding as (top, bottom, left, right), for an image and a kernel of (h, w)."""
        code = self.option_int("Padding")
        if code not in (SAME, VALID):
            self.report(f"padding {code} is unknown")
        if code != SAME:
            return (0, 0, 0, 0)
        top, bottom = _same(size[0], kernel[0], strides[0], dilation[0])
        left, right = _same(size[1], kernel[1], strides[1], dilation[1])
        return (top, bottom, left, right)


@dataclass(frozen=True)
class Importer:
    """What makes nodes of the graph from one builtin operator."""

    run: Callable[[TfliteNode], None]
    options: str = ""
    """The options' table in the schema (Conv2DOptions); empty where the operator has none."""
    ignored: tuple[str, ...] = ()
    """Options that change nothing in what can be compiled."""


def _same(size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """Cells before and after an axis so that it has ceil(size / stride) outputs; the odd one is
    after.
    """
    if stride < 1:
        return (0, 0)
    outputs = -(-size // stride)
    total = max(0, (outputs - 1) * stride + (kernel - 1) * dilation + 1 - size)
    return (total // 2, total - total // 2)
