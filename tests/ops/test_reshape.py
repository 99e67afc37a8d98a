"""RESHAPE, SQUEEZE, EXPAND_DIMS and the identity."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from microtvm.errors import ModelError
from microtvm.graph.ir import Node, TensorType
from microtvm.ops.base import NodeContext
from microtvm.ops.registry import find
from tests.ops.oracle import agree_single, both_refuse, shape_of, values_of, we_refuse
from tests.reference import Tensor, constant, schema, single

DTYPES = ("int8", "uint8", "int16", "int32", "int64", "float32", "bool")


def regrouped(rng: np.random.Generator, elements: int) -> list[int]:
    """A random shape of so many elements."""
    shape = []
    while len(shape) < 4 and (elements > 1 or not shape):
        divisors = [d for d in range(1, elements + 1) if elements % d == 0]
        shape.append(int(rng.choice(divisors)))
        elements //= shape[-1]
    return [*shape, elements]


@pytest.mark.parametrize("dtype", DTYPES)
def test_reshape(dtype: str) -> None:
    rng = np.random.default_rng(1)
    for case in range(40):
        x = values_of(rng, dtype, shape_of(rng, 0))
        final = regrouped(rng, x.size)
        asked = list(final)
        if case % 2:
            asked[rng.integers(len(asked))] = -1
        option = schema.ReshapeOptionsT(newShape=asked)
        inputs = [Tensor("x", x.shape, dtype)]
        if case % 3:
            inputs.append(constant("shape", np.array(asked, np.int32)))
            # The option loses against the tensor.
            option = (None, schema.ReshapeOptionsT(newShape=[12345]))[case % 3 - 1]
        agree_single("RESHAPE", inputs, Tensor("y", tuple(final), dtype), [x], option)


def test_reshape_does_not_rescale() -> None:
    x, y = Tensor("x", (2, 3), "int8", 0.25, 3), Tensor("y", (6,), "int8", 0.5, -1)
    shape = constant("shape", np.array([6], np.int32))
    data = values_of(np.random.default_rng(2), "int8", (2, 3))
    agree_single("RESHAPE", [x, shape], y, [data])


def test_reshape_to_a_scalar() -> None:
    x, data = Tensor("x", (1, 1), "int8", 0.5), np.array([[7]], np.int8)
    y = Tensor("y", (), "int8", 0.5)
    empty = constant("shape", np.zeros(0, np.int32))
    agree_single("RESHAPE", [x, empty], y, [data])
    agree_single("RESHAPE", [x], y, [data], schema.ReshapeOptionsT(newShape=[0]))


def test_reshape_by_the_option_where_the_tensor_is_no_vector_of_int32() -> None:
    x, y = Tensor("x", (2, 6), "int8", 0.5), Tensor("y", (4, 3), "int8", 0.5)
    data = values_of(np.random.default_rng(3), "int8", (2, 6))
    for shape in (np.array([3, 4], np.int64), np.array([[3, 4]], np.int32)):
        option = schema.ReshapeOptionsT(newShape=[4, 3])
        agree_single("RESHAPE", [x, constant("shape", shape)], y, [data], option)


@pytest.mark.parametrize(
    ("shape", "axes", "final"),
    [
        ((1, 3, 1), [], (3,)),
        ((1, 3, 1), [0], (3, 1)),
        ((1, 3, 1), [-1], (1, 3)),
        ((1, 3, 1), [0, 2], (3,)),
        ((1, 3, 1), [0, 0], (3, 1)),
        ((1, 1), [], ()),
        ((2, 3), [], (2, 3)),
        ((1, 2, 1, 3, 1), [2, -5], (2, 3, 1)),
    ],
)
def test_squeeze(shape: tuple[int, ...], axes: Sequence[int], final: tuple[int, ...]) -> None:
    for dtype in DTYPES:
        x = values_of(np.random.default_rng(4), dtype, shape)
        option = schema.SqueezeOptionsT(squeezeDims=list(axes))
        inputs = [Tensor("x", shape, dtype)]
        agree_single("SQUEEZE", inputs, Tensor("y", final, dtype), [x], option)


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2, -3])
def test_expand_dims(axis: int) -> None:
    data = values_of(np.random.default_rng(5), "int8", (2, 3))
    final = np.expand_dims(data, axis).shape
    x, y = Tensor("x", (2, 3), "int8", 0.5), Tensor("y", final, "int8", 0.5)
    for given in (np.array(axis, np.int32), np.array([axis], np.int64)):
        option = schema.ExpandDimsOptionsT()
        agree_single("EXPAND_DIMS", [x, constant("axis", given)], y, [data], option)


def test_refused_by_the_reference_too() -> None:
    x, y = Tensor("x", (2, 6), "int8", 0.5), Tensor("y", (3, 4), "int8", 0.5)

    def reshape(*shape: int) -> bytes:
        return single("RESHAPE", [x, constant("shape", np.array(shape, np.int32))], y)

    both_refuse(reshape(5, 4), r"can't give \[5, 4\] to a tensor of 12 elements")
    both_refuse(reshape(-1, -1), r"can't give \[-1, -1\] to a tensor of 12 elements")
    both_refuse(reshape(-1, 5), r"can't give \[-1, 5\]")
    both_refuse(reshape(0, 6), r"can't give \[0, 6\]")
    for axis in (1, 5):
        option = schema.SqueezeOptionsT(squeezeDims=[axis])
        thin = Tensor("x", (1, 3, 1), "int8", 0.5)
        both_refuse(single("SQUEEZE", [thin], y, option), rf"can't drop axis {axis} of \[1, 3, 1\]")
    for axes in ([3], [-4], [0, 1]):
        given = constant("axis", np.array(axes, np.int32))
        refused = single("EXPAND_DIMS", [x, given], y, schema.ExpandDimsOptionsT())
        both_refuse(refused, r"can't insert axis .* into \[2, 6\]")


def test_a_shape_that_is_not_constant_is_refused() -> None:
    x, y = Tensor("x", (2, 6), "int8", 0.5), Tensor("y", (3, 4), "int8", 0.5)
    dynamic = single("RESHAPE", [x, Tensor("shape", (2,), "int32")], y)
    we_refuse(dynamic, "input 1 must be a constant integer tensor")


def context(op: str, x: TensorType, y: TensorType) -> NodeContext:
    return NodeContext(Node("n", op, ("x",), ("y",)), (x,), (y,), {})


def test_copy() -> None:
    t = TensorType((2, 3), "int8")
    data = values_of(np.random.default_rng(6), "int8", (2, 3))
    assert find("copy").infer(context("copy", t, t)) == [((2, 3), "int8")]
    (made,) = find("copy").evaluate(context("copy", t, t), [data])
    np.testing.assert_array_equal(made, data)
    assert not np.shares_memory(made, data)


def test_a_graph_with_another_number_of_elements_is_refused() -> None:
    wrong = context("reshape", TensorType((2, 3), "int8"), TensorType((7,), "int8"))
    with pytest.raises(ModelError, match=r"int8\[2, 3\] has 6 elements, int8\[7\] has 7"):
        find("reshape").infer(wrong)
