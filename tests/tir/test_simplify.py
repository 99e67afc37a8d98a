"""The simplifier: equal values before and after, true bounds, and no needless arithmetic."""

from __future__ import annotations

import operator
import random
from collections.abc import Callable, Mapping

import pytest

from microtvm.tir.expr import BinOp, Cast, Expr, IntImm, Not, Param, Read, Select, Var, binary
from microtvm.tir.simplify import Analyzer, Linear
from microtvm.tir.stmt import Buffer
from microtvm.tir.text import expr_text
from microtvm.tir.traversal import post_order

ROUNDS = 1500
SAMPLES = 25


def _quotient(a: int, b: int) -> int:
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


MEANING: dict[str, Callable[[int, int], int]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "//": operator.floordiv,
    "%": operator.mod, "min": min, "max": max, "tdiv": _quotient,
    "tmod": lambda a, b: a - _quotient(a, b) * b, "<": operator.lt, "<=": operator.le,
    ">": operator.gt, ">=": operator.ge, "==": operator.eq, "!=": operator.ne,
    "and": lambda a, b: a and b, "or": lambda a, b: a or b, "<<": operator.lshift,
    ">>": operator.rshift, "&": operator.and_, "|": operator.or_, "^": operator.xor,
}  # fmt: skip


def value_of(expr: Expr, values: Mapping[Expr, int]) -> int:
    """The value by the definitions of the operators, in unbounded integers."""
    if isinstance(expr, IntImm):
        return expr.value
    if isinstance(expr, Var):
        return values[expr]
    if isinstance(expr, Param):
        return expr.value
    if isinstance(expr, Cast):
        return value_of(expr.value, values)
    if isinstance(expr, Not):
        return int(not value_of(expr.value, values))
    if isinstance(expr, Select):
        chosen = expr.on_true if value_of(expr.cond, values) else expr.on_false
        return value_of(chosen, values)
    assert isinstance(expr, BinOp)
    return int(MEANING[expr.op](value_of(expr.a, values), value_of(expr.b, values)))


def index_expression(rng: random.Random, variables: list[Var], depth: int) -> Expr:
    """Sums, products with constants, divisions by constants, extremes."""
    if depth == 0 or rng.random() < 0.15:
        return rng.choice([*variables, *variables, IntImm(rng.randint(-9, 9))])
    op = rng.choice(["+", "+", "+", "-", "*", "//", "//", "%", "%", "min", "max", "tdiv", "tmod"])
    a = index_expression(rng, variables, depth - 1)
    if op in ("//", "%", "tdiv", "tmod"):
        return binary(op, a, IntImm(rng.choice([1, 2, 3, 4, 6, 8, 12, 16])))
    if op == "*":
        return binary(op, a, IntImm(rng.choice([-3, -1, 1, 2, 3, 4, 8, 12])))
    return binary(op, a, index_expression(rng, variables, depth - 1))


def condition(rng: random.Random, variables: list[Var], depth: int) -> Expr:
    kind = rng.randrange(4 if depth else 1)
    if kind == 0:
        op = rng.choice(["<", "<=", ">", ">=", "==", "!="])
        return binary(op, index_expression(rng, variables, 3), index_expression(rng, variables, 1))
    if kind == 1:
        return Not(condition(rng, variables, depth - 1))
    left, right = condition(rng, variables, depth - 1), condition(rng, variables, depth - 1)
    return binary("and" if kind == 2 else "or", left, right)


def data_expression(rng: random.Random, variables: list[Var], depth: int) -> Expr:
    """What kernels compute with: selects, shifts, bits, parameters, casts."""
    if depth == 0:
        return rng.choice(
            [*variables, Param("zero", rng.randint(-9, 9)), IntImm(rng.randint(0, 5))]
        )
    a = data_expression(rng, variables, depth - 1)
    b = data_expression(rng, variables, depth - 1)
    kind = rng.randrange(5)
    if kind == 0:
        return Select(condition(rng, variables, 1), a, b) if a is not b else a
    if kind == 1:
        return binary(rng.choice([">>", "<<"]), a, IntImm(rng.randint(0, 2)))
    if kind == 2:
        return binary("&", a, IntImm(rng.choice([1, 3, 7, 255])))
    if kind == 3:
        return Cast("int32", Cast("int64", binary("+", a, b)))
    return binary(rng.choice(["+", "-", "max", "min"]), a, b)


def scope(rng: random.Random) -> tuple[list[Var], dict[Var, tuple[int, int]]]:
    variables = [Var(name) for name in "abc"]
    ranges = {}
    for v in variables:
        low = rng.choice([0, 0, 0, -5, 2])
        ranges[v] = (low, low + rng.choice([0, 1, 3, 4, 7, 15]))
    return variables, ranges


def assert_equal_values(rng: random.Random, expr: Expr, ranges: dict[Var, tuple[int, int]]) -> Expr:
    analyzer = Analyzer(ranges)
    simple = analyzer.simplify(expr)
    known, known_simple = analyzer.bounds(expr), analyzer.bounds(simple)
    for _ in range(SAMPLES):
        values: dict[Expr, int] = {v: rng.randint(*r) for v, r in ranges.items()}
        before, after = value_of(expr, values), value_of(simple, values)
        where = f"{expr_text(expr)} -> {expr_text(simple)} at {values}"
        assert before == after, where
        for bounds in (known, known_simple):
            assert bounds is not None, where
            assert bounds[0] <= before <= bounds[1], f"{where}: {bounds}"
    return simple


@pytest.mark.parametrize("maker", [index_expression, data_expression])
def test_values_and_bounds(maker: Callable[[random.Random, list[Var], int], Expr]) -> None:
    for seed in range(ROUNDS):
        rng = random.Random(seed)
        variables, ranges = scope(rng)
        assert_equal_values(rng, maker(rng, variables, rng.randint(1, 4)), ranges)


def test_conditions() -> None:
    decided = 0
    for seed in range(ROUNDS):
        rng = random.Random(seed)
        variables, ranges = scope(rng)
        simple = assert_equal_values(rng, condition(rng, variables, 2), ranges)
        decided += isinstance(simple, IntImm)
    assert decided > ROUNDS // 4


def test_simple_is_simple() -> None:
    """A second simplification of index arithmetic changes nothing, almost always."""
    changed = 0
    for seed in range(ROUNDS):
        rng = random.Random(seed)
        variables, ranges = scope(rng)
        simple = Analyzer(ranges).simplify(index_expression(rng, variables, 3))
        changed += Analyzer(ranges).simplify(simple) is not simple
    assert changed < ROUNDS // 50


# ---- what index arithmetic becomes ----

I, J, K = Var("i"), Var("j"), Var("k")  # noqa: E741 - the loops i, j and k
RANGES = {I: (0, 7), J: (0, 3), K: (0, 15)}


@pytest.mark.parametrize(
    ("expr", "wanted"),
    [
        # Divisions that a tile undoes.
        ((I * 4 + J) // 4, I),
        ((I * 4 + J) % 4, J),
        ((I * 16 + K) // 4, I * 4 + K // 4),
        ((I * 16 + J * 4 + 3) // 16, I),
        ((I * 8 + J) // 16, I // 2),
        ((I * 8 + J) % 16, I % 2 * 8 + J),
        ((I * 8 + J + 32) // 16, I // 2 + 2),
        ((K + 16) // 4, K // 4 + 4),
        # What was fused and taken apart is whole again.
        (K // 4 * 4 + K % 4, K),
        ((K // 4 * 12 + K % 4 * 3) + 1, K * 3 + 1),
        ((I * 16 + K) // 4 * 4 + (I * 16 + K) % 4, I * 16 + K),
        # Division of a division, remainder of a remainder.
        (K // 2 // 4, K // 8),
        ((K // 2 + 1) // 4, (K + 2) // 8),
        (K % 8 % 4, K % 4),
        (K // 16, IntImm(0)),
        (K % 16, K),
        (J // 4 + I, I),
        # Sums in one order.
        (I + J - I, J),
        ((I + 1) * 4 - I * 4, IntImm(4)),
        (binary("max", I, IntImm(0)), I),
        (binary("min", I, I + 1), I),
        (binary("max", J, binary("max", I, J)), binary("max", I, J)),
        (binary("min", binary("max", I, J), I), I),
        (binary("min", I + J, IntImm(100)), I + J),
        # Comparisons that ranges decide.
        (I < 8, IntImm(1, "bool")),
        (I + J >= 11, IntImm(0, "bool")),
        (I * 2 + 1 > I, IntImm(1, "bool")),
        (Not(I < 8), IntImm(0, "bool")),
        (binary("!=", J, IntImm(9)), IntImm(1, "bool")),
        # Truncating division of what is not negative is flooring.
        (binary("tdiv", K + 16, IntImm(4)), K // 4 + 4),
        (binary("tmod", K + 16, IntImm(4)), K % 4),
    ],
    ids=lambda e: expr_text(e),
)
def test_index_arithmetic(expr: Expr, wanted: Expr) -> None:
    found = Analyzer(RANGES).simplify(expr)
    assert found is wanted, expr_text(found)


def test_what_is_not_known_stays() -> None:
    free = Var("free")
    for expr in (free // 4, binary("tdiv", free, IntImm(4)), free % 4, free < 8, I // 3):
        assert Analyzer({I: (0, 7)}).simplify(expr) is expr


def test_arithmetic_on_data_is_left_as_written() -> None:
    """Reordering could overflow where the original does not."""
    buffer = Buffer("x", (8,), "int32")
    a, b = Read(buffer, (I,)), Read(buffer, (J,))
    expr = (a - b) + b
    assert Analyzer(RANGES).simplify(expr) is expr


def test_unsigned_values_wrap() -> None:
    """a - b of unsigned values is not below a."""
    x, y = Var("x", "uint8"), Var("y", "uint8")
    analyzer = Analyzer({x: (0, 10), y: (0, 10)})
    assert analyzer.bounds(x - y) == (0, 255)
    assert not isinstance(analyzer.simplify((x - y) <= x), IntImm)


def test_constant_data_has_bounds() -> None:
    import numpy as np

    table = Buffer("t", (4,), "int32", "const", np.array([3, -5, 9, 1], np.int32))
    assert Analyzer({J: (0, 3)}).bounds(Read(table, (J,))) == (-5, 9)


def test_assumptions_end_with_their_scope() -> None:
    analyzer = Analyzer()
    with analyzer.assume(I, 0, 3):
        assert analyzer.proves(I < 4)
        with analyzer.assume(I, 0, 1):
            assert analyzer.proves(I < 2)
        assert not analyzer.proves(I < 2)
    assert not analyzer.proves(I < 4)


def test_linear_forms() -> None:
    form = Linear.of((I * 3 + J - 2) * 2 - I)
    assert (form.constant, form.terms) == (-4, {I: 5, J: 2})
    assert expr_text(form.expr()) == "i * 5 + j * 2 - 4"
    assert Linear.of(I - I).terms == {}
    assert Linear.of(I * J).terms == {I * J: 1}
    assert [n for n in post_order(form.times(0).expr())] == [IntImm(0)]
