"""Element-wise expressions are written out a few elements at a time where the extent allows it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from microtvm import te
from microtvm.isa.schedule import Choice, apply
from microtvm.target import load_cpu
from microtvm.te.tensor import Tensor
from microtvm.tir.expr import Expr
from microtvm.tir.interpret import interpret
from microtvm.tir.stmt import Store, walk

M4 = load_cpu("cortex-m4")


def sum_of(shape: tuple[int, ...], other: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
    x, b = te.placeholder(shape, "int32", "x"), te.placeholder(other, "int32", "b")

    def element(*i: Expr) -> Expr:
        last = i[-len(other) :]
        return x[i] * 3 + b[tuple(i if n > 1 else 0 for i, n in zip(last, other, strict=True))]

    return x, b, te.compute(shape, element, "y")


@pytest.mark.parametrize(
    ("shape", "other", "copies"),
    [((64,), (64,), 8), ((3, 12), (12,), 4), ((2, 3, 6), (1, 3, 1), 2), ((16,), (1,), 8)],
)
def test_as_many_as_divide(shape: tuple[int, ...], other: tuple[int, ...], copies: int) -> None:
    x, b, y = sum_of(shape, other)
    s = te.create_schedule(y)
    assert apply(s, M4, Choice()) == "elementwise"
    program = te.lower(s, [x, b, y])
    stores = [w for w in walk(program.body) if isinstance(w, Store) and w.buffer.name == "y"]
    assert len(stores) == copies
    rng = np.random.default_rng(0)
    data = {p: rng.integers(-99, 99, p.shape).astype(np.int32) for p in program.params[:2]}
    (found,) = interpret(program, data).values()
    left, right = data.values()
    np.testing.assert_array_equal(found, left * 3 + right)


def long(x: Tensor) -> Callable[..., Expr]:
    def element(i: Expr) -> Expr:
        value = x[i]
        for k in range(20):
            value = value * value + k
        return value

    return element


def test_stages_and_tables() -> None:
    """What lies between is computed in place; a table may be read at any index."""
    x = te.placeholder((64,), "int8", "x")
    table = te.constant(np.arange(256, dtype=np.int32)[::-1].copy(), "table")
    one = te.compute((64,), lambda i: table[x[i].astype("int32") + 128])
    two = te.compute((64,), lambda i: one[i] * 2 + x[i].astype("int32"), "y")
    s = te.create_schedule(two)
    assert apply(s, M4, Choice()) == "elementwise"
    program = te.lower(s, [x, two])
    assert not program.scratch
    data = np.arange(-32, 32, dtype=np.int8)
    (found,) = interpret(program, {program.params[0]: data}).values()
    np.testing.assert_array_equal(found, (127 - data.astype(np.int32)) * 2 + data)


def test_what_it_leaves_to_others() -> None:
    x = te.placeholder((64,), "int32", "x")
    for element in (long(x), lambda i: x[63 - i]):
        assert apply(te.create_schedule(te.compute((64,), element, "y")), M4, Choice()) == "generic"
    for shape in ((7,), (8,), (5, 3)):
        y = sum_of(shape, (1,))[2]
        assert apply(te.create_schedule(y), M4, Choice()) == "generic"
    pair = te.compute((64,), lambda i: [x[i], x[i] + 1], "pair")
    both = te.compute((64,), lambda i: pair[0][i] + pair[1][i], "y")
    assert apply(te.create_schedule(both), M4, Choice()) == "generic"
    assert apply(te.create_schedule(list(pair)), M4, Choice()) == "generic"
