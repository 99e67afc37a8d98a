"""Which inputs a program may overwrite with its output."""

from __future__ import annotations

import numpy as np
import pytest

from microtvm import te
from microtvm.codegen.layout import lay_out
from microtvm.frontend import load_model
from microtvm.lower.in_place import overwritable
from microtvm.lower.kernel import lower_group
from microtvm.passes import PASSES, run_passes
from microtvm.passes.fuse import fuse
from microtvm.target import load_cpu
from microtvm.te.intrin import declare
from microtvm.te.tensor import compute, placeholder
from microtvm.tir.expr import Expr, IntImm, Read, Var, binary
from microtvm.tir.stmt import (
    Alloc,
    Buffer,
    For,
    If,
    IntrinsicCall,
    Let,
    Operand,
    Program,
    Stmt,
    Store,
    sequence,
)
from tests.golden.mlperf import model_file
from tests.lower.written_over import harmed

N = 8
A, B = Buffer("a", (2, 4), "int8"), Buffer("b", (N,), "int8")
Y = Buffer("y", (N,), "int8")
R = Buffer("r", (2,), "int8", "register")
I = Var("i")  # noqa: E741


def program(body: Stmt, *outputs: Buffer) -> Program:
    return Program("p", (A, B, Y), body, (), outputs or (Y,))


def loop(body: Stmt, extent: int = N) -> Stmt:
    return For(I, IntImm(0), IntImm(extent), body)


def of_a(index: Expr) -> Expr:
    """An element of `a`, which has two dimensions, by its place in memory."""
    return Read(A, (index // 4, index % 4))


def test_each_element_before_it_is_written() -> None:
    body = loop(Store(Y, (I,), Read(B, (I,)) + 1))
    assert overwritable(program(body), (B,)) == (0,)
    r, c = Var("r"), I
    value = Read(A, (r, c)) + Read(B, (r * 4 + c,))
    both = For(r, IntImm(0), IntImm(2), loop(Store(Y, (r * 4 + c,), value), 4))
    assert overwritable(program(both), (A, B)) == (0, 1)


def test_loads_of_a_block_before_its_stores() -> None:
    """In registers or under a name; not if a store comes between. `a` is not read at all."""
    loads = [Store(R, (IntImm(k),), Read(B, (I * 2 + k,))) for k in (0, 1)]
    stores = [Store(Y, (I * 2 + k,), Read(R, (IntImm(k),))) for k in (0, 1)]
    good = Alloc(R, sequence(*loads, *stores))
    assert overwritable(program(loop(good, 4)), (A, B)) == (0, 1)
    bad = Alloc(R, sequence(loads[0], *stores, loads[1]))
    assert overwritable(program(loop(bad, 4)), (A, B)) == (0,)
    v = Var("v", "int8")
    assert overwritable(program(loop(Let(v, Read(B, (I,)), Store(Y, (I,), v)))), (B,)) == (0,)


@pytest.mark.parametrize(
    "value",
    [
        Read(B, (IntImm(N - 1) - I,)),
        Read(B, (IntImm(0),)),
        of_a(I),
        Read(B, (I,)) + Read(B, (IntImm(3),)),
    ],
)
def test_other_places(value: Expr) -> None:
    inputs = (A,) if any(c.source is A for c in (value,) if isinstance(c, Read)) else (B,)
    assert overwritable(program(loop(Store(Y, (I,), value))), inputs) == ()


def test_a_read_that_a_later_store_does_not_follow_in_its_block() -> None:
    store = Store(Y, (I,), Read(A, (IntImm(0), IntImm(0))))
    load = Store(R, (IntImm(0),), Read(B, (I,)))
    guarded = sequence(load, If(I < 5, store))
    assert overwritable(program(loop(Alloc(R, guarded))), (B,)) == ()
    inside = If(I < 5, Store(Y, (I,), Read(B, (I,))))
    assert overwritable(program(loop(inside)), (B,)) == (0,)
    of_condition = If(Read(B, (I,)) < 5, Store(Y, (I,), IntImm(1, "int8")))
    assert overwritable(program(loop(of_condition)), (B,)) == ()


def test_outputs_that_are_written_more_than_once() -> None:
    start = Store(Y, (I,), IntImm(0, "int8"))
    update = Store(Y, (I,), Read(Y, (I,)) + Read(B, (I,)))
    assert overwritable(program(loop(sequence(start, update))), (B,)) == ()
    other = Buffer("z", (N,), "int8")
    assert overwritable(program(loop(Store(Y, (I,), Read(B, (I,)))), Y, other), (B,)) == ()


def test_intrinsics() -> None:
    x = placeholder((N,), "int8", "x")
    y = compute((N,), lambda i: x[i] + 1, "y")
    intrinsic = declare("plus_one", y, [x], lambda operands: "")

    def call(out: Buffer, source: Buffer) -> Stmt:
        views = [Operand(b, (IntImm(0),), (1,)) for b in (out, source)]
        return IntrinsicCall(intrinsic, (views[0], views[1]), ())

    assert overwritable(program(call(Y, B)), (B,)) == ()
    store = loop(Store(Y, (I,), Read(B, (I,))))
    scratch = Buffer("s", (N,), "int8")
    assert overwritable(program(sequence(call(scratch, A), store)), (A, B)) == (1,)
    assert overwritable(program(sequence(call(scratch, B), store)), (A, B)) == (0,)


def test_other_sizes() -> None:
    wide, longer = Buffer("w", (N,), "int16"), Buffer("l", (N + 1,), "int8")
    for other in (wide, longer):
        body = loop(Store(Y, (I,), Read(other, (I,)).astype("int8")))
        assert overwritable(Program("p", (other, Y), body, (), (Y,)), (other,)) == ()


@pytest.mark.parametrize("cpu", ["cortex-m4", "cortex-m0", "cortex-m55", "host"])
def test_a_residual_network_needs_no_third_tensor(cpu: str) -> None:
    """The sum overwrites the shortcut in the convolution that makes the other operand."""
    graph = run_passes(load_model(model_file("resnet8_int8")), PASSES)
    fused = fuse(graph)
    core = load_cpu(cpu)
    kernels = tuple(lower_group(graph, group, core) for group in fused.groups)
    layout = lay_out(fused, kernels)
    assert layout.tensor_bytes == 2 * 32 * 32 * 16
    assert [k.in_place for k in kernels if len(k.group.inputs) == 2] == [(1,)] * 3


def stepping(*, in_step: bool, place: Expr, source: Expr, x: Buffer = B, y: Buffer = Y) -> Program:
    """A call that stores four elements of `y` at `place`, from as many of `x` at `source`."""
    a = placeholder((4,), "int8", "a")
    out = compute((4,), lambda i: a[i] + 1, "out")
    intrin = declare("plus", out, [a], lambda operands: "", in_step=in_step)
    call = IntrinsicCall(intrin, (Operand(y, (place,), (1,)), Operand(x, (source,), (1,))))
    return Program("p", (x, y), For(I, IntImm(0), IntImm(2), call), (), (y,))


def test_intrinsics_that_go_in_step() -> None:
    assert overwritable(stepping(in_step=True, place=I * 4, source=I * 4), (B,)) == (0,)
    assert overwritable(stepping(in_step=False, place=I * 4, source=I * 4), (B,)) == ()


def test_intrinsics_whose_places_differ() -> None:
    assert overwritable(stepping(in_step=True, place=I * 4, source=IntImm(4) - I * 4), (B,)) == ()
    shifted = stepping(in_step=True, place=I * 4, source=I * 4, x=Y)
    assert overwritable(shifted, (B,)) == ()


def test_tiles_that_overlap() -> None:
    """What a tile has stored the next one would read."""
    x, y = Buffer("x", (7,), "int8"), Buffer("y", (7,), "int8")
    first = binary("min", I * 4, IntImm(3))
    found = stepping(in_step=True, place=first, source=first, x=x, y=y)
    assert overwritable(found, (x,)) == ()
    k = Var("k")
    one = For(k, IntImm(0), IntImm(4), Store(y, (first + k,), Read(x, (first + k,)) + 1))
    both = For(I, IntImm(0), IntImm(2), one)
    assert overwritable(Program("p", (x, y), both, (), (y,)), (x,)) == ()


@pytest.mark.parametrize("unrolled", [False, True])
def test_a_split_whose_last_part_begins_earlier(*, unrolled: bool) -> None:
    """Written out, no index tells that its stores overlap those of the part before."""
    x = placeholder((10,), "int8", "x")
    y = compute((10,), lambda i: (x[i].astype("int32") // 2).astype("int8"), "y")
    s = te.create_schedule(y)
    outer, _ = s[y].split(s[y].axis[0], 4, shift=True)
    if unrolled:
        s[y].unroll(outer)
    found = te.lower(s, [x, y], "halves")
    given = found.params[0]
    assert harmed(found, {given: np.arange(10, dtype=np.int8)}, given) == [6, 7]
    assert overwritable(found, (given,)) == ()


def test_loops_whose_length_is_not_known() -> None:
    """How often a loop runs may depend on another one: each time counts as the longest."""
    x, y, k = Buffer("x", (6,), "int8"), Buffer("y", (6,), "int8"), Var("k")
    at = I * 2 + k
    pairs = For(k, IntImm(0), 2 - I * 0, Store(y, (at,), Read(x, (at,)) + 1))
    assert overwritable(Program("p", (x, y), loop(pairs, 3), (), (y,)), (x,)) == (0,)
    guess = binary("min", Read(x, (I,)).astype("int32"), IntImm(2))
    some = For(k, IntImm(0), guess, Store(y, (at,), IntImm(1, "int8")))
    assert overwritable(Program("p", (x, y), loop(some, 4), (), (y,)), (x,)) == ()
