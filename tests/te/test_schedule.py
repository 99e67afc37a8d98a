"""Each schedule primitive: what it does to the loops, and that the result stays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from microtvm import te
from microtvm.te import Schedule, Tensor
from microtvm.te.tensor import ComputeOp
from microtvm.tir.expr import IntImm
from microtvm.tir.stmt import Alloc, Program, Store, walk
from microtvm.util import Array
from tests.te.oracle import check, check_compiled, conditions, divisions, loops, reference

RNG = np.random.default_rng(11)


def ints(*shape: int, dtype: str = "int8") -> Array:
    return RNG.integers(-100, 101, shape).astype(dtype)


def extents(program: Program) -> list[int]:
    found = [loop.extent for loop in loops(program)]
    assert all(isinstance(e, IntImm) for e in found)
    return [e.value for e in found if isinstance(e, IntImm)]


def matrix(shape: tuple[int, int] = (6, 10)) -> tuple[dict[Tensor, Array], Tensor]:
    """y[i, j] = 3 x[i, j] + j"""
    x = te.placeholder(shape, "int32", "x")
    y = te.compute(shape, lambda i, j: x[i, j] * 3 + j, "y")
    return {x: ints(*shape, dtype="int32")}, y


def product(m: int = 6, n: int = 8, k: int = 10) -> tuple[dict[Tensor, Array], Tensor, Tensor]:
    """acc = a b, y = clip(acc + 1)"""
    a, b = te.placeholder((m, k), "int8", "a"), te.placeholder((k, n), "int8", "b")
    r = te.reduce_axis((0, k), "r")
    acc = te.compute(
        (m, n),
        lambda i, j: te.sum(a[i, r].astype("int32") * b[r, j].astype("int32"), axis=r),
        "acc",
    )
    y = te.compute((m, n), lambda i, j: te.clip(acc[i, j] + 1, -9999, 9999), "y")
    return {a: ints(m, k), b: ints(k, n)}, acc, y


def chain() -> tuple[dict[Tensor, Array], Tensor, Tensor]:
    """p = padded square of x, y = sum of three neighbours of p"""
    x = te.placeholder((12,), "int8", "x")
    p = te.compute(
        (14,),
        lambda i: te.select(
            te.all(i >= 1, i < 13), x[i - 1].astype("int32") * x[i - 1].astype("int32"), 7
        ),
        "p",
    )
    y = te.compute((12,), lambda i: p[i] + p[i + 1] * 2 - p[i + 2], "y")
    return {x: ints(12)}, p, y


# ---- loops ----


def test_split_by_a_factor() -> None:
    inputs, y = matrix()
    s = te.create_schedule(y)
    outer, inner = s[y].split(y.op.axis[1], factor=5)
    assert (outer.extent, inner.extent) == (2, 5)
    assert extents(check(s, inputs)) == [6, 2, 5]


def test_split_into_parts() -> None:
    inputs, y = matrix()
    s = te.create_schedule(y)
    outer, inner = s[y].split(y.op.axis[1], nparts=5)
    assert (outer.extent, inner.extent) == (5, 2)
    assert extents(check(s, inputs)) == [6, 5, 2]


@pytest.mark.parametrize("options", [{"factor": 4}, {"nparts": 3}])
def test_split_that_does_not_divide_leaves_no_condition(options: dict[str, int]) -> None:
    inputs, y = matrix()
    s = te.create_schedule(y)
    s[y].split(y.op.axis[1], **options)
    program = check(s, inputs)
    assert conditions(program) == []
    # The last tile is a shorter loop.
    assert len(loops(program)) == 3


def test_split_by_more_than_the_extent() -> None:
    inputs, y = matrix()
    s = te.create_schedule(y)
    s[y].split(y.op.axis[0], factor=100)
    assert extents(check(s, inputs)) == [6, 10]


def test_tile() -> None:
    inputs, y = matrix()
    s = te.create_schedule(y)
    axes = s[y].tile(*y.op.axis, 3, 5)
    assert s[y].leaf == list(axes)
    assert extents(check(s, inputs)) == [2, 2, 3, 5]


def test_fuse() -> None:
    inputs, y = matrix()
    s = te.create_schedule(y)
    fused = s[y].fuse(*y.op.axis)
    assert fused.extent == 60
    assert extents(check(s, inputs)) == [60]


def test_fuse_of_one_axis_is_that_axis() -> None:
    _, y = matrix()
    s = te.create_schedule(y)
    assert s[y].fuse(y.op.axis[0]) is y.op.axis[0]


def test_fused_and_split_again() -> None:
    inputs, y = matrix()
    s = te.create_schedule(y)
    fused = s[y].fuse(*y.op.axis)
    outer, inner = s[y].split(fused, factor=7)
    s[y].reorder(inner, outer)
    check(s, inputs)


def test_fuse_of_what_split_made_is_the_axis_again() -> None:
    """No division is left of it: outer * 5 + inner is the fused loop."""
    inputs, y = matrix()
    s = te.create_schedule(y)
    s[y].fuse(*s[y].split(y.op.axis[1], factor=5))
    program = check(s, inputs)
    assert extents(program) == [6, 10]
    assert not divisions(program)


def test_fuse_of_reductions() -> None:
    x = te.placeholder((4, 5, 6), "int8", "x")
    j, k = te.reduce_axis(5, "j"), te.reduce_axis(6, "k")
    y = te.compute((4,), lambda i: te.sum(x[i, j, k].astype("int32"), axis=[j, k]), "y")
    s = te.create_schedule(y)
    s[y].fuse(j, k)
    assert extents(check(s, {x: ints(4, 5, 6)})) == [4, 30]


def test_reorder() -> None:
    inputs, y = matrix()
    s = te.create_schedule(y)
    i, j = y.op.axis
    s[y].reorder(j, i)
    assert extents(check(s, inputs)) == [10, 6]


def test_reorder_of_a_reduction_around_data() -> None:
    inputs, acc, y = product()
    s = te.create_schedule(y)
    s[acc].reorder(*acc.op.reduce_axis, *acc.op.axis)
    program = check(s, inputs)
    # First zeros for all elements, then the sum with the reduction outermost, then y.
    assert extents(program) == [6, 8, 10, 6, 8, 6, 8]


def test_unroll() -> None:
    inputs, y = matrix()
    s = te.create_schedule(y)
    s[y].unroll(y.op.axis[0])
    program = check(s, inputs)
    assert extents(program) == [10] * 6
    assert len([st for st in walk(program.body) if isinstance(st, Store)]) == 6


def test_vectorize(tmp_path: Path) -> None:
    inputs, y = matrix((4, 16))
    expected = reference([y], inputs)
    s = te.create_schedule(y)
    _, inner = s[y].split(y.op.axis[1], factor=8)
    s[y].vectorize(inner)
    program = check(s, inputs)
    assert [loop.kind for loop in loops(program)] == ["serial", "serial", "vectorized"]
    check_compiled([(program, inputs, expected)], tmp_path)


# ---- placement ----


def attached(
    place: Callable[[Schedule, Tensor, Tensor], None],
) -> tuple[Program, dict[Tensor, Array]]:
    inputs, p, y = chain()
    s = te.create_schedule(y)
    place(s, p, y)
    return check(s, inputs), inputs


def test_compute_root_is_the_default() -> None:
    program, _ = attached(lambda s, p, y: None)
    assert [b.shape for b in program.scratch] == [(14,)]

    def away_and_back(s: Schedule, p: Tensor, y: Tensor) -> None:
        s[p].compute_at(s[y], y.op.axis[0])
        s[p].compute_root()

    program, _ = attached(away_and_back)
    assert [b.shape for b in program.scratch] == [(14,)]


def test_compute_at_needs_only_the_region() -> None:
    def place(s: Schedule, p: Tensor, y: Tensor) -> None:
        outer, _ = s[y].split(y.op.axis[0], factor=4)
        s[p].compute_at(s[y], outer)

    program, _ = attached(place)
    # Four elements read four and two more.
    assert [b.shape for b in program.scratch] == [(6,)]


def test_compute_at_into_registers() -> None:
    def place(s: Schedule, p: Tensor, y: Tensor) -> None:
        outer, inner = s[y].split(y.op.axis[0], factor=4)
        s[y].unroll(inner)
        s[p].compute_at(s[y], outer)
        s[p].set_scope("register")
        s[p].unroll(p.op.axis[0])

    program, _ = attached(place)
    assert program.scratch == ()
    (buffer,) = {st.buffer for st in walk(program.body) if isinstance(st, Alloc)}
    assert (buffer.scope, buffer.shape) == ("register", (6,))


def test_compute_at_of_two_stages_in_one_loop() -> None:
    x = te.placeholder((8, 6), "int8", "x")
    k = te.reduce_axis(6, "k")
    top = te.compute((8,), lambda i: te.max(x[i, k].astype("int32"), axis=k), "top")
    low = te.compute((8, 6), lambda i, j: x[i, j].astype("int32") - top[i], "low")
    r = te.reduce_axis(6, "r")
    total = te.compute((8,), lambda i: te.sum(low[i, r], axis=r), "total")
    y = te.compute((8, 6), lambda i, j: te.truncdiv(low[i, j] * 100, total[i] - 1), "y")
    s = te.create_schedule(y)
    for stage in (top, low, total):
        s[stage].compute_at(s[y], y.op.axis[0])
    program = check(s, {x: ints(8, 6)})
    assert sorted(b.shape for b in program.scratch) == [(1,), (1,), (1, 6)]


def test_compute_inline() -> None:
    program, _ = attached(lambda s, p, y: s[p].compute_inline())
    assert program.scratch == ()


def test_inlined_through_two_stages() -> None:
    x = te.placeholder((9,), "int8", "x")
    a = te.compute((9,), lambda i: x[i].astype("int32") + 1, "a")
    b = te.compute((9,), lambda i: a[8 - i] * 2, "b")
    y = te.compute((4,), lambda i: b[i * 2] - a[i], "y")
    s = te.create_schedule(y)
    s[a].compute_inline()
    s[b].compute_inline()
    program = check(s, {x: ints(9)})
    assert (len(loops(program)), program.scratch) == (1, ())


# ---- copies ----


def test_cache_write_sums_in_registers() -> None:
    inputs, acc, _ = product()
    s = te.create_schedule(acc)
    cached = s.cache_write(acc, "register")
    m, n = acc.op.axis
    _, no, mi, ni = s[acc].tile(m, n, 2, 4)
    s[cached].compute_at(s[acc], no)
    (k,) = s[cached].op.reduce_axis
    mc, nc = s[cached].op.axis
    s[cached].reorder(k, mc, nc)
    for stage, axis in ((acc, mi), (acc, ni), (cached, mc), (cached, nc)):
        s[stage].unroll(axis)
    program = check(s, inputs)
    (alloc,) = [st for st in walk(program.body) if isinstance(st, Alloc)]
    assert alloc.buffer.shape == (2, 4)
    # Nothing is stored to memory inside the reduction.
    (summing,) = [loop for loop in loops(program) if loop.extent is IntImm(10)]
    stores = [st.buffer for st in walk(summing) if isinstance(st, Store)]
    assert len(stores) == 8
    assert all(b.scope == "register" for b in stores)


def test_cache_write_of_several_stages_in_a_row() -> None:
    inputs, acc, y = product()
    s = te.create_schedule(y)
    s.cache_write(y, "arena")
    s.cache_write(acc, "arena")
    program = check(s, inputs)
    assert [b.shape for b in program.scratch] == [(6, 8)] * 3


def test_cache_read_of_a_tile() -> None:
    inputs, acc, y = product()
    b = list(inputs)[1]
    s = te.create_schedule(y)
    copy = s.cache_read(b, "arena", [acc])
    i, j = acc.op.axis
    jo, ji = s[acc].split(j, factor=4)
    s[acc].reorder(jo, i, ji)
    s[copy].compute_at(s[acc], jo)
    program = check(s, inputs)
    assert [x.shape for x in program.scratch if x.name == "b_arena"] == [(10, 4)]


def test_cache_read_of_a_wider_type() -> None:
    inputs, acc, y = product()
    a = next(iter(inputs))
    s = te.create_schedule(y)
    s.cache_read(a, "arena", [acc], "int16")
    program = check(s, inputs)
    assert "int16" in [x.dtype for x in program.scratch]


def test_cache_read_for_some_readers() -> None:
    x = te.placeholder((5,), "int8", "x")
    a = te.compute((5,), lambda i: x[i].astype("int32") + 1, "a")
    b = te.compute((5,), lambda i: x[i].astype("int32") * a[4 - i], "b")
    s = te.create_schedule(b)
    copy = s.cache_read(x, "arena", [b])
    assert s.readers(x) == [s[a], s[copy]]
    check(s, {x: ints(5)})


# ---- layouts ----


def test_layout_of_a_stage() -> None:
    inputs, acc, y = product()
    s = te.create_schedule(y)
    axes = s[acc].transform_layout(lambda i, j: [j // 4, i, j % 4])
    assert [a.extent for a in axes] == [2, 6, 4]
    program = check(s, inputs)
    assert [b.shape for b in program.scratch] == [(2, 6, 4)]


def test_layout_twice_and_the_old_name() -> None:
    """`s[acc]` and cache_read still know the tensor after its layout has changed."""
    inputs, acc, y = product()
    s = te.create_schedule(y)
    s[acc].transform_layout(lambda i, j: [j, i])
    s[acc].transform_layout(lambda j, i: [i // 2, j, i % 2])
    s.cache_read(acc, "arena", [y])
    program = check(s, inputs)
    assert [b.shape for b in program.scratch] == [(3, 8, 2)] * 2


def test_layout_of_a_constant_is_packed_now() -> None:
    a = te.placeholder((4, 6), "int8", "a")
    data = ints(6, 8)
    w = te.constant(data, "w")
    k = te.reduce_axis(6, "k")
    y = te.compute(
        (4, 8),
        lambda i, j: te.sum(a[i, k].astype("int32") * w[k, j].astype("int32"), axis=k),
        "y",
    )
    s = te.create_schedule(y)
    s.constant(w).transform_layout(lambda k, j: [j // 4, k, j % 4])
    program = check(s, {a: ints(4, 6)})
    (constant,) = [b for b in program.params if b.scope == "const"]
    np.testing.assert_array_equal(constant.data, data.reshape(6, 2, 4).transpose(1, 0, 2))


def test_layout_of_a_constant_with_gaps() -> None:
    x = te.placeholder((5,), "int8", "x")
    data = ints(5)
    w = te.constant(data, "w")
    y = te.compute((5,), lambda i: x[i].astype("int32") * w[i].astype("int32"), "y")
    s = te.create_schedule(y)
    s.constant(w).transform_layout(lambda i: [i * 3])
    s.constant(w).transform_layout(lambda i: [i + 1])
    program = check(s, {x: ints(5)})
    (constant,) = [b for b in program.params if b.scope == "const"]
    assert constant.data is not None
    assert constant.shape == (14,)
    np.testing.assert_array_equal(constant.data[1::3], data)
    assert not constant.data[2::3].any()


def test_constant_stages_are_computed_now() -> None:
    x = te.placeholder((5,), "int8", "x")
    w = te.constant(ints(5), "w")
    doubled = te.compute((5,), lambda i: w[4 - i].astype("int32") * 2, "doubled")
    y = te.compute((5,), lambda i: doubled[i] + x[i].astype("int32"), "y")
    program = check(te.create_schedule(y), {x: ints(5)})
    assert program.scratch == ()
    assert [b.name for b in program.params] == ["x", "y", "doubled"]


# ---- padding of axes ----


def test_pad_makes_tiles_divide() -> None:
    inputs, acc, y = product(m=6, n=7)
    s = te.create_schedule(y)
    longer = s[acc].pad(acc.op.axis[1], 4)
    assert longer.extent == 8
    s[acc].split(longer, factor=4)
    program = check(s, inputs)
    assert conditions(program) == []
    assert [b.shape for b in program.scratch] == [(6, 8)]


def test_pad_of_a_reduction_with_zeros() -> None:
    inputs, acc, y = product(k=10)
    a, b = inputs
    s = te.create_schedule(y)
    left = s.cache_read(a, "arena", [acc])
    right = s.cache_read(b, "arena", [acc])
    s[left].pad(left.op.axis[1], 4, zero=True)
    s[right].pad(right.op.axis[0], 4)
    longer = s[acc].pad_reduction(acc.op.reduce_axis[0], 4)
    assert longer.extent == 12
    program = check(s, inputs)
    assert sorted(b.shape for b in program.scratch) == [(6, 8), (6, 12), (12, 8)]


# ---- programs ----


def test_tvm_spelling() -> None:
    """A schedule as TVM's tutorials write it."""
    inputs, _, _ = product()
    a, b = inputs
    k = te.reduce_axis((0, 10), "k")
    c = te.compute(
        (6, 8),
        lambda m, n: te.sum(a[m, k].astype("int32") * b[k, n].astype("int32"), axis=k),
        name="C",
    )
    assert isinstance(c.op, ComputeOp)
    s = te.create_schedule(c.op)
    cc = s.cache_write(c, "arena")
    mo, no, mi, ni = s[c].tile(c.op.axis[0], c.op.axis[1], 3, 4)
    s[cc].compute_at(s[c], no)
    mc, nc = s[cc].op.axis
    (kaxis,) = s[cc].op.reduce_axis
    ko, ki = s[cc].split(kaxis, factor=2)
    s[cc].reorder(ko, mc, ki, nc)
    s[cc].vectorize(nc)
    s[cc].unroll(ki)
    program = check(s, inputs)
    assert [x.shape for x in program.scratch] == [(3, 4)]
    assert {mo.extent, no.extent, mi.extent, ni.extent} == {2, 3, 4}
