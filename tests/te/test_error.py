"""What a schedule can't do is refused, with the reason."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from microtvm import te
from microtvm.errors import IRError, ScheduleError
from microtvm.te import Schedule, Tensor
from microtvm.te.evaluate import evaluate_expr, evaluate_indices
from microtvm.te.intrin import TensorIntrin
from microtvm.tir.expr import Var


class Example:
    """x and w feed p = 2 x, acc = sum of p w, y = acc + 1; a schedule of y."""

    def __init__(self) -> None:
        self.x = te.placeholder((6, 8), "int8", "x")
        self.w = te.constant(np.arange(8, dtype=np.int8), "w")
        self.k = te.reduce_axis(8, "k")
        self.p: Tensor = te.compute((6, 8), lambda i, j: self.x[i, j].astype("int32") * 2, "p")
        self.acc: Tensor = te.compute(
            (6,),
            lambda i: te.sum(self.p[i, self.k] * self.w[self.k].astype("int32"), axis=self.k),
            "acc",
        )
        self.y: Tensor = te.compute((6,), lambda i: self.acc[i] + 1, "y")
        self.s: Schedule = te.create_schedule(self.y)

    def lower(self) -> None:
        te.lower(self.s, [self.x, self.y], "kernel")


def axis(tensor: Tensor, k: int = 0) -> te.IterVar:
    assert tensor.op is not None
    return tensor.op.axis[k]


def foreign() -> te.IterVar:
    return te.reduce_axis(3, "foreign")


PRIMITIVES: list[tuple[str, Callable[[Example], object]]] = [
    (r"y: foreign\[3\] is not one of its loops", lambda e: e.s[e.y].split(foreign(), 2)),
    (r"p: split of i\[6\] takes either factor or nparts", lambda e: e.s[e.p].split(axis(e.p))),
    (
        r"p: split of i\[6\] takes either factor or nparts",
        lambda e: e.s[e.p].split(axis(e.p), factor=2, nparts=3),
    ),
    (r"p: split of i\[6\] into 0 parts", lambda e: e.s[e.p].split(axis(e.p), nparts=0)),
    (r"p: split of i\[6\] by 0", lambda e: e.s[e.p].split(axis(e.p), factor=0)),
    (r"p: fuse needs an axis", lambda e: e.s[e.p].fuse()),
    (
        r"p: i\[6\] is not the loop directly in j\[8\]",
        lambda e: e.s[e.p].fuse(axis(e.p, 1), axis(e.p, 0)),
    ),
    (
        r"acc: i\[6\] and k\[8\] can't be fused: one of them reduces",
        lambda e: e.s[e.acc].fuse(axis(e.acc), e.k),
    ),
    (r"y: reorder names a loop twice", lambda e: e.s[e.y].reorder(axis(e.y), axis(e.y))),
    (
        r"acc: k\[8\] reduces; a reduction can't be vectorized",
        lambda e: e.s[e.acc].vectorize(e.k),
    ),
    (r"p: i\[6\] is not the innermost loop", lambda e: e.s[e.p].vectorize(axis(e.p))),
    (r"p: tensorize takes a TensorIntrin, not 5", lambda e: e.s[e.p].tensorize(axis(e.p), 5)),  # type: ignore[arg-type]
    (
        r"y is an output; it can't be computed inside another stage",
        lambda e: e.s[e.y].compute_at(e.s[e.p], axis(e.p)),
    ),
    (
        r"p can't be computed inside itself",
        lambda e: e.s[e.p].compute_at(e.s[e.p], axis(e.p)),
    ),
    (
        r"acc: j\[8\] is not one of its loops",
        lambda e: e.s[e.p].compute_at(e.s[e.acc], axis(e.p, 1)),
    ),
    (r"y is an output; it can't be inlined", lambda e: e.s[e.y].compute_inline()),
    (r"acc is a reduction; it can't be inlined", lambda e: e.s[e.acc].compute_inline()),
    (r"p: no scope 'global'; there are arena and register", lambda e: e.s[e.p].set_scope("global")),
    (r"y is an output; it lives in the arena", lambda e: e.s[e.y].set_scope("register")),
    (r"y is an output; its shape is its caller's", lambda e: e.s[e.y].pad(axis(e.y), 4)),
    (r"p: k\[8\] is not one of its data axes", lambda e: e.s[e.p].pad(e.k, 4)),
    (r"p: pad of i\[6\] to a multiple of 0", lambda e: e.s[e.p].pad(axis(e.p), 0)),
    (
        r"acc is a reduction; it can't be padded with zeros",
        lambda e: e.s[e.acc].pad(axis(e.acc), 4, zero=True),
    ),
    (
        r"acc: i\[6\] is not one of its reduction axes",
        lambda e: e.s[e.acc].pad_reduction(axis(e.acc), 4),
    ),
    (
        r"acc: no factor of its sum is zero beyond k\[8\]",
        lambda e: e.s[e.acc].pad_reduction(e.k, 3),
    ),
    (
        r"y is an output; its layout is its caller's",
        lambda e: e.s[e.y].transform_layout(lambda i: [i]),
    ),
    (r"x is not computed in this schedule", lambda e: e.s[e.x]),
    (r"x is not a constant: its layout is its producer's", lambda e: e.s.constant(e.x)),
    (
        r"int8 does not hold every int32 of p",
        lambda e: e.s.cache_read(e.p, "arena", [e.acc], "int8"),
    ),
    (
        r"float32 does not hold every int32 of p",
        lambda e: e.s.cache_read(e.p, "arena", [e.acc], "float32"),
    ),
    (r"y does not read p", lambda e: e.s.cache_read(e.p, "arena", [e.y])),
    (r"cache_read of p names no reader", lambda e: e.s.cache_read(e.p, "arena", [])),
    (r"x is not computed: there is nothing to schedule", lambda e: te.create_schedule(e.x)),
]


@pytest.mark.parametrize(("message", "act"), PRIMITIVES, ids=[m for m, _ in PRIMITIVES])
def test_primitive(message: str, act: Callable[[Example], object]) -> None:
    example = Example()
    with pytest.raises(ScheduleError, match=message):
        act(example)
    # A refused primitive changes nothing.
    example.lower()


@pytest.mark.parametrize(
    ("primitive", "act"),
    [
        ("pad", lambda e: e.s[e.p].pad(axis(e.p), 4)),
        ("transform_layout", lambda e: e.s[e.p].transform_layout(lambda i, j: [j, i])),
        ("cache_write", lambda e: e.s.cache_write(e.p, "arena")),
    ],
)
@pytest.mark.parametrize(
    "touch",
    [
        lambda e: e.s[e.p].split(axis(e.p), 2),
        lambda e: e.s[e.p].unroll(axis(e.p)),
        lambda e: e.s[e.p].tensorize(axis(e.p), copy_four()),
    ],
)
def test_comes_first(
    primitive: str, act: Callable[[Example], object], touch: Callable[[Example], object]
) -> None:
    example = Example()
    touch(example)
    with pytest.raises(ScheduleError, match=f"p: {primitive} comes before its loops are changed"):
        act(example)


def test_pad_reduction_comes_first() -> None:
    example = Example()
    example.s[example.acc].split(example.k, 2)
    with pytest.raises(ScheduleError, match="acc: pad_reduction comes before its loops are"):
        example.s[example.acc].pad_reduction(example.k, 3)


@pytest.mark.parametrize("dtype", ["int32", "float32"])
def test_pad_reduction_takes_sums_of_integers(dtype: str) -> None:
    x = te.placeholder((4, 6), dtype, "x")
    k = te.reduce_axis(6, "k")
    if dtype == "int32":
        y = te.compute((4,), lambda i: te.max(x[i, k] * x[i, k], axis=k), "y")
        message = "y is not a single sum"
    else:
        y = te.compute((4,), lambda i: te.sum(x[i, k] * x[i, k], axis=k), "y")
        message = "y is a sum of float32; only integer sums can be padded"
    s = te.create_schedule(y)
    with pytest.raises(ScheduleError, match=message):
        s[y].pad_reduction(k, 4)


def test_what_a_later_padding_overwrites_is_not_zero() -> None:
    """Zeros up to six, then copies up to eight: the sum over eight would count them."""
    x = te.placeholder((4, 6), "int8", "x")
    k = te.reduce_axis(6, "k")
    y = te.compute(
        (4,),
        lambda i: te.sum(x[i, k].astype("int32") * x[i, k].astype("int32"), axis=k),
        "y",
    )
    s = te.create_schedule(y)
    copy = s.cache_read(x, "arena", [y])
    longer = s[copy].pad(axis(copy, 1), 6, zero=True)
    s[copy].pad(longer, 4)
    with pytest.raises(ScheduleError, match=r"no factor of its sum is zero beyond k\[6\]"):
        s[y].pad_reduction(k, 4)


def test_zeros_are_forgotten_in_another_layout() -> None:
    x = te.placeholder((6, 6), "int8", "x")
    i, k = te.reduce_axis(6, "i"), te.reduce_axis(6, "k")
    y = te.compute(
        (1,),
        lambda o: te.sum(x[i, k].astype("int32") * x[i, k].astype("int32"), axis=[i, k]),
        "y",
    )
    s = te.create_schedule(y)
    copy = s.cache_read(x, "arena", [y])
    s[copy].pad(axis(copy, 1), 8, zero=True)
    s[copy].pad(s[copy].op.axis[0], 8)
    s[copy].transform_layout(lambda a, b: [b, a])
    with pytest.raises(ScheduleError, match="no factor of its sum is zero beyond"):
        s[y].pad_reduction(i, 8)


# ---- expressions ----


def two_reductions(a: te.IterVar, b: te.IterVar) -> object:
    x = te.placeholder((4, 4), "int32", "x")
    return te.compute((4,), lambda i: [te.sum(x[i, a], axis=a), te.max(x[i, b], axis=b)], "y")


X = te.placeholder((4, 4), "int32", "x")
K = te.reduce_axis(4, "k")

EXPRESSIONS: list[tuple[str, Callable[[], object]]] = [
    (r"axis k has extent 0; it must be at least 1", lambda: te.reduce_axis(0, "k")),
    (r"reduce axis k begins at 1; it must begin at 0", lambda: te.reduce_axis((1, 4), "k")),
    (r"x: its shape \[4, 0\] has a dimension below 1", lambda: te.placeholder((4, 0), name="x")),
    (r"axis i has extent 0", lambda: te.compute((0,), lambda i: X[i, i])),
    (
        r"y has 2 dimensions, its function does not take 2 indices",
        lambda: te.compute((4, 4), lambda i: X[i, i], "y"),
    ),
    (
        r"y: either every output is a reduction, or none",
        lambda: te.compute((4,), lambda i: [X[i, i], te.sum(X[i, K], axis=K)], "y"),
    ),
    (
        r"y: its reductions run over different axes",
        lambda: two_reductions(K, te.reduce_axis(4, "l")),
    ),
    (
        r"y: a reduction must be the root of its compute",
        lambda: te.compute((4,), lambda i: te.sum(X[i, K], axis=K) + 1, "y"),
    ),
    (r"te.sum needs axes made by te.reduce_axis", lambda: te.sum(X[0, 0], axis=[])),
    (r"te.max takes two values, or one and an axis", lambda: te.max(X[0, 0])),
    (r"te.min takes two values, or one and an axis", lambda: te.min(1, 2, axis=K)),
]


@pytest.mark.parametrize(("message", "make"), EXPRESSIONS, ids=[m for m, _ in EXPRESSIONS])
def test_expression(message: str, make: Callable[[], object]) -> None:
    with pytest.raises(ScheduleError, match=message):
        make()


def test_intrinsic_of_several_outputs() -> None:
    x = te.placeholder((4,), "int32", "x")
    first, _ = te.compute((4,), lambda i: [x[i], x[i] + 1], "two")
    message = "intrinsic f: its meaning must be one compute with one"
    with pytest.raises(ScheduleError, match=message):
        te.decl_tensor_intrin("f", first, [x], lambda operands: "")


def test_values_that_do_not_exist_yet() -> None:
    i = Var("i")
    with pytest.raises(IRError, match="i has no value outside a loop program"):
        evaluate_expr(i, {}, lambda tensor: np.zeros(1))
    with pytest.raises(IRError, match="an index map reads a tensor"):
        evaluate_indices([X[i, i]], [i], (4,))


# ---- layouts ----

LAYOUTS: list[tuple[str, Callable[..., list[te.Expr]]]] = [
    (r"p: a physical index of the layout may be negative", lambda i, j: [i - 1, j]),
    (r"p: the layout maps two elements to one place", lambda i, j: [i, j // 2]),
    (r"p: the layout leaves gaps; only a constant's layout may have them", lambda i, j: [i, j * 2]),
    (
        r"p: the layout uses more than \+, \*, // and %",
        lambda i, j: [i, te.select(j < 7, j, 7)],
    ),
    (r"p: the layout uses more than \+, \*, // and %", lambda i, j: [i, (j + i) % 8]),
    (r"p: the layout can't be inverted", lambda i, j: [i, 7 - j]),
    (r"p: the layout uses k, which is not its index", lambda i, j: [i, j + Var("k")]),
    (r"p: the layout has no index", lambda i, j: []),
]


@pytest.mark.parametrize(("message", "layout"), LAYOUTS, ids=[m for m, _ in LAYOUTS])
def test_layout(message: str, layout: Callable[..., list[te.Expr]]) -> None:
    e = Example()
    with pytest.raises(ScheduleError, match=message):
        e.s[e.p].transform_layout(layout)
    e.lower()


def test_cache_write_of_several_outputs() -> None:
    x = te.placeholder((4,), "int32", "x")
    first, second = te.compute((4,), lambda i: [x[i], x[i] + 1], "two")
    s = te.create_schedule([first, second])
    with pytest.raises(ScheduleError, match="two has several outputs; cache_write takes one"):
        s.cache_write(first, "arena")


# ---- lowering ----


def test_output_is_not_an_argument() -> None:
    e = Example()
    with pytest.raises(ScheduleError, match="kernel: the output y is not among the arguments"):
        te.lower(e.s, [e.x])


def test_argument_twice() -> None:
    e = Example()
    with pytest.raises(ScheduleError, match="kernel: x is given twice among the arguments"):
        te.lower(e.s, [e.x, e.y, e.x])


def test_argument_that_is_no_argument() -> None:
    e = Example()
    with pytest.raises(ScheduleError, match="the argument p is computed, but not an output"):
        te.lower(e.s, [e.x, e.p, e.y])
    with pytest.raises(ScheduleError, match="the argument w is a constant"):
        te.lower(e.s, [e.x, e.w, e.y])


def test_input_is_not_an_argument() -> None:
    e = Example()
    with pytest.raises(ScheduleError, match="kernel reads x, which is not an argument"):
        te.lower(e.s, [e.y])


def test_loop_that_is_gone() -> None:
    e = Example()
    i = axis(e.y)
    e.s[e.acc].compute_at(e.s[e.y], i)
    e.s[e.y].split(i, 2)
    with pytest.raises(ScheduleError, match=r"acc is computed in loop i\[6\] of y, which does not"):
        e.lower()


def test_place_in_a_stage_that_is_inlined() -> None:
    e = Example()
    middle: Tensor = te.compute((6,), lambda i: e.acc[i] * 3, "middle")
    out: Tensor = te.compute((6,), lambda i: middle[i] - 1, "out")
    s = te.create_schedule(out)
    s[e.acc].compute_at(s[middle], axis(middle))
    s[middle].compute_inline()
    with pytest.raises(ScheduleError, match=r"acc is computed in loop i\[6\] of middle"):
        te.lower(s, [e.x, out])


def test_reader_outside_the_loop() -> None:
    x = te.placeholder((6,), "int8", "x")
    p = te.compute((6,), lambda i: x[i].astype("int32") + 1, "p")
    a = te.compute((6,), lambda i: p[i] * 2, "a")
    b = te.compute((6,), lambda i: p[i] - a[i], "b")
    s = te.create_schedule(b)
    s[p].compute_at(s[a], axis(a))
    with pytest.raises(ScheduleError, match=r"p is computed inside i\[6\], but b reads it outside"):
        te.lower(s, [x, b])


def test_one_reduce_axis_for_two_nested_computes() -> None:
    x = te.placeholder((6, 6), "int8", "x")
    k = te.reduce_axis(6, "k")
    a = te.compute((6,), lambda i: te.sum(x[i, k].astype("int32"), axis=k), "a")
    b = te.compute((6,), lambda i: te.sum(a[k] * x[i, k].astype("int32"), axis=k), "b")
    s = te.create_schedule(b)
    s[a].compute_at(s[b], k)
    with pytest.raises(ScheduleError, match=r"a is computed inside the loop k\[6\], which is its"):
        te.lower(s, [x, b])


def test_registers_have_no_addresses() -> None:
    e = Example()
    e.s[e.p].compute_at(e.s[e.y], axis(e.y))
    e.s[e.acc].compute_at(e.s[e.y], axis(e.y))
    e.s[e.p].set_scope("register")
    message = "the register buffer p is indexed by the loop j"
    with pytest.raises(ScheduleError, match=message) as found:
        e.lower()
    assert "unroll or vectorize" in found.value.hint


def test_unrolled_too_often() -> None:
    x = te.placeholder((5000,), "int8", "x")
    y = te.compute((5000,), lambda i: x[i], "y")
    s = te.create_schedule(y)
    s[y].unroll(axis(y))
    with pytest.raises(ScheduleError, match="y: i can't be unrolled 5000 times; at most 4096"):
        te.lower(s, [x, y])


def copy_four() -> TensorIntrin:
    x = te.placeholder((4,), "int32", "x")
    out = te.compute((4,), lambda i: x[i], "copy")
    return te.decl_tensor_intrin("copy_four", out, [x], lambda operands: "copy();")


def test_replace_of_an_output() -> None:
    x = te.placeholder((4,), "int32", "x")
    y = te.compute((4,), lambda i: x[i], "y")
    s = te.create_schedule([y])
    with pytest.raises(ScheduleError, match="y is an output; it can't be replaced"):
        s.replace(y, lambda i: x[i])


def test_split_that_cannot_be_shifted() -> None:
    x = te.placeholder((5, 4), "int32", "x")
    k = te.reduce_axis(4, "k")
    y = te.compute((5,), lambda i: te.sum(x[i, k.var], axis=k), "y")
    s = te.create_schedule([y])
    with pytest.raises(ScheduleError, match=r"split of k\[4\] by 2 can't be shifted"):
        s[y].split(s[y].reduce_axis[0], 2, shift=True)
    with pytest.raises(ScheduleError, match=r"split of i\[5\] by 6 can't be shifted") as caught:
        s[y].split(s[y].axis[0], 6, shift=True)
    assert "at least as long" in caught.value.hint
