"""Tiles beside borders that they meet in part, operands in pairs, parts of padded axes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from microtvm import te
from microtvm.errors import ScheduleError
from microtvm.te import Schedule, Tensor
from microtvm.te.intrin import COperand, TensorIntrin
from microtvm.tir.expr import BinOp, binary
from microtvm.tir.stmt import Alloc, IntrinsicCall, Program, Store, walk
from microtvm.tir.traversal import post_order
from microtvm.util import Array
from tests.te.oracle import check, check_compiled, conditions, reference

RNG = np.random.default_rng(11)


def ints(*shape: int) -> Array:
    return RNG.integers(-99, 99, shape).astype(np.int32)


def calls(program: Program) -> list[IntrinsicCall]:
    return [s for s in walk(program.body) if isinstance(s, IntrinsicCall)]


def negated(extent: int = 4) -> TensorIntrin:
    """out[i] = -a[i]"""
    a = te.placeholder((extent,), "int32", "a")
    out = te.compute((extent,), lambda i: 0 - a[i], "out")

    def call(operands: list[COperand]) -> str:
        y, x = operands
        assert (y.strides, x.strides) == ((1,), (1,))
        head = f"for (int32_t n = 0; n < {extent}; ++n) {{"
        return f"{head} ({y.text})[n] = -({x.text})[n]; }}"

    return te.decl_tensor_intrin("negated", out, [a], call)


def bordered(x: Tensor, first: int, extent: int) -> Tensor:
    """-x with zeros around it, as elements of a longer array."""

    def element(i: te.Expr) -> te.Expr:
        inside = te.all(i >= first, i < first + x.shape[0])
        return te.select(inside, 0 - x[i - first], 5)

    y: Tensor = te.compute((extent,), element, "y")
    return y


def test_a_tile_that_a_border_cuts(tmp_path: Path) -> None:
    """Whole tiles inside the border are calls; the others are computed element by element."""
    x = te.placeholder((17,), "int32", "x")
    y = bordered(x, 3, 24)
    s = te.create_schedule([y])
    _, inner = s[y].split(s[y].axis[0], 4)
    s[y].unroll(inner)
    s[y].tensorize(inner, negated())
    inputs = {x: ints(17)}
    program = check(s, inputs)
    assert len(calls(program)) == 1
    assert not conditions(program)
    check_compiled([(program, inputs, reference([y], inputs))], tmp_path)


@pytest.mark.parametrize("how", ["either", "equal"])
def test_a_condition_that_a_tile_meets_in_part(how: str) -> None:
    x = te.placeholder((16,), "int32", "x")

    def element(i: te.Expr) -> te.Expr:
        inside = binary("or", i < 3, i > 9) if how == "either" else te.equal(i, 7)
        return te.select(inside, 0 - x[i], 5)

    y = te.compute((16,), element, "y")
    s = te.create_schedule([y])
    _, inner = s[y].split(s[y].axis[0], 4)
    s[y].tensorize(inner, negated())
    with pytest.raises(ScheduleError, match="its condition can't be decided for a tile"):
        te.lower(s, [x, y])


def test_a_condition_on_data_is_no_border() -> None:
    x = te.placeholder((16,), "int32", "x")
    y = te.compute((16,), lambda i: te.select(x[i] > 0, 0 - x[i], 5), "y")
    s = te.create_schedule([y])
    _, inner = s[y].split(s[y].axis[0], 4)
    s[y].tensorize(inner, negated())
    with pytest.raises(ScheduleError, match="the expressions differ"):
        te.lower(s, [x, y])


# ---- operands in pairs ----


def pair_sum(rows: int, taps: int, stride: int) -> TensorIntrin:
    """out[r] = the sum of `taps` elements from r * stride on, of data in pairs."""
    x = te.placeholder(((rows * stride + taps) // 2 + 1, 2), "int32", "x")
    k = te.reduce_axis(taps, "k")

    def element(r: te.Expr) -> te.Expr:
        place = r * stride + k.var
        return te.sum(x[place // 2, place % 2], axis=k)

    out = te.compute((rows,), element, "out")
    name = f"pair_sum_{rows}_{taps}_{stride}"
    source = f"""\
static void {name}(int32_t *y, const int32_t *x, int32_t pair, int32_t odd)
{{
    for (int32_t r = 0; r < {rows}; ++r) {{
        y[r] = 0;
        for (int32_t k = 0; k < {taps}; ++k) {{
            const int32_t place = r * {stride} + k;
            y[r] += x[place / 2 * pair + place % 2 * odd];
        }}
    }}
}}
"""

    def call(operands: list[COperand]) -> str:
        y, data = operands
        return f"{name}({y.text}, {data.text}, {data.strides[0]}, {data.strides[1]});"

    return te.decl_tensor_intrin(name, out, [x], call, source, fresh=True)


@pytest.mark.parametrize(("taps", "stride"), [(3, 1), (4, 1), (3, 2), (1, 2)])
@pytest.mark.parametrize("turned", [False, True])
def test_pairs(taps: int, stride: int, turned: bool, tmp_path: Path) -> None:
    """Indices with quotients and remainders of the tile's axes; a tile begins with a pair."""
    x = te.placeholder((24,), "int32", "x")
    k = te.reduce_axis(taps, "k")
    total = te.compute((8,), lambda i: te.sum(x[i * stride + k.var], axis=k), "total")
    y = te.compute((8,), lambda i: total[i] + 1, "y")
    s = te.create_schedule([y])
    copy = s.cache_read(x, "arena", [total])
    s[copy].transform_layout(lambda i: [i % 2, i // 2] if turned else [i // 2, i % 2])
    outer, _ = s[y].split(s[y].axis[0], 4)
    s[total].compute_at(s[y], outer)
    s[total].tensorize(s[total].axis[0], pair_sum(4, taps, stride))
    inputs = {x: ints(24)}
    program = check(s, inputs)
    ((_, data),) = [c.operands for c in calls(program)]
    assert data.strides == (((1, 12) if turned else (2, 1)) if taps > 1 else data.strides)
    check_compiled([(program, inputs, reference([y], inputs))], tmp_path)


def test_pairs_that_begin_with_an_odd_element() -> None:
    x = te.placeholder((24,), "int32", "x")
    k = te.reduce_axis(3, "k")
    y = te.compute((8,), lambda i: te.sum(x[i + k.var + 1], axis=k), "y")
    s = te.create_schedule([y])
    copy = s.cache_read(x, "arena", [y])
    s[copy].transform_layout(lambda i: [i // 2, i % 2])
    _, inner = s[y].split(s[y].axis[0], 4)
    s[y].tensorize(inner, pair_sum(4, 3, 1))
    with pytest.raises(ScheduleError, match="the expressions differ"):
        te.lower(s, [x, y])


def test_indices_that_share_their_parts() -> None:
    """Which stride belongs to which index can't be told."""
    a = te.placeholder((8, 8), "int32", "a")
    meaning = te.compute((4,), lambda i: a[i, i], "meaning")
    intrin = te.decl_tensor_intrin("diagonal", meaning, [a], lambda operands: "")
    x = te.placeholder((8, 8), "int32", "x")
    y = te.compute((8,), lambda i: x[i, i], "y")
    s = te.create_schedule([y])
    _, inner = s[y].split(s[y].axis[0], 4)
    s[y].tensorize(inner, intrin)
    with pytest.raises(ScheduleError, match="the expressions differ"):
        te.lower(s, [x, y])


# ---- parts of padded axes ----


def middle(extent: int) -> tuple[Schedule, Tensor, Tensor, Tensor]:
    """y = x * 3 + 1, in two stages."""
    x = te.placeholder((extent,), "int32", "x")
    z = te.compute((extent,), lambda i: x[i] * 3, "z")
    y = te.compute((extent,), lambda i: z[i] + 1, "y")
    return te.create_schedule([y]), x, z, y


@pytest.mark.parametrize(("part", "computed"), [(10, 12), (4, 4), (5, 5)])
def test_a_part_is_a_multiple_where_it_begins_at_one(part: int, computed: int) -> None:
    s, x, z, y = middle(10)
    s[z].pad(s[z].axis[0], 4)
    outer, _ = s[y].split(s[y].axis[0], part)
    s[z].compute_at(s[y], outer)
    program = check(s, {x: ints(10)})
    (scratch,) = program.scratch
    assert scratch.shape == (computed,)
    assert not any(isinstance(stmt, Alloc) for stmt in walk(program.body))


def test_a_multiple_stays_with_its_axis() -> None:
    """Through a layout that keeps the axis, and not through one that cuts it."""
    x = te.placeholder((3, 10), "int32", "x")
    z = te.compute((3, 10), lambda i, j: x[i, j] * 3, "z")
    y = te.compute((3, 10), lambda i, j: z[i, j] + 1, "y")
    for kept in (True, False):
        s = te.create_schedule([y])
        s[z].pad(s[z].axis[1], 4)
        s[z].transform_layout(lambda i, j: [j, i] if kept else [j // 2, i, j % 2])  # noqa: B023
        s[z].compute_at(s[y], s[y].axis[0])
        program = check(s, {x: ints(3, 10)})
        assert program.scratch[0].shape == ((12, 1) if kept else (5, 1, 2))


def test_a_border_goes_on() -> None:
    """Beyond its end a border is what it was: no index is limited, and nothing asked twice."""
    x = te.placeholder((6,), "int32", "x")
    z = bordered(x, 1, 8)
    y = te.compute((8,), lambda i: z[i] + 1, "y")
    s = te.create_schedule([y])
    s[z].pad(s[z].axis[0], 6)
    program = check(s, {x: ints(6)})
    stores = [st for st in walk(program.body) if isinstance(st, Store)]
    nodes = [n for st in stores for e in (st.value, *st.indices) for n in post_order(e)]
    assert not any(isinstance(n, BinOp) and n.op == "min" for n in nodes)
    assert program.scratch[0].shape == (12,)
