"""Partitioned loops store what they stored before, and test nothing where nothing changes."""

from __future__ import annotations

import random

import numpy as np
import pytest

from microtvm.tir.cleanup import clean_program, is_nothing, loop_range, simplify_stmt
from microtvm.tir.expr import BinOp, Expr, IntImm, Not, Read, Select, Var, binary
from microtvm.tir.interpret import interpret
from microtvm.tir.partition import partition
from microtvm.tir.simplify import Analyzer
from microtvm.tir.stmt import (
    Alloc,
    Buffer,
    For,
    If,
    Let,
    Program,
    Seq,
    Stmt,
    Store,
    sequence,
    statement_expressions,
    walk,
)
from microtvm.tir.text import program_text
from microtvm.tir.traversal import post_order
from microtvm.util import Array

KINDS = ["serial", "serial", "serial", "unrolled", "vectorized"]


def affine(rng: random.Random, variables: list[Var]) -> Expr:
    total: Expr = IntImm(rng.randint(-6, 6))
    for v in rng.sample(variables, rng.randint(1, len(variables))):
        total = total + v * rng.choice([-3, -2, -1, 1, 1, 2, 4])
    return total


def condition(rng: random.Random, variables: list[Var], depth: int = 1) -> Expr:
    kind = rng.randrange(5)
    if kind == 0 and depth:
        return Not(condition(rng, variables, depth - 1))
    if kind == 1 and depth:
        op = rng.choice(["and", "and", "or"])
        left = condition(rng, variables, depth - 1)
        return binary(op, left, condition(rng, variables, depth - 1))
    op = rng.choice(["<", "<=", ">", ">=", ">=", "==", "!="])
    limit = IntImm(rng.randint(-6, 12))
    return binary(op, affine(rng, variables), limit)


class Nest:
    """A random nest of loops that counts each element's visits under random conditions."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.extents = [self.rng.randint(1, 6) for _ in range(self.rng.randint(1, 3))]
        self.variables = [Var(f"v{k}") for k in range(len(self.extents))]
        shape = tuple(self.extents)
        self.out = Buffer("out", shape, "int32")
        self.program = Program("nest", (self.out,), self.loops(0), outputs=(self.out,))

    def loops(self, depth: int) -> Stmt:
        if depth == len(self.extents):
            return self.leaf()
        body = self.loops(depth + 1)
        known = self.variables[: depth + 1]
        if self.rng.random() < 0.3:
            body = If(condition(self.rng, known), body)
        return For(
            self.variables[depth],
            IntImm(0),
            IntImm(self.extents[depth]),
            body,
            self.rng.choice(KINDS),
        )

    def leaf(self) -> Stmt:
        place = tuple(self.variables)
        before = Read(self.out, place)
        statements: list[Stmt] = []
        for weight in (1, 100):
            cond = condition(self.rng, self.variables)
            kind = self.rng.randrange(3)
            if kind == 0:
                value: Expr = before + Select(cond, IntImm(weight), IntImm(weight * 10))
                statements.append(Store(self.out, place, value))
            elif kind == 1:
                statements.append(If(cond, Store(self.out, place, before + weight)))
            else:
                other = Store(self.out, place, before + weight * 2)
                statements.append(If(cond, Store(self.out, place, before + weight), other))
        return sequence(*statements)

    def run(self, program: Program) -> Array:
        found = interpret(program, {self.out: np.zeros(self.out.shape, np.int32)})
        return found[self.out]


@pytest.mark.parametrize("block", range(5))
def test_random_nests(block: int) -> None:
    for seed in range(block, 400, 5):
        nest = Nest(seed)
        expected = nest.run(nest.program)
        cleaned = clean_program(nest.program)
        found = nest.run(cleaned)
        text = f"seed {seed}\n{program_text(nest.program)}\n{program_text(cleaned)}"
        assert np.array_equal(found, expected), text


def conditions(stmt: Stmt) -> list[Expr]:
    found = [s.cond for s in walk(stmt) if isinstance(s, If)]
    for s in walk(stmt):
        for expr in statement_expressions(s):
            found += [n.cond for n in post_order(expr) if isinstance(n, Select)]
    return found


@pytest.mark.parametrize("block", range(3))
def test_serial_loops_decide_their_inequalities(block: int) -> None:
    """Where every loop is serial, every inequality is decided; only equalities stay."""
    for seed in range(10000 + block, 10200, 3):
        nest = Nest(seed)
        body = _all_serial(nest.program.body)
        serial = Program("nest", (nest.out,), body, outputs=(nest.out,))
        cleaned = clean_program(serial)
        assert np.array_equal(nest.run(cleaned), nest.run(serial))
        for cond in conditions(cleaned.body):
            equalities = [
                n for n in post_order(cond) if isinstance(n, BinOp) and n.op in ("==", "!=")
            ]
            assert equalities, program_text(cleaned)


def _all_serial(stmt: Stmt) -> Stmt:
    if isinstance(stmt, For):
        return For(stmt.var, stmt.begin, stmt.extent, _all_serial(stmt.body))
    if isinstance(stmt, If):
        return If(stmt.cond, _all_serial(stmt.then), stmt.otherwise)
    return stmt


# ---- what loops become ----

I, J = Var("i"), Var("j")  # noqa: E741 - the loops i and j
X = Buffer("x", (8,), "int32")
Y = Buffer("y", (10,), "int32")


def cleaned(body: Stmt) -> list[str]:
    """The lines of the cleaned statement."""
    program = Program("p", (X, Y), body, outputs=(Y,))
    return program_text(clean_program(program)).splitlines()[3:]


def test_padding_is_three_loops() -> None:
    inside = binary("and", I >= 1, I < 9)
    body = For(
        I, IntImm(0), IntImm(10), Store(Y, (I,), Select(inside, Read(X, (I - 1,)), IntImm(7)))
    )
    assert cleaned(body) == [
        "  y[0] = 7",
        "  for i in 1 : +8",
        "    y[i] = x[i - 1]",
        "  y[9] = 7",
    ]


def test_a_reduction_over_padding_is_a_shorter_loop() -> None:
    """Terms outside the image are zero: their stores change nothing."""
    at = I + J - 1
    inside = binary("and", at >= 0, at < 8)
    value = Read(Y, (I,)) + Select(inside, Read(X, (at,)), IntImm(0))
    body = For(I, IntImm(0), IntImm(8), For(J, IntImm(0), IntImm(3), Store(Y, (I,), value)))
    text = cleaned(body)
    assert not any("select" in line for line in text)
    assert [line for line in text if "for j" in line] == [
        "    for j in max(i * -1 + 1, 0) : +min(i * -1 + 9, 3) - max(i * -1 + 1, 0)"
    ]


def test_a_tail_is_a_shorter_loop() -> None:
    at = I * 4 + J
    store = If(at < 10, Store(Y, (at,), IntImm(1)))
    body = For(I, IntImm(0), IntImm(3), For(J, IntImm(0), IntImm(4), store))
    assert cleaned(body) == [
        "  for i in 0 : +3",
        "    for j in 0 : +min(i * -4 + 10, 4)",
        "      y[i * 4 + j] = 1",
    ]


def test_unrolled_tiles_have_their_own_border() -> None:
    """The interior tests nothing, the border keeps the condition of what is written out."""
    at = I * 4 + J
    store = If(at < 10, Store(Y, (at,), IntImm(1)))
    body = For(I, IntImm(0), IntImm(3), For(J, IntImm(0), IntImm(4), store, "unrolled"))
    assert cleaned(body) == [
        "  for i in 0 : +2",
        *(f"    y[i * 4{f' + {k}' if k else ''}] = 1" for k in range(4)),
        "  y[8] = 1",
        "  y[9] = 1",
    ]


def test_two_undecided_conditions_on_one_loop() -> None:
    """Both edges of a tile that is wider than the image: each condition stays, once."""
    at = I * 8 + J
    cond = binary("and", at >= 1, at < 5)
    wide = Buffer("wide", (16,), "int32")
    store = Store(wide, (at,), Select(cond, IntImm(1), IntImm(0)))
    body = For(I, IntImm(0), IntImm(2), For(J, IntImm(0), IntImm(8), store, "vectorized"))
    program = Program("p", (wide,), body, outputs=(wide,))
    found = interpret(clean_program(program), {})
    np.testing.assert_array_equal(found[wide], [0, 1, 1, 1, 1] + [0] * 11)


def test_conditions_on_data_stay() -> None:
    cond = Read(X, (I,)) > 0
    body = For(I, IntImm(0), IntImm(8), If(cond, Store(Y, (I,), IntImm(1))))
    (loop,) = [s for s in walk(partition(body, Analyzer())) if isinstance(s, For)]
    assert isinstance(loop.body, If)
    assert loop.body.cond is cond


# ---- whole statements ----


def test_nothing_is_left_of_nothing() -> None:
    empty = For(I, IntImm(0), IntImm(4), Seq(()))
    copied = For(I, IntImm(0), IntImm(4), Store(Y, (I,), Read(Y, (I,))))
    never = For(I, IntImm(3), IntImm(0), Store(Y, (I,), IntImm(1)))
    unreachable = If(IntImm(0, "bool"), Store(Y, (IntImm(0),), IntImm(1)))
    register = Buffer("r", (1,), "int32", "register")
    for stmt in (
        empty, copied, never, unreachable, Alloc(register, empty), Let(J, IntImm(1), empty),
        If(I > 0, empty, copied), Seq((empty, never)),
    ):  # fmt: skip
        analyzer = Analyzer({I: (0, 3)})
        assert is_nothing(simplify_stmt(stmt, analyzer))


def test_loops_of_one_iteration_are_opened() -> None:
    body = For(I, IntImm(3), IntImm(1), Store(Y, (I,), I * 2))
    store = simplify_stmt(body, Analyzer())
    assert isinstance(store, Store)
    assert store.indices == (IntImm(3),)
    assert store.value is IntImm(6)


def test_range_of_a_loop() -> None:
    analyzer = Analyzer({J: (0, 3)})
    loop = For(I, J, 10 - J, Seq(()))
    assert loop_range(loop, analyzer) == (0, 9)
