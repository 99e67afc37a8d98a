"""CONCATENATION."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.ops.oracle import agree, agree_single, both_refuse, shape_of, values_of, we_refuse
from tests.reference import RELU, Operator, Tensor, build, schema, single


def options(axis: int, **more: Any) -> object:
    return schema.ConcatenationOptionsT(axis=axis, **more)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32", "int64", "float32", "bool"])
def test_shapes_and_axes(dtype: str) -> None:
    rng = np.random.default_rng(1)
    scale = 0.25 if dtype in ("int8", "uint8", "int16") else None
    for case in range(50):
        shape = shape_of(rng)
        axis = int(rng.integers(len(shape)))
        lengths = [int(n) for n in rng.integers(1, 5, rng.integers(1, 5))]
        data = [values_of(rng, dtype, (*shape[:axis], n, *shape[axis + 1 :])) for n in lengths]
        inputs = [Tensor(f"x{i}", x.shape, dtype, scale) for i, x in enumerate(data)]
        if case % 4 == 0:  # the first input is a constant
            inputs[0] = Tensor("x0", data[0].shape, dtype, scale, data=data[0])
        whole = (*shape[:axis], sum(lengths), *shape[axis + 1 :])
        if all(t.data is not None for t in inputs):
            continue
        agree_single(
            "CONCATENATION",
            inputs,
            Tensor("y", whole, dtype, scale),
            [x for x, t in zip(data, inputs, strict=True) if t.data is None],
            options(axis - len(shape) if case % 2 else axis),
        )


def test_one_input_twice() -> None:
    x, y = Tensor("x", (2, 3), "int8", 0.5, 7), Tensor("y", (2, 6), "int8", 0.5, 7)
    operators = [Operator("CONCATENATION", ("x", "x"), ("y",), options(1))]
    data = values_of(np.random.default_rng(2), "int8", (2, 3))
    agree(build([x, y], operators, ["x"], ["y"]), data)


def test_refused_by_the_reference_too() -> None:
    def model(a: Tensor, b: Tensor, axis: int = 1, **more: Any) -> bytes:
        return single(
            "CONCATENATION", [a, b], Tensor("y", (2, 6), "int8", 0.5), options(axis, **more)
        )

    a, b = (Tensor(n, (2, 3), "int8", 0.5) for n in "ab")
    both_refuse(model(a, Tensor("b", (2, 3), "int8", 0.25)), r"input 1 has Quant.*must be equal")
    both_refuse(model(a, Tensor("b", (2, 3), "int8", 0.5, 1)), r"input 1 has Quant.*must be equal")
    both_refuse(model(a, Tensor("b", (1, 3), "int8", 0.5)), "must differ in axis 1 only")
    both_refuse(model(a, Tensor("b", (2, 3, 1), "int8", 0.5)), "must differ in axis 1 only")
    both_refuse(model(a, b, 2), "axis 2 is outside a tensor of rank 2")
    both_refuse(model(a, b, -3), "axis -1 is outside a tensor of rank 2")
    both_refuse(model(a, b, fusedActivationFunction=RELU), "activation 'relu' can't be fused")
    both_refuse(model(a, Tensor("b", (2, 3), "uint8", 0.5)), "inputs differ in type")


def test_uint8_is_not_rescaled() -> None:
    a, b = Tensor("a", (2, 3), "uint8", 0.5), Tensor("b", (2, 3), "uint8", 0.25)
    y = Tensor("y", (2, 6), "uint8", 0.5)
    we_refuse(single("CONCATENATION", [a, b], y, options(1)), "must be equal")
