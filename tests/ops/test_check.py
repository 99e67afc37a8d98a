"""What `infer` says of graphs that no .tflite file leads to, but a pass or a text can."""

from __future__ import annotations

import re

import pytest

from microtvm.errors import ModelError
from microtvm.graph.ir import Attr, Node, Quant, TensorType
from microtvm.ops.base import NodeContext
from microtvm.ops.registry import find

Q = Quant((0.5,), (0,))
X = TensorType((2, 3), "int8", Q)
REAL = TensorType((2, 3), "float32")


def refused(
    match: str, op: str, inputs: tuple[TensorType, ...], out: TensorType, **attrs: Attr
) -> None:
    """`infer` fails with the node's name and a message that contains `match`."""
    names = tuple(f"x{i}" for i in range(len(inputs)))
    node = Node("n", op, names, ("y",), attrs, "model/layer")
    with pytest.raises(ModelError, match=f"^{op} 'model/layer': .*{re.escape(match)}"):
        find(op).infer(NodeContext(node, inputs, (out,), {}))


def quantised(scale: float, zero: int = 0, dtype: str = "int8") -> TensorType:
    return TensorType((2, 3), dtype, Quant((scale,), (zero,)))


def test_number_of_inputs_and_outputs() -> None:
    refused("takes 2 inputs, has 1", "add", (X,), X, activation="none")
    refused("takes 1 inputs, has 0", "concat", (), X, axis=0, activation="none")
    node = Node("n", "relu", ("x",), ("y", "z"))
    with pytest.raises(ModelError, match="relu 'n': has one output, the node names 2"):
        find("relu").infer(NodeContext(node, (X,), (X, X), {}))


def test_quantisation() -> None:
    refused("has scale inf", "relu", (quantised(float("inf")),), X)
    refused("has scale 0.0", "relu", (X,), quantised(0.0))
    refused("has scale nan", "add", (X, quantised(float("nan"))), X, activation="none")
    refused("has zero point 128, outside its type", "relu", (quantised(0.5, 128),), X)
    channels = TensorType((2, 3), "int8", Quant((0.5, 0.25), (0, 0), 0))
    refused("is quantised per channel", "mean", (channels,), X, axes=(0,), keep_dims=True)
    refused("is quantised per channel", "softmax", (X,), channels, beta=1.0)


def test_attributes() -> None:
    refused("activation 'tanh' is unknown", "add", (X, X), X, activation="tanh")
    refused("axes [1, 0] are not ascending", "mean", (X,), X, axes=(1, 0), keep_dims=True)
    refused("axes [1, 1] are not ascending", "mean", (X,), X, axes=(1, 1), keep_dims=True)
    refused("axis -1 is outside", "mean", (X,), X, axes=(-1,), keep_dims=True)
    refused("axis 2 is outside", "concat", (X,), X, axis=2, activation="none")
    whole = {"before": (1, 1), "after": (0, 0)}
    refused("pads with 128, which int8 can't hold", "pad", (X,), X, **whole, value=128)
    refused("pads with 0.5, which int8 can't hold", "pad", (X,), X, **whole, value=0.5)
    refused(
        "pads 1 axes before and 2 after, the input has 2",
        "pad", (X,), X, before=(1,), after=(1, 1), value=0,
    )  # fmt: skip


def test_types_of_outputs() -> None:
    for op in ("relu", "tanh"):
        refused("output is float32[2, 3], must be int8", op, (X,), REAL)
    refused("output is float32[2, 3], must be int8", "add", (X, X), REAL, activation="none")
    refused("output is float32[2, 3], must be int8", "softmax", (X,), REAL, beta=1.0)
    refused("output is uint8[2, 3], must be int8", "mean", (X,), quantised(0.5, 0, "uint8"),
            axes=(0,), keep_dims=True)  # fmt: skip


def test_scales_on_an_axis() -> None:
    short = TensorType((2, 3), "int8", Quant((0.5, 0.25), (0, 0), 1))
    refused("has 2 scales on axis 1", "dequantize", (short,), REAL)
    beyond = TensorType((2, 3), "int8", Quant((0.5, 0.25), (0, 0), 2))
    refused("axis 2 is outside a tensor of rank 2", "dequantize", (beyond,), REAL)


def test_scales_that_overflow() -> None:
    message = "the output's scale 1e-09 is too small for inputs of scale 0.5"
    tiny = quantised(1e-9)
    for op in ("relu", "quantize"):
        refused(message, op, (X,), tiny)
    refused(message, "mean", (X,), tiny, axes=(0,), keep_dims=True)
    for op in ("add", "sub", "mul"):
        refused(f"{message} and 0.5", op, (X, X), tiny, activation="none")
    wide = [quantised(0.5, 0, "int16")] * 2
    refused("is too small", "mul", tuple(wide), quantised(0.1, 0, "int16"), activation="none")
