"""Shapes that a model computes: constants after the import."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.ops.oracle import agree, imported, we_refuse
from tests.reference import Array, Operator, Tensor, build, constant, schema


def ints(name: str, *values: int) -> Tensor:
    """A constant vector of int32."""
    return constant(name, np.array(values, np.int32))


def slicing(**masks: int) -> Any:
    """Options of STRIDED_SLICE."""
    return schema.StridedSliceOptionsT(**masks)


def flatten(signature: tuple[int, ...]) -> bytes:
    """What a converter makes of Flatten where the batch is unknown."""
    tensors = [
        Tensor("x", (1, 3, 2, 4), "int8", 0.5, 3, shape_signature=signature),
        Tensor("shape", (4,), "int32"),
        ints("zero", 0),
        ints("one", 1),
        ints("unit", 1),
        Tensor("batch", (), "int32"),
        constant("rest", np.array(-1, np.int32)),
        Tensor("target", (2,), "int32"),
        Tensor("y", (1, 24), "int8", 0.5, 3),
    ]
    shape = schema.ShapeOptionsT(outType=schema.TensorType.INT32)
    operators = [
        Operator("SHAPE", ("x",), ("shape",), shape),
        Operator(
            "STRIDED_SLICE", ("shape", "zero", "one", "unit"), ("batch",), slicing(shrinkAxisMask=1)
        ),
        Operator("PACK", ("batch", "rest"), ("target",), schema.PackOptionsT(valuesCount=2)),
        Operator("RESHAPE", ("x", "target"), ("y",), schema.ReshapeOptionsT()),
    ]
    return build(tensors, operators, ["x"], ["y"])


def test_flatten_of_an_unknown_batch() -> None:
    model = flatten((-1, 3, 2, 4))
    graph = imported(model)
    assert [(n.op, n.inputs) for n in graph.nodes] == [("reshape", ("x",))]
    agree(model, np.arange(24, dtype=np.int8).reshape(1, 3, 2, 4))


def sliced(
    begin: tuple[int, ...], end: tuple[int, ...], step: tuple[int, ...], **masks: int
) -> bytes:
    """y = x[begin:end:step] + 0 of a constant x."""
    x = np.arange(24, dtype=np.int32).reshape(4, 6)
    tensors = [
        constant("x", x),
        ints("b", *begin),
        ints("e", *end),
        ints("s", *step),
        Tensor("y", (1,), "int32"),
        Tensor("given", (1,), "float32"),
        Tensor("z", (1,), "float32"),
    ]
    operators = [
        Operator("STRIDED_SLICE", ("x", "b", "e", "s"), ("y",), slicing(**masks)),
        Operator("RELU", ("given",), ("z",)),
    ]
    return build(tensors, operators, ["given"], ["y", "z"])


@pytest.mark.parametrize(
    ("begin", "end", "step", "masks"),
    [
        ((1, 2), (3, 6), (1, 2), {}),
        ((1, 2), (3, 6), (1, 1), {"beginMask": 1, "endMask": 2}),
        ((-1, 0), (0, -1), (1, 3), {"shrinkAxisMask": 1}),
        ((2, -3), (0, 0), (1, 1), {"shrinkAxisMask": 3}),
        ((1,), (3,), (1,), {}),
        ((-9, 1), (9, 99), (3, 1), {}),
    ],
)
def test_slices(begin: Any, end: Any, step: Any, masks: dict[str, int]) -> None:
    given: Array = np.zeros(1, np.float32)
    agree(sliced(begin, end, step, **masks), given)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (sliced((1, 2, 0), (3, 6, 1), (1, 1, 1)), "slice .* of 2 dimensions"),
        (sliced((1, 2), (3, 6), (1, -1)), "slice .* of 2 dimensions"),
        (sliced((4, 2), (3, 6), (1, 1), shrinkAxisMask=1), "element 4 of 4"),
        (sliced((3, 2), (3, 6), (1, 1)), "makes an empty tensor"),
        (sliced((1, 2), (3, 6), (1, 1), newAxisMask=1), "option NewAxisMask = 1 is not supported"),
    ],
)
def test_slices_that_are_refused(model: bytes, message: str) -> None:
    we_refuse(model, message)


def packed(count: int, axis: int, *arrays: Array) -> bytes:
    """y = the arrays side by side."""
    constants = [constant(f"c{i}", a) for i, a in enumerate(arrays)]
    tensors = [
        *constants,
        Tensor("y", (1,), "int32"),
        Tensor("given", (1,), "float32"),
        Tensor("z", (1,), "float32"),
    ]
    options = schema.PackOptionsT(valuesCount=count, axis=axis)
    operators = [
        Operator("PACK", tuple(c.name for c in constants), ("y",), options),
        Operator("RELU", ("given",), ("z",)),
    ]
    return build(tensors, operators, ["given"], ["y", "z"])


def test_packs() -> None:
    a, b = np.arange(6, dtype=np.int32).reshape(2, 3), np.ones((2, 3), np.int32)
    for axis in (0, 1, 2, -1, -3):
        agree(packed(2, axis, a, b), np.zeros(1, np.float32))
    we_refuse(packed(3, 0, a, b), "packs 3 values, has 2")
    we_refuse(packed(2, 3, a, b), "can't pack .* on axis 3")
    we_refuse(packed(2, 0, a, b[:1]), "can't pack")
    floats = a.astype(np.float32)
    we_refuse(packed(2, 0, floats, floats), "only where it computes a shape")
