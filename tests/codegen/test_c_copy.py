"""Loops that copy or fill neighbours become one call, and nothing else does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from microtvm.codegen.c_copy import run_of
from microtvm.codegen.c_kernel import kernel
from microtvm.errors import IRError
from microtvm.tir.expr import Expr, IntImm, Param, Read, Var, const
from microtvm.tir.stmt import Buffer, For, Program, Stmt, Store
from microtvm.tir.text import expr_text
from tests.codegen.c_library import CLibrary

X, Y = Buffer("x", (64,), "int8"), Buffer("y", (64,), "int8")
WIDE = Buffer("wide", (64,), "int32")
I, J = Var("i"), Var("j")  # noqa: E741


def nest(body: Stmt, *loops: tuple[Var, int | Expr]) -> For:
    for var, extent in reversed(loops):
        size = IntImm(extent) if isinstance(extent, int) else extent
        body = For(var, IntImm(0), size, body)
    assert isinstance(body, For)
    return body


def copy(to: Expr, begin: Expr) -> Store:
    return Store(Y, (to,), Read(X, (begin,)))


def test_nests_become_one_call(tmp_path: Path) -> None:
    """Two loops over neighbours: one run, begun where the outer loops stand."""
    outer = Var("r")
    rows = nest(copy(outer * 16 + I * 4 + J, outer * 16 + I * 4 + J + 3), (I, 3), (J, 4))
    filled = nest(Store(Y, (outer * 16 + 12 + I,), const(-5, "int8")), (I, 4))
    body = nest(rows, (outer, 4))
    program = Program("p", (X, Y), body, outputs=(Y,))
    text = kernel(program, "p").text
    assert text.count("mtvm_copy(") == 1
    assert "12);" in text
    fills = Program("q", (X, Y), nest(filled, (outer, 4)), outputs=(Y,))
    assert kernel(fills, "q").text.count("mtvm_fill(") == 1
    x, y = np.arange(64, dtype=np.int8), np.zeros(64, np.int8)
    library = CLibrary([program, fills], tmp_path)
    copied = library.run(0, {X: x, Y: y})[Y]
    for r in range(4):
        assert copied[16 * r : 16 * r + 12].tolist() == x[16 * r + 3 : 16 * r + 15].tolist()
    assert library.run(1, {X: x, Y: y})[Y][12:16].tolist() == [-5] * 4


def test_a_length_that_may_be_negative() -> None:
    run = run_of(nest(copy(I, I), (I, Param("n", 7) - 3)), ())
    assert run is not None
    assert expr_text(run.size).startswith("max(")


@pytest.mark.parametrize(
    "loop",
    [
        nest(copy(I * 2, I), (I, 8)),
        nest(copy(I, IntImm(63) - I), (I, 8)),
        nest(copy(I * 8 + J, I * 8 + J), (I, 2), (J, 4)),
        nest(copy(I, I), (I, 3)),
        nest(copy(I, IntImm(0)), (I, 8)),
        nest(copy(I + J, I + J), (I, 4), (J, I + 1)),
        nest(Store(Y, (I,), Read(Y, (I + 8,))), (I, 8)),
        nest(Store(WIDE, (I,), Read(X, (I,)).astype("int32")), (I, 8)),
        nest(Store(WIDE, (I,), IntImm(0)), (I, 8)),
        nest(Store(Y, (I,), I.astype("int8")), (I, 8)),
        For(I, IntImm(0), IntImm(8), copy(I, I), "unrolled"),
    ],
)
def test_other_loops(loop: For) -> None:
    assert run_of(loop, ()) is None


def test_buffers_that_may_overlap() -> None:
    loop = nest(copy(I, I), (I, 8))
    assert run_of(loop, ()) is not None
    assert run_of(loop, (X,)) is not None
    assert run_of(loop, (X, Y)) is None


def test_what_is_not_writable() -> None:
    program = Program("p", (X, Y), nest(copy(I, I), (I, 8)), outputs=())
    with pytest.raises(IRError, match=r"a store to y: .*, which is not an output"):
        kernel(program, "p")
