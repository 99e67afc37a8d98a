"""PAD and PADV2."""

from __future__ import annotations

import numpy as np
import pytest

from tests.ops.oracle import agree_single, both_refuse, shape_of, tensor_of, values_of, we_refuse
from tests.reference import Array, Tensor, constant, single

DTYPES = ("int8", "uint8", "int16", "int32", "int64", "float32", "bool")


def widths_of(rng: np.random.Generator, rank: int, dtype: str = "int32") -> Array:
    return rng.integers(0, 4, (rank, 2)).astype(dtype)


def padded(shape: tuple[int, ...], widths: Array) -> tuple[int, ...]:
    return tuple(int(n) for n in np.array(shape) + widths.sum(axis=1))


@pytest.mark.parametrize("dtype", DTYPES)
def test_pad_with_the_zero_point(dtype: str) -> None:
    rng = np.random.default_rng(1)
    for case in range(40):
        shape = shape_of(rng)
        widths = widths_of(rng, len(shape), ("int32", "int64")[case % 2])
        # The scales differ on purpose: elements are copied as they are.
        agree_single(
            "PAD",
            [tensor_of(rng, "x", shape, dtype, 0.5), constant("p", widths)],
            tensor_of(rng, "y", padded(shape, widths), dtype, (0.5, 0.25)[case % 2]),
            [values_of(rng, dtype, shape)],
        )


@pytest.mark.parametrize("dtype", DTYPES)
def test_pad_with_a_value(dtype: str) -> None:
    rng = np.random.default_rng(2)
    for case in range(40):
        shape = shape_of(rng)
        widths = widths_of(rng, len(shape))
        y = tensor_of(rng, "y", padded(shape, widths), dtype, 0.5)
        value = values_of(rng, dtype, ((), (1,))[case % 2])
        agree_single(
            "PADV2",
            [
                tensor_of(rng, "x", shape, dtype, 0.5),
                constant("p", widths),
                Tensor("v", value.shape, dtype, y.scale, y.zero, data=np.asarray(value)),
            ],
            y,
            [values_of(rng, dtype, shape)],
        )


def test_refused() -> None:
    x, y = (Tensor(n, (2, 2), "int8", 0.5) for n in "xy")
    widths = constant("p", np.array([[1, 1], [1, 1]], np.int32))

    def pads(*rows: tuple[int, int]) -> Tensor:
        return constant("p", np.array(rows, np.int32))

    both_refuse(single("PAD", [x, pads((1, -1), (0, 0))], y), r"negative padding: \[1, 0\] before")
    both_refuse(single("PAD", [x, pads((1, 1))], y), "2 paddings for a tensor of rank 2, must be 4")
    large = Tensor("x", (1,) * 6, "int8", 0.5)
    both_refuse(single("PAD", [large, pads(*[(1, 1)] * 6)], y), "6 dimensions, supported: 5")
    dynamic = Tensor("p", (2, 2), "int32")
    we_refuse(single("PAD", [x, dynamic], y), "input 1 must be a constant integer tensor")
    other = constant("v", np.array(1, np.int8), 0.25)
    we_refuse(single("PADV2", [x, widths, other], y), "the padding's value is int8 of")
    we_refuse(
        single("PADV2", [x, widths, Tensor("v", (), "int8", 0.5)], y),
        "input 2, the padding's value, must be one constant",
    )
