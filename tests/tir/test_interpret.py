"""The interpreter: equal to plain evaluation, and strict about what no correct program does."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from microtvm.errors import IRError
from microtvm.tir.dtype import is_float
from microtvm.tir.expr import (
    BinOp,
    Call,
    Cast,
    Expr,
    FloatImm,
    IntImm,
    Not,
    Param,
    Read,
    Select,
    Var,
    binary,
    cast,
    const,
)
from microtvm.tir.interpret import Interpreter, interpret
from microtvm.tir.intrinsic import call, scalar_function
from microtvm.tir.stmt import Alloc, Buffer, For, If, Let, Program, Stmt, Store, sequence
from tests.codegen.test_c_expr import random_program
from tests.tir.build import loop, read, store


def plain(node: Expr, env: dict[Any, Any]) -> Any:
    """The value of an expression by definition: a numpy float, an exact int, or a bool."""
    if isinstance(node, Var | Param | IntImm | FloatImm):
        value = env[node] if isinstance(node, Var) else node.value
        return np.dtype(node.dtype).type(value) if is_float(node.dtype) else value
    if isinstance(node, Read):
        element = env[node.source][tuple(int(plain(i, env)) for i in node.indices)]
        return element if is_float(node.dtype) else element.item()
    if isinstance(node, Select):
        return plain(node.on_true if plain(node.cond, env) else node.on_false, env)
    if isinstance(node, Not):
        return not plain(node.value, env)
    if isinstance(node, Cast):
        value = plain(node.value, env)
        if node.dtype == "bool":
            return value != 0
        if is_float(node.dtype):
            wide = np.array(value, np.dtype(node.value.dtype))
            return wide.astype(node.dtype)[()]
        return (
            int(value) % (1 << 64) % (1 << (np.dtype(node.dtype).itemsize * 8))
            if node.dtype[0] == "u"
            else int(value)
        )
    if isinstance(node, Call):
        kind = float if is_float(node.dtype) else int
        values = [kind(plain(arg, env)) for arg in node.args]
        result = scalar_function(node.name).evaluate(*values)
        return np.dtype(node.dtype).type(result) if is_float(node.dtype) else result
    assert isinstance(node, BinOp)
    a = plain(node.a, env)
    if node.op in ("and", "or"):
        return (
            bool(a) and bool(plain(node.b, env))
            if node.op == "and"
            else bool(a) or bool(plain(node.b, env))
        )
    b = plain(node.b, env)
    exact = {
        "+": lambda: a + b, "-": lambda: a - b, "*": lambda: a * b, "/": lambda: a / b,
        "//": lambda: a // b, "%": lambda: a % b,
        "tdiv": lambda: int(abs(a) // abs(b)) * (1 if (a < 0) == (b < 0) else -1),
        "tmod": lambda: (abs(a) % abs(b)) * (-1 if a < 0 else 1),
        "min": lambda: min(a, b), "max": lambda: max(a, b),
        "<<": lambda: a << b, ">>": lambda: a >> b,
        "&": lambda: a & b, "|": lambda: a | b, "^": lambda: a ^ b, "==": lambda: a == b,
        "!=": lambda: a != b, "<": lambda: a < b, "<=": lambda: a <= b, ">": lambda: a > b,
        ">=": lambda: a >= b,
    }[node.op]()  # fmt: skip
    if node.dtype[0] == "u":
        return exact % (1 << (np.dtype(node.dtype).itemsize * 8))
    return exact


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_expressions_have_their_plain_value() -> None:
    for seed in range(5000, 5150):
        program, arrays = random_program(seed)
        assert isinstance(program.body, For)
        assert isinstance(program.body.body, Store)
        (found,) = interpret(program, arrays).values()
        for position in range(0, len(found), 7):
            env = {**arrays, program.body.var: position}
            wanted = plain(program.body.body.value, env)
            np.testing.assert_array_equal(found[position], wanted, program.name)


def test_matrix_product_equals_numpy() -> None:
    rng = np.random.default_rng(0)
    a, b = (
        Buffer("a", (5, 7), "int8"),
        Buffer("b", (7, 3), "int8", "const", rng.integers(-128, 128, (7, 3)).astype(np.int8)),
    )
    c, acc = Buffer("c", (5, 3), "int32"), Buffer("acc", (1,), "int32", "register")
    i, j, k = Var("i"), Var("j"), Var("k")
    step = read(acc, 0) + read(a, i, k).astype("int32") * read(b, k, j).astype("int32")
    tile = sequence(
        store(acc, (0,), 0), loop(k, 7, store(acc, (0,), step)), store(c, (i, j), read(acc, 0))
    )
    program = Program("product", (a, b, c), loop(i, 5, loop(j, 3, Alloc(acc, tile))), (), (c,))
    data = rng.integers(-128, 128, (5, 7)).astype(np.int8)
    assert b.data is not None
    np.testing.assert_array_equal(interpret(program, {a: data})[c], data.astype(np.int32) @ b.data)


def test_a_program_runs_again_with_other_arrays() -> None:
    x, y = Buffer("x", (3,), "int32"), Buffer("y", (3,), "int32")
    i = Var("i")
    interpreter = Interpreter(
        Program("twice", (x, y), loop(i, 3, store(y, (i,), read(x, i) * 2)), (), (y,))
    )
    for start in (0, 5):
        data = np.arange(start, start + 3, dtype=np.int32)
        np.testing.assert_array_equal(interpreter.run({x: data})[y], data * 2)


def test_more_loops_than_python_nests() -> None:
    y = Buffer("y", (1,), "int32")
    variables = [Var(f"i{n}") for n in range(40)]
    body: Stmt = store(y, (0,), read(y, 0) + variables[0] + variables[39] + 1)
    for var in reversed(variables):
        body = loop(var, 2 if var in (variables[0], variables[20], variables[39]) else 1, body)
    program = Program("deep", (y,), body, (), (y,))
    assert interpret(program, {y: np.zeros(1, np.int32)})[y] == [16]


def test_long_sums_are_within_the_parsers_limits() -> None:
    x, y = Buffer("x", (400,), "int32"), Buffer("y", (1,), "int32")
    total = read(x, 0)
    for n in range(1, 400):
        total = read(x, n) - total
    program = Program("long", (x, y), store(y, (0,), total), (), (y,))
    assert interpret(program, {x: np.arange(400, dtype=np.int32)})[y] == [200]


def test_only_the_chosen_side_is_evaluated() -> None:
    x, y = Buffer("x", (4,), "int32"), Buffer("y", (5,), "int32")
    i = Var("i")
    shared = binary("//", 100, read(x, i - 1))
    value = Select((i > 0), shared * shared, const(-1, "int32"))
    program = Program("guarded", (x, y), loop(i, 5, store(y, (i,), value)), (), (y,))
    assert interpret(program, {x: np.array([1, 2, 3, 4], np.int32)})[y].tolist() == [
        -1,
        10000,
        2500,
        1089,
        625,
    ]


def test_loops_that_do_not_run_and_branches() -> None:
    y = Buffer("y", (3,), "int32")
    i, n = Var("i"), Var("n")
    body = loop(
        i,
        3,
        If(
            i < 1,
            store(y, (i,), 7),
            Let(n, i - 5, sequence(store(y, (i,), n), loop(Var("j"), n, store(y, (9,), 1)))),
        ),
    )
    assert interpret(Program("p", (y,), body, (), (y,)), {})[y].tolist() == [7, -4, -3]


def test_large_integers_become_floats_with_one_rounding() -> None:
    x, y = Buffer("x", (2,), "int64"), Buffer("y", (2,), "float32")
    i = Var("i")
    program = Program(
        "p", (x, y), loop(i, 2, store(y, (i,), cast("float32", read(x, i)))), (), (y,)
    )
    # The first is just above the middle of two float32 values, but float64 rounds it to the middle.
    data = np.array([(1 << 60) + (1 << 36) + 1, -(1 << 62) + 1], np.int64)
    np.testing.assert_array_equal(interpret(program, {x: data})[y], data.astype(np.float32))
    assert interpret(program, {x: data})[y][0] == np.float32((1 << 60) + (1 << 37))


X, Y = Buffer("x", (4,), "int32"), Buffer("y", (4,), "int32")
B = Buffer("b", (4,), "int8")
F = Buffer("f", (4,), "float32")
T = Buffer("t", (2,), "int32")
AT = Var("i")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            loop(AT, 5, store(Y, (AT,), 1)),
            "a store to y: int32[4] arena: index 4 of dimension 0 is outside 0..3",
        ),
        (
            loop(AT, 4, store(Y, (AT,), read(X, AT - 1))),
            "a read of x: int32[4] arena: index -1 of dimension 0",
        ),
        (
            store(Y, (0,), read(X, 0) + read(X, 1)),
            "x[0] + x[1] is 4000000000, which does not fit int32",
        ),
        (
            store(B, (0,), cast("int8", read(X, 0))),
            "int8(x[0]) is 2000000000, which does not fit int8",
        ),
        (store(Y, (0,), binary("//", read(X, 0), read(X, 2))), "x[0] // x[2] divides by zero"),
        (
            store(Y, (0,), binary("tmod", read(X, 0), read(X, 2))),
            "tmod(x[0], x[2]) divides by zero",
        ),
        (store(Y, (0,), read(X, 0) << read(X, 3)), "x[0] << x[3] shifts 32 bits by 40"),
        (
            store(Y, (0,), cast("int32", FloatImm(1.0) / cast("float32", read(X, 2)))),
            "converts inf, which is no integer",
        ),
        (
            store(Y, (0,), cast("int32", cast("float32", read(X, 0)) * 4.0)),
            "is 8000000000, which does not fit",
        ),
        (store(Y, (0,), call("rdbp", read(X, 2), read(X, 3))), "rdbp shifts by 40"),
        (Alloc(T, store(Y, (0,), read(T, 1))), "t[1] is read before it is written"),
        (
            loop(
                AT,
                2,
                Alloc(
                    T,
                    sequence(
                        store(Y, (AT,), Select(AT < 1, const(0, "int32"), read(T, 0))),
                        store(T, (0,), 1),
                    ),
                ),
            ),
            "t[0] is read before it is written",
        ),
        (store(Y, (0,), read(Y, 1)), "y[1] is read before it is written"),
        (store(Y, (0,), 1), "3 elements of y: int32[4] arena were never written, the first is [1]"),
        (store(X, (0,), 1), "a store to x: int32[4] arena, which is not an output"),
        (
            store(T, (0,), 1),
            "a store to t: int32[2] arena, which is neither a parameter nor allocated",
        ),
        (
            store(Y, (0,), read(T, 0)),
            "a read of t: int32[2] arena, which is neither a parameter nor allocated",
        ),
        (
            Store(Y, (IntImm(0),), IntImm(1, "int8")),
            "a value of int8 is stored to y: int32[4] arena",
        ),
        (Store(Y, (), IntImm(1)), "a store to y: int32[4] arena has 0 indices"),
        (store(Y, (AT,), 1), "i is used outside of the loop or let that defines it"),
    ],
)
def test_strict(body: Stmt, message: str) -> None:
    program = Program("p", (X, Y, B, F), body, (), (Y, B))
    data = np.array([2_000_000_000, 2_000_000_000, 0, 40], np.int32)
    arrays = {X: data, F: np.zeros(4, np.float32), B: np.zeros(4, np.int8)}
    with pytest.raises(IRError, match=re.escape(message)):
        interpret(program, arrays)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "p: no array was given for x: int32"),
        ({X: np.zeros(3, np.int32)}, r"x: int32\[4\] arena was asked for, int32\[3\] was found"),
        ({X: np.zeros(4, np.int16)}, r"x: int32\[4\] arena was asked for, int16\[4\] was found"),
    ],
)
def test_wrong_arrays(given: dict[Buffer, Any], message: str) -> None:
    program = Program("p", (X, Y), loop(AT, 4, store(Y, (AT,), read(X, AT))), (), (Y,))
    with pytest.raises(IRError, match=message):
        interpret(program, given)
