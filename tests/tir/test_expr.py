"""Interning, folding and what is refused."""

from __future__ import annotations

import math
import operator
import random

import numpy as np
import pytest

from microtvm.errors import IRError
from microtvm.tir.dtype import dtype_range, round_to
from microtvm.tir.expr import BinOp, Cast, FloatImm, IntImm, Read, Select, Var, binary, cast
from microtvm.tir.stmt import Buffer
from microtvm.tir.traversal import post_order, substitute

A, B = Var("a"), Var("b")
X = Buffer("x", (4, 4), "int32")


def test_equal_expressions_are_one_object() -> None:
    assert A + B * 2 is A + B * 2
    assert A + B is not B + A
    assert Var("a") is not A
    assert FloatImm(0.0) is not FloatImm(-0.0)
    assert FloatImm(0.1) is FloatImm(float(np.float32(0.1)))


def test_constants_fold_as_python_computes() -> None:
    table = {
        "+": operator.add, "-": operator.sub, "*": operator.mul, "//": operator.floordiv,
        "%": operator.mod, "min": min, "max": max, "&": operator.and_, "|": operator.or_,
        "^": operator.xor, "<": operator.lt, ">=": operator.ge, "==": operator.eq,
        "tdiv": lambda x, y: math.trunc(x / y), "tmod": math.fmod,
    }  # fmt: skip
    rng = random.Random(1)
    for _ in range(2000):
        op, meaning = rng.choice(list(table.items()))
        x, y = rng.randint(-99, 99), rng.choice((-7, -1, 1, 2, 8, 50))
        folded = binary(op, IntImm(x), IntImm(y))
        assert isinstance(folded, IntImm)
        assert folded.value == int(meaning(x, y)), (x, op, y)


def test_what_overflows_or_divides_by_zero_is_not_folded() -> None:
    low, high = dtype_range("int32")
    assert isinstance(binary("+", IntImm(high), IntImm(1)), BinOp)
    assert isinstance(binary("tdiv", IntImm(low), IntImm(-1)), BinOp)
    assert isinstance(binary("//", IntImm(1), IntImm(0)), BinOp)
    assert isinstance(binary("<<", IntImm(1), IntImm(32)), BinOp)


def test_unsigned_constants_wrap() -> None:
    assert binary("-", IntImm(0, "uint8"), IntImm(1, "uint8")) is IntImm(255, "uint8")


def test_neutral_elements_vanish() -> None:
    assert A + 0 is A
    assert A * 1 is A
    assert A * 0 is IntImm(0)
    assert A - A is IntImm(0)
    assert binary("and", A < B, IntImm(1, "bool")) is (A < B)


def test_conversions_of_constants_round_once() -> None:
    value = (1 << 60) + (1 << 36) + 1
    assert isinstance(cast("float32", IntImm(value, "int64")), Cast)
    assert cast("float32", IntImm(3)) is FloatImm(3.0)
    assert isinstance(cast("int8", IntImm(200)), Cast)
    assert cast("int64", IntImm(-1)) is IntImm(-1, "int64")


@pytest.mark.parametrize("value", [0.1, 3.4028235677973366e38, -1e39, 1e-46, math.inf])
def test_rounding_to_float32_is_numpys(value: float) -> None:
    with np.errstate(over="ignore"):
        assert round_to("float32", value) == float(np.float32(value))


def test_substitution_folds() -> None:
    expr = Select(A < 4, A * 2 + B, B)
    assert substitute(expr, {A: IntImm(3)}) is B.__radd__(6)
    assert substitute(expr, {A: IntImm(5)}) is B


def test_post_order_yields_each_node_once_children_first() -> None:
    shared = A * B
    order = list(post_order(shared + shared * 2))
    assert len(order) == len(set(order)) == 6
    assert order.index(shared) < order.index(shared * 2)


def test_what_is_refused() -> None:
    cases = {
        "operands of '\\+' are int32 and int64; cast one of them": lambda: A + Var("c", "int64"),
        "operands of '\\*' are int32 and int8": lambda: BinOp("*", A, Var("c", "int8")),
        "the operator '/' is not defined for int32": lambda: A / 2,
        "the operator '%' is not defined for float32": lambda: FloatImm(1.0) % 2.0,
        "the operator '<<' is not defined for float32": lambda: FloatImm(1.0) << 1.0,
        "the operator '\\+' is not defined for bool": lambda: (A < B) + (B < A),
        "the operator 'and' is not defined for int32": lambda: binary("and", A, B),
        "the constant 300 does not fit uint8": lambda: IntImm(300, "uint8"),
        "branches of select are int32 and float32": lambda: Select(A < B, A, FloatImm(1.0)),
        "x has 2 dimensions, read with 1 indices": lambda: Read(X, (A,)),
        "a symbolic expression has no truth value": lambda: bool(A < B),
    }
    for message, build in cases.items():
        with pytest.raises(IRError, match=message):
            build()
