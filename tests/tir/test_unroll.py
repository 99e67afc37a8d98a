"""Loops written out."""

from __future__ import annotations

import numpy as np
import pytest

from microtvm.errors import IRError
from microtvm.tir.expr import IntImm, Var
from microtvm.tir.interpret import interpret
from microtvm.tir.stmt import Alloc, Buffer, If, Let, Program, Stmt, sequence
from microtvm.tir.text import stmt_text
from microtvm.tir.unroll import MOST_COPIES, unroll
from tests.tir.build import loop, read, store

X, Y = Buffer("x", (12,), "int32"), Buffer("y", (12,), "int32")


def test_copies_are_folded() -> None:
    i, j = Var("i"), Var("j")
    body = If(i < 1, store(Y, (i * 4 + j,), read(X, j)), store(Y, (i * 4 + j,), i * j))
    nest = loop(i, 2, loop(j, 2, body, "unrolled", 1), "unrolled")
    assert stmt_text(unroll(nest)) == "y[1] = x[1]\ny[2] = x[2]\ny[5] = 1\ny[6] = 2"


def test_serial_loops_stay() -> None:
    i, j = Var("i"), Var("j")
    nest = loop(i, 3, loop(j, 2, store(Y, (i * 2 + j,), 0), "unrolled"))
    assert stmt_text(unroll(nest)) == "for i in 0 : +3\n  y[i * 2] = 0\n  y[i * 2 + 1] = 0"


def test_a_begin_may_be_symbolic_and_chosen_loops_may_be_of_any_kind() -> None:
    i, j = Var("i"), Var("j")
    nest = loop(i, 3, loop(j, 2, store(Y, (j,), 0), begin=i))
    text = stmt_text(unroll(nest, lambda each: each.var is j))
    assert text == "for i in 0 : +3\n  y[i] = 0\n  y[i + 1] = 0"


def test_meaning_is_kept() -> None:
    i, j, n = Var("i"), Var("j"), Var("n")
    acc = Buffer("acc", (3,), "int32", "register")
    inner = sequence(
        loop(j, 3, store(acc, (j,), read(X, i * 3 + j) * 2), "unrolled"),
        Let(n, i + 1, loop(j, 3, store(Y, (i * 3 + j,), read(acc, j) - n), "unrolled")),
    )
    nest = loop(i, 4, Alloc(acc, inner), "unrolled")
    data = {X: np.arange(12, dtype=np.int32)}
    wanted = interpret(Program("p", (X, Y), nest, (), (Y,)), data)[Y]
    flat = unroll(nest)
    assert "for" not in stmt_text(flat)
    np.testing.assert_array_equal(interpret(Program("p", (X, Y), flat, (), (Y,)), data)[Y], wanted)


@pytest.mark.parametrize(
    ("nest", "message"),
    [
        (loop(Var("i"), Var("n"), store(Y, (0,), 0), "unrolled"), "its extent is not a constant"),
        (
            loop(Var("i"), MOST_COPIES + 1, store(Y, (0,), 0), "unrolled"),
            "the loop over i can't be unrolled 4097 times; at most 4096 was expected",
        ),
    ],
)
def test_what_can_not_be_unrolled(nest: Stmt, message: str) -> None:
    with pytest.raises(IRError, match=message):
        unroll(nest)


def test_a_loop_of_no_iterations_vanishes() -> None:
    empty = loop(Var("i"), IntImm(0), store(Y, (0,), 0), "unrolled")
    assert stmt_text(unroll(empty)) == "nothing"
