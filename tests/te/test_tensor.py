"""Tensor expressions: what they accept, their types, and their values by NumPy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from microtvm import te
from microtvm.te import Tensor
from microtvm.te.evaluate import evaluate_indices, evaluate_op
from microtvm.te.layout import IndexMap, strides_of
from microtvm.tir.expr import Var, const
from microtvm.util import Array
from tests.te.oracle import check, check_compiled, reference

RNG = np.random.default_rng(17)


def value(tensor: Tensor, **inputs: tuple[Tensor, Array]) -> Array:
    """The tensor's array by NumPy."""
    return reference([tensor], dict(inputs.values()))[0]


def test_axes_have_the_names_of_the_function_s_parameters() -> None:
    y = te.compute((2, 3), lambda row, column: row + column, "y")
    assert [a.name for a in y.op.axis] == ["row", "column"]
    z = te.compute((2, 3), lambda *index: index[0] + index[1], "z")
    assert [a.name for a in z.op.axis] == ["i0", "i1"]
    np.testing.assert_array_equal(value(y), [[0, 1, 2], [1, 2, 3]])
    np.testing.assert_array_equal(value(z), value(y))


@pytest.mark.parametrize(
    ("number", "dtype"), [(1, "int32"), (1.5, "float32"), (-3, "int32"), (0.0, "float32")]
)
def test_python_numbers_have_the_type_that_they_are_written_with(number: float, dtype: str) -> None:
    y = te.compute((2,), lambda i: number, "y")
    assert y.dtype == dtype
    np.testing.assert_array_equal(value(y), np.full(2, number, dtype))


def test_select_takes_the_type_of_its_expression_or_of_its_float() -> None:
    x = te.placeholder((2,), "int8", "x")
    assert te.select(x[0] > 0, x[0], 0).dtype == "int8"
    assert te.select(x[0] > 0, 0.5, 2).dtype == "float32"
    assert te.select(x[0] > 0, 1, 2).dtype == "int32"
    f = te.placeholder((2,), "float32", "f")
    assert te.select(x[0] > 0, 0.5, f[0]).dtype == "float32"
    assert te.select(te.all(), f[0], f[1]) is f[0]
    assert te.select(te.any(), f[0], f[1]) is f[1]


def test_axes_compute_and_compare() -> None:
    k = te.reduce_axis((0, 6), "k")
    x = te.placeholder((6,), "int32", "x")
    element = te.select(te.all(k >= 1, k < 5, k > 0, k <= 4), x[k], 1 - k) * (2 * k + 3 - (k % 2))
    element = element + (7 - k) * (1 + k) - k // 2 + (k - 1) * k.var
    y = te.compute((1,), lambda i: te.sum(element, axis=k), "y")
    data = RNG.integers(-50, 50, 6).astype(np.int32)
    n = np.arange(6)
    expected = np.where((n >= 1) & (n < 5), data, 1 - n) * (2 * n + 3 - n % 2)
    expected = expected + (7 - n) * (1 + n) - n // 2 + (n - 1) * n
    np.testing.assert_array_equal(value(y, x=(x, data)), [expected.sum()])
    check(te.create_schedule(y), {x: data})


@pytest.mark.parametrize("reducer", ["sum", "max", "min"])
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "float32"])
def test_reductions(reducer: str, dtype: str) -> None:
    x = te.placeholder((3, 5), dtype, "x")
    k = te.reduce_axis(5, "k")
    reductions = {
        "sum": lambda v: te.sum(v, axis=k),
        "max": lambda v: te.max(v, axis=k),
        "min": lambda v: te.min(v, axis=[k]),
    }
    y = te.compute((3,), lambda i: reductions[reducer](x[i, k]), "y")
    data = RNG.integers(0, 20, (3, 5)).astype(dtype)
    numpy = {"sum": np.sum, "max": np.max, "min": np.min}[reducer]
    np.testing.assert_array_equal(value(y, x=(x, data)), numpy(data, axis=1))
    check(te.create_schedule(y), {x: data})


def test_unsigned_arithmetic_wraps(tmp_path: Path) -> None:
    """In NumPy, in the interpreter and in C: also where a quotient shows the bits above."""
    x = te.placeholder((256,), "uint8", "x")
    three, five, two = (const(n, "uint8") for n in (3, 5, 2))
    y = te.compute((256,), lambda i: te.floordiv(x[i] * three - five, two), "y")
    data = np.arange(256, dtype=np.uint8)
    expected = (data * np.uint8(3) - np.uint8(5)) // np.uint8(2)
    np.testing.assert_array_equal(value(y, x=(x, data)), expected)
    program = check(te.create_schedule(y), {x: data})
    check_compiled([(program, {x: data}, [expected])], tmp_path)


def test_floats_have_the_first_of_equals() -> None:
    """As std::min and std::max: 0.0 and -0.0 are equal."""
    x = te.placeholder((2,), "float32", "x")
    low = te.compute((2,), lambda i: te.min(x[i], x[1 - i]), "low")
    high = te.compute((2,), lambda i: te.max(x[i], x[1 - i]), "high")
    data = np.array([0.0, -0.0], np.float32)
    for tensor in (low, high):
        np.testing.assert_array_equal(np.signbit(value(tensor, x=(x, data))), [False, True])


def test_truncating_and_flooring_division() -> None:
    x = te.placeholder((9,), "int32", "x")
    data = np.arange(-4, 5, dtype=np.int32)
    towards_zero = te.compute((9,), lambda i: te.truncdiv(x[i], 3), "t")
    down = te.compute((9,), lambda i: te.floordiv(x[i], 3), "d")
    np.testing.assert_array_equal(value(towards_zero, x=(x, data)), [-1, -1, 0, 0, 0, 0, 0, 1, 1])
    np.testing.assert_array_equal(value(down, x=(x, data)), [-2, -1, -1, -1, 0, 0, 0, 1, 1])


def test_a_gather() -> None:
    """An index that is itself an element; its table is a constant."""
    x = te.placeholder((5, 3), "int8", "x")
    table = te.constant(np.array([4, 0, 2, 2], np.int32), "table")
    y = te.compute((4, 3), lambda i, j: x[table[i], j], "y")
    data = RNG.integers(-9, 9, (5, 3)).astype(np.int8)
    np.testing.assert_array_equal(value(y, x=(x, data)), data[[4, 0, 2, 2]])
    check(te.create_schedule(y), {x: data})


def test_several_outputs_of_one_reduction() -> None:
    x = te.placeholder((4, 6), "int8", "x")
    k = te.reduce_axis(6, "k")
    low, high = te.compute(
        (4,), lambda i: [te.min(x[i, k], axis=k), te.max(x[i, k], axis=k)], "range"
    )
    data = RNG.integers(-99, 99, (4, 6)).astype(np.int8)
    found = evaluate_op(low.op, lambda tensor: data)
    np.testing.assert_array_equal(found, [data.min(1), data.max(1)])
    s = te.create_schedule([low, high])
    s[low].split(low.op.axis[0], factor=3)
    check(s, {x: data})


def test_softmax_in_rows(tmp_path: Path) -> None:
    """Four stages of floats, each computed where a row needs it."""
    x = te.placeholder((5, 7), "float32", "x")
    k, r = te.reduce_axis(7, "k"), te.reduce_axis(7, "r")
    top = te.compute((5,), lambda i: te.max(x[i, k], axis=k), "top")
    power = te.compute((5, 7), lambda i, j: te.call("exp", x[i, j] - top[i]), "power")
    total = te.compute((5,), lambda i: te.sum(power[i, r], axis=r), "total")
    y = te.compute((5, 7), lambda i, j: power[i, j] / total[i], "y")
    data = RNG.normal(0, 3, (5, 7)).astype(np.float32)
    shifted = np.exp(data.astype(np.float64) - data.max(1, keepdims=True))
    expected = (shifted / shifted.sum(1, keepdims=True)).astype(np.float32)
    np.testing.assert_allclose(value(y, x=(x, data)), expected, atol=1e-6)
    s = te.create_schedule(y)
    for stage in (top, power, total):
        s[stage].compute_at(s[y], y.op.axis[0])
    s[power].unroll(power.op.axis[1])
    program = check(s, {x: data})
    assert sorted(b.shape for b in program.scratch) == [(1,), (1,), (1, 7)]
    check_compiled([(program, {x: data}, [expected])], tmp_path)


# ---- index maps ----


def test_strides() -> None:
    assert strides_of((2, 3, 4)) == (12, 4, 1)
    assert strides_of((5,)) == (1,)
    assert strides_of(()) == ()


@pytest.mark.parametrize(
    ("shape", "layout"),
    [
        ((6, 8), lambda i, j: [j, i]),
        ((6, 8), lambda i, j: [j // 4, i, j % 4]),
        ((6, 8), lambda i, j: [i // 2, j // 4, i % 2, j % 4]),
        ((6, 8), lambda i, j: [i * 8 + j]),
        ((6, 8), lambda i, j: [j // 4 * 6 + i, j % 4]),
        ((8, 6), lambda i, j: [i // 4, j, i % 2, i % 4 // 2]),
        ((4, 6), lambda i, j: [i, j // 3 * 1 + j % 3 * 2]),
    ],
)
def test_index_maps_have_inverses(shape: tuple[int, ...], layout: object) -> None:
    mapping = IndexMap.of(layout, shape, "t")  # type: ignore[arg-type]
    data = np.arange(np.prod(shape)).reshape(shape)
    packed = mapping.apply(data)
    assert packed.size == data.size
    physical = [Var(f"p{k}") for k in range(packed.ndim)]
    logical = mapping.inverse(physical)
    places = evaluate_indices(logical, physical, packed.shape)
    np.testing.assert_array_equal(data[places], packed)
