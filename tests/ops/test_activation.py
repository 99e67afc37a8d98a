"""RELU, RELU6, RELU_N1_TO_1, LOGISTIC and TANH."""

from __future__ import annotations

import numpy as np
import pytest

from tests.ops.oracle import (
    agree_single,
    both_refuse,
    every_value,
    scale_of,
    shape_of,
    tensor_of,
    values_of,
    we_refuse,
    zero_of,
)
from tests.reference import Tensor, single

CLAMPS = ("RELU", "RELU6", "RELU_N1_TO_1")
TABLES = ("LOGISTIC", "TANH")


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("code", CLAMPS)
def test_clamps_for_every_value(code: str, dtype: str) -> None:
    # Two of three ratios make exact or near ties; near ties tell float32 ratios from double ones.
    rng = np.random.default_rng(1)
    x = every_value(dtype)
    for case in range(300):
        scale = scale_of(rng)
        ratio = (float(rng.integers(0, 120)) + 0.5) / float(rng.integers(1, 256))
        out = scale / ratio if case % 3 else scale_of(rng, 0.01, 1.0) * scale * 100
        agree_single(
            code,
            [tensor_of(rng, "a", x.shape, dtype, scale)],
            tensor_of(rng, "y", x.shape, dtype, float(np.float32(out))),
            [x],
        )


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("code", TABLES)
def test_tables_for_every_value(code: str, dtype: str) -> None:
    rng = np.random.default_rng(2)
    x = every_value(dtype)
    for _ in range(300):
        out = 1 / 256 if code == "LOGISTIC" else scale_of(rng, 1e-3, 0.1)
        agree_single(
            code,
            [tensor_of(rng, "a", x.shape, dtype, scale_of(rng, 1e-4, 1.0))],
            tensor_of(rng, "y", x.shape, dtype, out),
            [x],
        )


@pytest.mark.parametrize("code", CLAMPS + TABLES)
def test_shapes(code: str) -> None:
    rng = np.random.default_rng(3)
    for case in range(30):
        dtype = ("int8", "uint8", "float32")[case % 3]
        shape = shape_of(rng, 0)
        agree_single(
            code,
            [tensor_of(rng, "a", shape, dtype, 0.1)],
            tensor_of(rng, "y", shape, dtype, 1 / 256),
            [values_of(rng, dtype, shape)],
        )


@pytest.mark.parametrize("code", CLAMPS + TABLES)
def test_float32(code: str) -> None:
    special = [-1e30, 1e30, -100, 100, 0.0, 1e-30]
    x = np.concatenate([np.linspace(-20, 20, 4001), special]).astype(np.float32)
    # An unbounded output would set the tolerance of all others.
    for part in (x[np.abs(x) < 1000], x[np.abs(x) >= 1000]):
        a, y = (Tensor(n, part.shape, "float32") for n in "ay")
        agree_single(code, [a], y, [part])


def test_refused() -> None:
    a, rng = Tensor("a", (3,), "int8", 0.1), np.random.default_rng(4)
    wrong = Tensor("y", (3,), "int8", 1 / 128, zero_of(rng, "int8"))
    both_refuse(single("LOGISTIC", [a], wrong), "the output's scale is 0.0078125, must be 1/256")
    we_refuse(single("TANH", [Tensor("a", (3,), "int32")], Tensor("y", (3,), "int32")), "int32")
    tiny = Tensor("y", (3,), "int8", 1e-9)
    we_refuse(single("RELU", [a], tiny), "output's scale 1e-09 is too small for inputs of scale")
    huge = Tensor("a", (3,), "int8", 1e38)
    we_refuse(single("RELU", [huge], tiny), "output's scale 1e-09 is too small for inputs of scale")
    we_refuse(single("RELU", [a], Tensor("y", (3,), "int8")), "has no scale and zero point")
    we_refuse(single("RELU", [a], Tensor("y", (3,), "uint8", 0.1)), "output is uint8.3., must be")
