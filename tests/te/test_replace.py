"""Computing a sum in another way: replaced tensors, joined constants, tiles beside a border."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from microtvm import te
from microtvm.errors import ScheduleError
from microtvm.te import Schedule, Tensor
from microtvm.te.intrin import COperand, TensorIntrin
from microtvm.te.tensor import reads_of
from microtvm.tir.interpret import interpret
from microtvm.tir.stmt import If, IntrinsicCall, walk
from tests.te.oracle import (
    arrays_of,
    assert_same,
    check,
    check_compiled,
    conditions,
    reference,
)

N = 12


def doubled_sum() -> tuple[Schedule, Tensor, Tensor, Tensor]:
    """y = sum of x * 2, plus a constant each."""
    x = te.placeholder((N, 4), "int32", "x")
    k = te.reduce_axis(4, "k")
    total = te.compute((N,), lambda i: te.sum(x[i, k.var] * 2, axis=k), "total")
    c = te.constant(np.arange(N, dtype=np.int32), "c")
    y = te.compute((N,), lambda i: total[i] + c[i], "y")
    return te.create_schedule([y]), x, total, y


def test_a_replaced_sum_with_its_own_stage() -> None:
    s, x, total, _ = doubled_sum()
    k = te.reduce_axis(4, "k")
    single = te.compute((N,), lambda i: te.sum(x[i, k.var], axis=k), "single")
    s.replace(total, lambda i: single[i] * 2)
    s[single].set_scope("arena")
    assert [stage.name for stage in s.stages] == ["single", "y"]
    check(s, {x: np.random.default_rng(0).integers(-99, 99, (N, 4)).astype(np.int32)})


@pytest.mark.parametrize("same_place", [True, False])
def test_constants_at_one_place_are_joined(same_place: bool) -> None:
    s, x, total, y = doubled_sum()
    k = te.reduce_axis(4, "k")
    single = te.compute((N,), lambda i: te.sum(x[i, k.var], axis=k), "single")
    d = te.constant(np.full(N, 5, np.int32), "d")
    s.replace(total, lambda i: single[i] * 2 + d[i if same_place else 0])
    constants = [t for t in reads_of(s[y].bodies) if t.data is not None]
    assert len(constants) == (1 if same_place else 2)
    x_data = np.random.default_rng(1).integers(-99, 99, (N, 4)).astype(np.int32)
    program = te.lower(s, [x, y])
    wanted = x_data.sum(axis=1) * 2 + np.arange(N) + 5
    found = interpret(program, arrays_of(program, {x: x_data}))
    assert_same(found, program, [wanted.astype(np.int32)])


def test_constants_whose_sum_leaves_their_type_stay() -> None:
    s, x, total, y = doubled_sum()
    k = te.reduce_axis(4, "k")
    single = te.compute((N,), lambda i: te.sum(x[i, k.var], axis=k), "single")
    d = te.constant(np.full(N, 2**31 - 1, np.int32), "d")
    s.replace(total, lambda i: single[i] * 2 + d[i])
    assert len([t for t in reads_of(s[y].bodies) if t.data is not None]) == 2


def difference(name: str = "differ") -> TensorIntrin:
    """out[i] = 3 * in[i, 0] - in[i, 1], whose second dimension no axis runs along."""
    a = te.placeholder((4, 2), "int32", "a")
    out = te.compute((4,), lambda i: a[i, 0] * 3 - a[i, 1], "out")
    source = f"""\
static void {name}(int32_t *y, const int32_t *a, int32_t row, int32_t column)
{{
    for (int32_t i = 0; i < 4; ++i) {{
        y[i] = a[i * row] * 3 - a[i * row + column];
    }}
}}
"""

    def call(operands: list[COperand]) -> str:
        y, x = operands
        return f"{name}({y.text}, {x.text}, {x.strides[0]}, {x.strides[1]});"

    return te.decl_tensor_intrin(name, out, [a], call, source)


@pytest.mark.parametrize("turned", [False, True])
def test_a_stride_between_two_numbers(turned: bool, tmp_path: Path) -> None:
    x = te.placeholder((2, 8) if turned else (8, 2), "int32", "x")
    y = te.compute((8,), lambda i: x[0, i] * 3 - x[1, i] if turned else x[i, 0] * 3 - x[i, 1], "y")
    s = te.create_schedule([y])
    _, inner = s[y].split(s[y].axis[0], 4)
    s[y].tensorize(inner, difference())
    inputs = {x: np.random.default_rng(2).integers(-99, 99, x.shape).astype(np.int32)}
    program = check(s, inputs)
    assert any(isinstance(stmt, IntrinsicCall) for stmt in walk(program.body))
    check_compiled([(program, inputs, reference([y], inputs))], tmp_path)


def corners(name: str = "corners") -> TensorIntrin:
    """out[i] of the four corners of a 3x2 window, in[i, 0 or 2, 0 or 1]."""
    a = te.placeholder((4, 3, 2), "int32", "a")
    out = te.compute(
        (4,), lambda i: a[i, 0, 0] * 3 - a[i, 0, 1] * 5 + a[i, 2, 0] * 7 - a[i, 2, 1], "out"
    )
    source = f"""\
static void {name}(int32_t *y, const int32_t *a, int32_t item, int32_t row, int32_t column)
{{
    for (int32_t i = 0; i < 4; ++i) {{
        const int32_t *const x = a + i * item;
        y[i] = x[0] * 3 - x[column] * 5 + x[2 * row] * 7 - x[2 * row + column];
    }}
}}
"""

    def call(operands: list[COperand]) -> str:
        y, x = operands
        return f"{name}({y.text}, {x.text}, {', '.join(map(str, x.strides))});"

    return te.decl_tensor_intrin(name, out, [a], call, source)


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 2, 0), (2, 0, 1)])
def test_strides_along_two_dimensions_of_numbers(order: tuple[int, ...], tmp_path: Path) -> None:
    shape = tuple((8, 3, 2)[d] for d in order)
    x = te.placeholder(shape, "int32", "x")

    def at(*index: te.Expr | int) -> te.Expr:
        return x[tuple(index[d] for d in order)]

    y = te.compute(
        (8,), lambda i: at(i, 0, 0) * 3 - at(i, 0, 1) * 5 + at(i, 2, 0) * 7 - at(i, 2, 1), "y"
    )
    s = te.create_schedule([y])
    _, inner = s[y].split(s[y].axis[0], 4)
    s[y].tensorize(inner, corners())
    inputs = {x: np.random.default_rng(4).integers(-99, 99, x.shape).astype(np.int32)}
    program = check(s, inputs)
    assert any(isinstance(stmt, IntrinsicCall) for stmt in walk(program.body))
    check_compiled([(program, inputs, reference([y], inputs))], tmp_path)


@pytest.mark.parametrize("last", [(1, 1), (2, 0), (0, 1)])
def test_a_corner_elsewhere(last: tuple[int, int]) -> None:
    """What other corners tell of the strides must hold for the last one."""
    x = te.placeholder((8, 3, 2), "int32", "x")
    y = te.compute(
        (8,), lambda i: x[i, 0, 0] * 3 - x[i, 0, 1] * 5 + x[i, 2, 0] * 7 - x[(i, *last)], "y"
    )
    s = te.create_schedule([y])
    _, inner = s[y].split(s[y].axis[0], 4)
    s[y].tensorize(inner, corners())
    with pytest.raises(ScheduleError, match="can't be tensorized by corners: the expressions"):
        te.lower(s, [x, y])


def test_two_elements_that_are_no_row() -> None:
    x = te.placeholder((8, 3), "int32", "x")
    z = te.placeholder((8, 3), "int32", "z")
    for second in (x, z):
        y = te.compute((8,), lambda i, t=second: x[i, 0] * 3 - t[(i + 1) % 8, 1], "y")
        s = te.create_schedule([y])
        _, inner = s[y].split(s[y].axis[0], 4)
        s[y].tensorize(inner, difference())
        with pytest.raises(ScheduleError, match="can't be tensorized by differ"):
            te.lower(s, [x, z, y] if second is z else [x, y])


def test_a_tile_beside_a_border(tmp_path: Path) -> None:
    """What a condition of the loops around chooses: the tile inside, plain loops beyond."""
    x = te.placeholder((6, 8, 2), "int32", "x")

    def element(r: te.Expr, i: te.Expr) -> te.Expr:
        inside = te.all(r >= 1, r < 7)
        return te.select(inside, x[r - 1, i, 0] * 3 - x[r - 1, i, 1], i)

    y = te.compute((9, 8), element, "y")
    s = te.create_schedule([y])
    _, inner = s[y].split(s[y].axis[1], 4)
    s[y].tensorize(inner, difference())
    inputs = {x: np.random.default_rng(3).integers(-99, 99, x.shape).astype(np.int32)}
    program = check(s, inputs)
    assert any(isinstance(stmt, IntrinsicCall) for stmt in walk(program.body))
    # The condition is the row loop's: the loop is cut, and nothing is asked in it.
    assert not conditions(program)
    assert not any(isinstance(stmt, If) for stmt in walk(program.body))
    check_compiled([(program, inputs, reference([y], inputs))], tmp_path)


@pytest.mark.parametrize("factor", [2, 4, 5, 11])
def test_a_last_part_that_begins_earlier(factor: int, tmp_path: Path) -> None:
    """Every element is there, no condition is asked, and a stage inside covers whole parts."""
    x = te.placeholder((11, 3), "int32", "x")
    copy = te.compute((11, 3), lambda i, j: x[i, j] * 2, "copy")
    y = te.compute((11, 3), lambda i, j: copy[i, j] - 1, "y")
    s = te.create_schedule([y])
    outer, _ = s[y].split(s[y].axis[0], factor, shift=True)
    s[copy].compute_at(s[y], outer)
    inputs = {x: np.random.default_rng(5).integers(-99, 99, x.shape).astype(np.int32)}
    program = check(s, inputs)
    assert not conditions(program)
    assert program.scratch[0].shape == (factor, 3)
    check_compiled([(program, inputs, reference([y], inputs))], tmp_path)
