"""Constant channels that stay: the same values from weights of zero and a bias of plain size."""

from __future__ import annotations

import numpy as np
import pytest

from microtvm.graph.ir import Graph, Node, Quant, TensorType
from microtvm.ops.base import attributes
from microtvm.ops.evaluate import evaluate_graph
from microtvm.ops.verify import verify
from microtvm.passes import settle_channels

DEAD = 2
"""The channel whose bias outweighs all that its weights can add."""


def layer(op: str, bias: int, scale: float) -> Graph:
    """A layer of four channels on an input of four, of which one is constant."""
    rng = np.random.default_rng(3)
    shapes = {
        "dense": ((2, 4), (4, 4), (2, 4), {"keep_dims": False}),
        "conv2d": (
            (1, 3, 3, 4), (4, 1, 1, 4), (1, 3, 3, 4),
            {"strides": (1, 1), "dilation": (1, 1), "padding": (0, 0, 0, 0), "groups": 1},
        ),
        "depthwise_conv2d": (
            (1, 3, 3, 4), (1, 3, 3, 4), (1, 3, 3, 4),
            {"strides": (1, 1), "dilation": (1, 1), "padding": (1, 1, 1, 1), "multiplier": 1},
        ),
    }  # fmt: skip
    x, w, y, attrs = shapes[op]
    axis = 3 if op == "depthwise_conv2d" else 0
    scales = [0.01, 0.02, scale, 0.015]
    biases = np.array([100, -300, bias, 7], np.int32)
    return verify(
        Graph(
            "layer",
            ("x",),
            ("y",),
            (Node("n", op, ("x", "w", "b"), ("y",), attributes(activation="relu", **attrs)),),
            {
                "x": TensorType(x, "int8", Quant((0.05,), (-3,))),
                "w": TensorType(w, "int8", Quant(tuple(scales), (0,) * 4, axis)),
                "b": TensorType((4,), "int32"),
                "y": TensorType(y, "int8", Quant((0.1,), (-128,))),
            },
            {"w": rng.integers(-127, 128, w).astype(np.int8), "b": biases},
        )
    )


@pytest.mark.parametrize("op", ["dense", "conv2d", "depthwise_conv2d"])
@pytest.mark.parametrize(("bias", "scale"), [(1 << 30, 3e-8), (-(1 << 30), 3e-8), (1 << 28, 1e-6)])
def test_a_constant_channel_is_a_bias(op: str, bias: int, scale: float) -> None:
    graph = layer(op, bias, scale)
    settled = verify(settle_channels(graph))
    weights = np.moveaxis(settled.constants["w"], 3 if op == "depthwise_conv2d" else 0, 0)
    assert not weights[DEAD].any()
    assert weights[0].any()
    assert abs(int(settled.constants["b"][DEAD])) < 1 << 15
    rng = np.random.default_rng(4)
    for _ in range(20):
        x = rng.integers(-128, 128, graph.types["x"].shape).astype(np.int8)
        np.testing.assert_array_equal(
            evaluate_graph(settled, {"x": x})["y"], evaluate_graph(graph, {"x": x})["y"]
        )


def test_nothing_constant_nothing_changed() -> None:
    graph = layer("conv2d", 50, 0.01)
    assert settle_channels(graph) is graph
