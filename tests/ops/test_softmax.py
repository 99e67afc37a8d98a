"""SOFTMAX."""

from __future__ import annotations

import numpy as np
import pytest

from tests.ops.oracle import (
    agree,
    assert_equal,
    both_refuse,
    ours,
    scale_of,
    shape_of,
    values_of,
    we_refuse,
)
from tests.reference import ReferenceAborted, Tensor, run_in_child, schema, single


def model(shape: tuple[int, ...], dtype: str, scale: float, beta: float = 1.0) -> bytes:
    quantised = dtype != "float32"
    lowest = int(np.iinfo(dtype).min) if quantised else 0
    return single(
        "SOFTMAX",
        [Tensor("x", shape, dtype, scale if quantised else None, 5 if quantised else 0)],
        Tensor("y", shape, dtype, 1 / 256 if quantised else None, lowest),
        schema.SoftmaxOptionsT(beta=beta),
    )


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_two_million_elements(dtype: str) -> None:
    # A table of float exponentials is wrong on about one element of a million.
    rng = np.random.default_rng(1)
    info = np.iinfo(dtype)
    for case in range(100):
        columns = int(rng.choice([1, 2, 3, 10, 12, 100, 400]))
        shape = (10000 // columns, columns)
        x = values_of(rng, dtype, shape)
        if case % 2:  # close scores
            near = rng.normal((info.min + info.max) / 2, 20, shape)
            x = np.clip(near, info.min, info.max).astype(dtype)
        beta = float(np.float32(rng.choice([1.0, 1.0, 0.5, 2.0, 0.1, 10.0])))
        agree(model(shape, dtype, scale_of(rng, 1e-4, 4.0), beta), x)


@pytest.mark.parametrize("scale", [0.01, 0.0625, 0.1, 1.0, 16.0])
def test_every_difference(scale: float) -> None:
    # Two scores: all 256 differences that can occur, and so all exponentials.
    low = np.arange(-128, 128).astype(np.int8)
    agree(model((256, 2), "int8", scale), np.stack([low, np.full(256, 127, np.int8)], axis=1))


def test_float32() -> None:
    rng = np.random.default_rng(2)
    for _ in range(50):
        shape = shape_of(rng)
        agree(model(shape, "float32", 1.0, 0.5), values_of(rng, "float32", shape) * 5)
    huge = np.array([[1e30, -1e30, 0.0], [88.0, 89.0, -200.0]], np.float32)
    agree(model((2, 3), "float32", 1.0), huge)


def test_a_sum_that_the_reference_aborts_at() -> None:
    # 511 equal scores sum to 511; at 512 the reference's shift is 32, which kills its process.
    equal = np.full((1, 511), 3, np.int8)
    built = model((1, 511), "int8", 0.5)
    assert_equal(ours(built, equal), run_in_child(built, [[equal]])[0])
    larger = np.full((1, 512), 3, np.int8)
    built = model((1, 512), "int8", 0.5)
    with pytest.raises(ReferenceAborted):
        run_in_child(built, [[larger]])
    # Each probability is 1/512, half a step of the output: the formula's own shift rounds it down.
    assert (ours(built, larger)[0] == -128).all()


def test_refused() -> None:
    def quantised(scale: float, zero: int, beta: float = 1.0) -> bytes:
        return single(
            "SOFTMAX",
            [Tensor("x", (2, 3), "int8", 0.1)],
            Tensor("y", (2, 3), "int8", scale, zero),
            schema.SoftmaxOptionsT(beta=beta),
        )

    both_refuse(quantised(1 / 128, -128), "must have 1/256 and -128")
    both_refuse(quantised(1 / 256, 0), "must have 1/256 and -128")
    both_refuse(model((), "int8", 0.1), "input is a scalar")
    we_refuse(quantised(1 / 256, -128, 0.0), "must be above 2.-26")
    we_refuse(quantised(1 / 256, -128, -1.0), "must be above 2.-26")
    we_refuse(quantised(1 / 256, -128, float("inf")), "beta is inf")
    we_refuse(model((1, 4096), "int8", 0.1), "the last axis has 4096 elements; supported: 4095")
