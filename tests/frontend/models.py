"""Small .tflite files for the frontend's tests."""

from __future__ import annotations

import numpy as np

from tests.reference import RELU, RELU6, SAME, VALID, Operator, Tensor, build, constant, schema


def many_operators() -> bytes:
    """A float-edged int8 model of a dozen operators, with every kind of table of the format."""
    rng = np.random.default_rng(0)

    def weights(*shape: int) -> np.ndarray:
        return rng.integers(-127, 128, shape).astype(np.int8)

    tensors = [
        Tensor("x", (1, 6, 5, 3), "float32", shape_signature=(-1, 6, 5, 3)),
        Tensor("q", (1, 6, 5, 3), "int8", 0.1, 3),
        constant("pads", np.array([[0, 0], [1, 1], [1, 1], [0, 0]], np.int32)),
        Tensor("p", (1, 8, 7, 3), "int8", 0.1, 3),
        constant("w", weights(4, 3, 3, 3), [0.1, 0.2, 0.3, 0.4]),
        constant("b", np.arange(4, dtype=np.int32), [0.01] * 4),
        Tensor("c", (1, 6, 5, 4), "int8", 0.5, -128),
        constant("dw", weights(1, 3, 3, 8), [0.1] * 8, axis=3),
        constant("db", np.arange(8, dtype=np.int32), [0.05] * 8),
        Tensor("d", (1, 6, 5, 8), "int8", 0.9, -7),
        Tensor("e", (1, 6, 5, 8), "int8", 0.9, -7),
        Tensor("cat", (1, 6, 5, 16), "int8", 0.9, -7),
        Tensor("m", (1, 2, 2, 16), "int8", 0.9, -7),
        constant("axes", np.array([1, 2], np.int32)),
        Tensor("mean", (1, 16), "int8", 0.5, 1),
        constant("shape", np.array([-1, 8], np.int32)),
        Tensor("r", (2, 8), "int8", 0.5, 1),
        constant("fw", weights(5, 8), 0.1),
        Tensor("f", (2, 5), "int8", 0.7, 1),
        Tensor("s", (2, 5), "int8", 1 / 256, -128),
        Tensor("y", (2, 5), "float32"),
    ]
    conv = schema.Conv2DOptionsT(
        padding=VALID, strideH=1, strideW=1, dilationHFactor=1, dilationWFactor=1,
        fusedActivationFunction=RELU,
    )  # fmt: skip
    depthwise = schema.DepthwiseConv2DOptionsT(
        padding=SAME, strideH=1, strideW=1, depthMultiplier=2, dilationHFactor=1, dilationWFactor=1
    )
    pool = schema.Pool2DOptionsT(padding=VALID, strideH=3, strideW=2, filterHeight=3, filterWidth=2)
    add = schema.AddOptionsT(fusedActivationFunction=RELU6)
    operators = [
        Operator("QUANTIZE", ("x",), ("q",), schema.QuantizeOptionsT()),
        Operator("PAD", ("q", "pads"), ("p",), schema.PadOptionsT()),
        Operator("CONV_2D", ("p", "w", "b"), ("c",), conv),
        Operator("DEPTHWISE_CONV_2D", ("c", "dw", "db"), ("d",), depthwise),
        Operator("ADD", ("d", "d"), ("e",), add),
        Operator("CONCATENATION", ("e", "d"), ("cat",), schema.ConcatenationOptionsT(axis=3)),
        Operator("MAX_POOL_2D", ("cat",), ("m",), pool),
        Operator("MEAN", ("m", "axes"), ("mean",), schema.ReducerOptionsT(keepDims=False)),
        Operator("RESHAPE", ("mean", "shape"), ("r",), schema.ReshapeOptionsT(newShape=[-1, 8])),
        Operator("FULLY_CONNECTED", ("r", "fw"), ("f",), schema.FullyConnectedOptionsT()),
        Operator("SOFTMAX", ("f",), ("s",), schema.SoftmaxOptionsT(beta=1.0)),
        Operator("DEQUANTIZE", ("s",), ("y",), schema.DequantizeOptionsT()),
    ]
    return build(tensors, operators, ["x"], ["y", "m"])
