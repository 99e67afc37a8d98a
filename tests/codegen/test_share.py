"""Programs that differ only in constants share one, which for their values is each of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from microtvm import te
from microtvm.codegen.flatten import flatten
from microtvm.codegen.share import MAX_PARAMS, Shared, share
from microtvm.errors import IRError
from microtvm.te import Tensor
from microtvm.tir.expr import Expr, IntImm, Param, Read, Var
from microtvm.tir.interpret import interpret
from microtvm.tir.stmt import Buffer, For, If, Let, Program, Seq, Stmt, Store, map_expressions
from microtvm.tir.traversal import substitute
from microtvm.util import Array
from tests.te.oracle import reference

RNG = np.random.default_rng(23)


def for_node(shared: Shared, node: int) -> Stmt:
    """The body with the values that a node passes."""
    values: dict[Expr, Expr] = {
        p: IntImm(v, p.dtype) for p, v in zip(shared.params, shared.values[node], strict=True)
    }
    return map_expressions(shared.program.body, lambda e: substitute(e, values))


def assert_serves(
    shared: Shared, node: int, program: Program, inputs: Sequence[Array], expected: Sequence[Array]
) -> None:
    """The shared program with the node's values and buffers, interpreted."""
    renamed = dict(
        zip(
            (*shared.program.params, *shared.program.scratch),
            (*program.params, *program.scratch),
            strict=True,
        )
    )
    body = _rebuffered(for_node(shared, node), renamed)
    own = Program("node", program.params, body, program.scratch, program.outputs)
    given = {b: a.reshape(-1) for b, a in zip(own.params, inputs, strict=False)}
    found = interpret(own, given)
    for buffer, wanted in zip(own.outputs, expected, strict=True):
        np.testing.assert_array_equal(found[buffer].reshape(wanted.shape), wanted)


def _rebuffered(stmt: Stmt, buffers: dict[Buffer, Buffer]) -> Stmt:
    """The statement on the node's own buffers."""

    def expr(e: Expr) -> Expr:
        if isinstance(e, Read):
            indices = tuple(map(expr, e.indices))
            return Read(buffers.get(e.source, e.source), indices)
        return e.rebuild(tuple(map(expr, e.children()))) if e.children() else e

    if isinstance(stmt, Store):
        buffer = buffers.get(stmt.buffer, stmt.buffer)
        return Store(buffer, tuple(map(expr, stmt.indices)), expr(stmt.value))
    if isinstance(stmt, Seq):
        return Seq(tuple(_rebuffered(s, buffers) for s in stmt.body))
    if isinstance(stmt, For):
        body = _rebuffered(stmt.body, buffers)
        return For(stmt.var, expr(stmt.begin), expr(stmt.extent), body, stmt.kind)
    if isinstance(stmt, If):
        other = None if stmt.otherwise is None else _rebuffered(stmt.otherwise, buffers)
        return If(expr(stmt.cond), _rebuffered(stmt.then, buffers), other)
    assert isinstance(stmt, Let)
    return Let(stmt.var, expr(stmt.value), _rebuffered(stmt.body, buffers))


def convolution(
    length: int, channels: int, taps: int, pad: int, zero: int
) -> tuple[dict[Tensor, Array], Tensor]:
    """A padded 1-D convolution of each channel, with an offset that is a parameter."""
    x = te.placeholder((length, channels), "int8", "x")
    w = te.placeholder((taps, channels), "int8", "w")
    t = te.reduce_axis(taps, "t")

    def tap(i: Expr, c: Expr) -> Expr:
        at = i + t - pad
        inside = te.all(at >= 0, at < length)
        value = te.select(inside, x[at, c].astype("int32"), Param("zero", zero))
        return te.sum((value - Param("zero", zero)) * w[t, c].astype("int32"), axis=t)

    y = te.compute((length + 2 * pad - taps + 1, channels), tap, "y")
    data = {
        x: RNG.integers(-128, 128, (length, channels)).astype(np.int8),
        w: RNG.integers(-128, 128, (taps, channels)).astype(np.int8),
    }
    return data, y


def test_shapes_and_zero_points_share_one_function() -> None:
    nodes = [
        convolution(length=9, channels=3, taps=3, pad=1, zero=-5),
        convolution(length=14, channels=2, taps=5, pad=2, zero=7),
        convolution(length=11, channels=6, taps=4, pad=1, zero=7),
    ]
    programs = [flatten(te.lower(te.create_schedule(y), [*d, y])) for d, y in nodes]
    ((members, shared),) = share(programs)
    assert members == (0, 1, 2)
    assert 0 < len(shared.params) <= MAX_PARAMS
    assert {p.name for p in shared.params} > {"zero"}
    for k, (program, (data, y)) in enumerate(zip(programs, nodes, strict=True)):
        assert_serves(shared, k, program, list(data.values()), reference([y], data))


def test_one_program_is_itself() -> None:
    data, y = convolution(9, 3, 3, 1, 0)
    program = flatten(te.lower(te.create_schedule(y), [*data, y]))
    assert share([program])[0][1].program is program
    # What is equal needs no arguments.
    again = flatten(te.lower(te.create_schedule(y), [*data, y]))
    ((members, shared),) = share([program, again])
    assert (members, shared.params, shared.values) == ((0, 1), (), ((), ()))


def element_wise(value: Expr, dtype: str = "int32", extent: int = 4) -> Program:
    """y[i] = value, which may use the read of x at i."""
    y = Buffer("y", (extent,), dtype)
    loop = For(I, IntImm(0), IntImm(extent), Store(y, (I,), value))
    return Program("p", (X, y), loop, outputs=(y,))


I = Var("i")  # noqa: E741
X = Buffer("x", (8,), "int32")
AT_I = Read(X, (I,))


@pytest.mark.parametrize(
    "other",
    [
        element_wise(AT_I * 3),
        element_wise(AT_I + AT_I),
        element_wise(Read(X, (I * 2,)) + 3),
        element_wise((AT_I + 3).astype("int8"), "int8"),
        element_wise(te.max(AT_I, 3)),
        element_wise(te.select(AT_I > 0, AT_I + 3, AT_I)),
        element_wise(te.call("srdhm", AT_I, 3)),
    ],
)
def test_other_programs_have_other_functions(other: Program) -> None:
    groups = share([element_wise(AT_I + 3), other, element_wise(AT_I + 5)])
    assert [members for members, _ in groups] == [(0, 2), (1,)]


def test_related_constants_are_one_argument() -> None:
    """Twice an extent, and an extent and one, need no argument of their own."""
    programs = [element_wise(AT_I * (2 * n) + (n + 1), extent=n) for n in (3, 5, 8)]
    ((_, shared),) = share(programs)
    assert len(shared.params) == 1
    for k, n in enumerate((3, 5, 8)):
        x = np.arange(8, dtype=np.int32)
        assert_serves(shared, k, programs[k], [x], [x[:n] * (2 * n) + (n + 1)])


def test_constants_of_other_types_are_other_arguments() -> None:
    """An int64 constant is not computed from an int32 one, whatever the values."""

    def program(n: int) -> Program:
        wide = AT_I.astype("int64") * IntImm(2 * n, "int64")
        return element_wise(wide.astype("int32") + n)

    programs = [program(3), program(5)]
    ((_, shared),) = share(programs)
    assert {p.dtype for p in shared.params} == {"int32", "int64"}
    x = np.arange(8, dtype=np.int32)
    for k, n in enumerate((3, 5)):
        assert_serves(shared, k, programs[k], [x], [x[:4] * (2 * n) + n])


def test_large_constants_do_not_overflow() -> None:
    """A relation between large constants would leave int32 on the way."""
    high = 2**31 - 1
    pairs = [(1, 0), (2, high)]
    programs = [element_wise(te.max(te.min(AT_I, a), b)) for a, b in pairs]
    ((_, shared),) = share(programs)
    x = np.arange(8, dtype=np.int32)
    for k, (a, b) in enumerate(pairs):
        assert_serves(shared, k, programs[k], [x], [np.maximum(np.minimum(x[:4], a), b)])


def test_too_many_arguments_are_not_shared() -> None:
    def program(seed: int) -> Program:
        y = Buffer("y", (64,), "int32")
        numbers = np.random.default_rng(seed).integers(1000, 1 << 20, MAX_PARAMS + 1)
        stores = [Store(y, (IntImm(k),), AT_ZERO + int(n)) for k, n in enumerate(numbers)]
        return Program("p", (X, y), Seq(tuple(stores)), outputs=(y,))

    groups = share([program(1), program(2), program(1)])
    assert [members for members, _ in groups] == [(0, 2), (1,)]
    assert all(shared.params == () for _, shared in groups)


AT_ZERO = Read(X, (IntImm(0),))


class Strange(Stmt):
    """A statement that nobody knows."""


def test_unknown_statements_are_refused() -> None:
    from microtvm.codegen.share import _Merge

    programs = [Program("p", (), Strange()), Program("p", (), Strange())]
    with pytest.raises(IRError, match="can't be merged"):
        _Merge(programs).shared()
