"""Pools against LiteRT's reference kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.ops.oracle import agree_single, scale_of, values_of, we_refuse, zero_of
from tests.ops.test_conv import output_size
from tests.reference import ACTIVATIONS, SAME, VALID, Tensor, schema, single


def options(
    size: tuple[int, int],
    strides: tuple[int, int] = (1, 1),
    padding: int = VALID,
    activation: int = 0,
) -> Any:
    """Options of the pools."""
    return schema.Pool2DOptionsT(
        filterHeight=size[0],
        filterWidth=size[1],
        strideH=strides[0],
        strideW=strides[1],
        padding=padding,
        fusedActivationFunction=activation,
    )


@pytest.mark.parametrize("dtype", ["int8", "float32"])
@pytest.mark.parametrize("code", ["AVERAGE_POOL_2D", "MAX_POOL_2D"])
def test_random(code: str, dtype: str) -> None:
    rng = np.random.default_rng([len(code), len(dtype)])
    for _ in range(150):
        kernel = (int(rng.integers(1, 6)), int(rng.integers(1, 6)))
        strides = (int(rng.integers(1, 4)), int(rng.integers(1, 4)))
        padding = int(rng.choice([SAME, VALID]))
        size = tuple(int(k + rng.integers(0, 6)) for k in kernel)
        if padding == SAME:
            size = tuple(int(n) for n in rng.integers(1, 10, 2))
        out = [
            output_size(n, k, s, 1, padding) for n, k, s in zip(size, kernel, strides, strict=True)
        ]
        batch, channels = int(rng.integers(1, 3)), int(rng.integers(1, 6))
        activation = ACTIVATIONS[str(rng.choice(list(ACTIVATIONS)))]
        x = values_of(rng, dtype, (batch, *size, channels))
        scale = scale_of(rng, 0.01, 0.2) if dtype == "int8" else None
        zero = zero_of(rng, dtype) if dtype == "int8" else 0
        tensor = Tensor("x", x.shape, dtype, scale, zero)
        y = Tensor("y", (batch, *out, channels), dtype, scale, zero)
        if rng.random() < 0.5 and dtype == "int8":
            # Nothing is rescaled, even where scales differ.
            y = Tensor("y", y.shape, dtype, scale_of(rng, 0.01, 0.2), zero_of(rng, dtype))
        agree_single(code, [tensor], y, [x], options(kernel, strides, padding, activation))


@pytest.mark.parametrize("count", range(1, 17))
def test_average_of_every_sum_near_zero(count: int) -> None:
    """Ties of both signs: all sums from -3n to 3n of n elements."""
    sums = np.arange(-3 * count, 3 * count + 1)
    x = np.zeros((len(sums), 1, count, 1), np.int8)
    x[:, 0, :, 0] = sums[:, None] // count
    for i, rest in enumerate(sums % count):
        x[i, 0, :rest, 0] += 1
    tensor, y = (
        Tensor(n, s, "int8", 0.5, 3) for n, s in (("x", x.shape), ("y", (len(sums), 1, 1, 1)))
    )
    agree_single("AVERAGE_POOL_2D", [tensor], y, [x], options((1, count)))


@pytest.mark.parametrize(
    ("x", "opt", "message"),
    [
        (Tensor("x", (1, 4, 4, 2), "uint8", 0.5, 0), options((2, 2)), "supported: int8, float32"),
        (Tensor("x", (4, 4, 2), "int8", 0.5, 0), options((2, 2)), "must have 4 dimensions"),
        (Tensor("x", (1, 4, 4, 2), "int8", 0.5, 0), options((5, 2)), "spans 5 does not fit"),
        (Tensor("x", (1, 4, 4, 2), "int8", 0.5, 0), options((0, 2)), "must be at least 1"),
        (Tensor("x", (1, 4, 4, 2), "int8", 0.5, 0), options((2, 2), (1, 0)), "must be at least 1"),
    ],
)
def test_refused(x: Tensor, opt: Any, message: str) -> None:
    y = Tensor("y", (1, 3, 3, 2), x.dtype, 0.5, 0)
    we_refuse(single("MAX_POOL_2D", [x], y, opt), message)
