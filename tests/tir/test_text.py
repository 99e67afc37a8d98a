"""The readable form of programs."""

from __future__ import annotations

import pytest

from microtvm.tir.expr import (
    Expr,
    FloatImm,
    IntImm,
    Not,
    Param,
    Select,
    Var,
    binary,
    cast,
)
from microtvm.tir.intrinsic import call
from microtvm.tir.stmt import Alloc, Buffer, If, Let, Program, Seq, sequence
from microtvm.tir.text import expr_text, program_text, stmt_text
from tests.tir.build import loop, read, store

A, B, C = Var("a"), Var("b"), Var("c")


@pytest.mark.parametrize(
    ("expr", "text"),
    [
        (A + B * C, "a + b * c"),
        ((A + B) * C, "(a + b) * c"),
        (A - (B - C), "a - (b - c)"),
        (A - B - C, "a - b - c"),
        (binary("//", A, B) % C, "a // b % c"),
        (binary("tdiv", A + 1, B), "tdiv(a + 1, b)"),
        (binary("min", A, binary("max", B, -3)), "min(a, max(b, -3))"),
        ((A << 2) + 1, "(a << 2) + 1"),
        (A & B | C, "a & b | c"),
        (binary("==", A < B, B < C), "(a < b) == (b < c)"),
        (binary("and", A < B, Not(binary("or", B < C, A < C))), "a < b and not (b < c or a < c)"),
        (Select(A < 0, A, B), "select(a < 0, a, b)"),
        (cast("int8", A), "int8(a)"),
        (Param("zero", -5) + A, "zero=-5 + a"),
        (FloatImm(0.1) + cast("float32", A), "0.100000001 + float32(a)"),
        (FloatImm(0.1, "float64"), "0.1"),
        (IntImm(1, "bool"), "true"),
        (call("rdbp", A, 3), "rdbp(a, 3)"),
    ],
)
def test_expressions(expr: Expr, text: str) -> None:
    assert expr_text(expr) == text


def test_program() -> None:
    x, y = Buffer("x", (4, 8), "int8"), Buffer("y", (4,), "int32")
    w = Buffer("w", (8,), "int8", "const")
    acc, tmp = Buffer("acc", (2,), "int32", "register"), Buffer("tmp", (4,), "int32")
    i, j, n = Var("i"), Var("j"), Var("n")
    body = Alloc(
        acc,
        sequence(
            loop(j, 2, store(acc, (j,), 0), "unrolled"),
            If(i < 3, store(y, (i,), read(acc, 0)), Seq(())),
            Let(n, i + 1, store(tmp, (i,), n + cast("int32", read(x, i, 7)))),
        ),
    )
    program = Program("demo", (x, w, y), loop(i, 4, body), (tmp,), (y,), ("dense", "int8"))
    assert program_text(program) == (
        "# dense\n"
        "# int8\n"
        "program demo\n"
        "  in x: int8[4, 8]\n"
        "  in w: int8[8] const\n"
        "  out y: int32[4]\n"
        "  scratch tmp: int32[4]\n"
        "  for i in 0 : +4\n"
        "    alloc acc: int32[2] register\n"
        "    unrolled for j in 0 : +2\n"
        "      acc[j] = 0\n"
        "    if i < 3\n"
        "      y[i] = acc[0]\n"
        "    else\n"
        "      nothing\n"
        "    let n: int32 = i + 1\n"
        "    tmp[i] = n + int32(x[i, 7])\n"
    )


def test_statement_indents() -> None:
    assert stmt_text(store(Buffer("y", (1,), "int32"), (0,), 5), 2) == "    y[0] = 5"
