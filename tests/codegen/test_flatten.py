"""Flat programs compute the same on flat arrays."""

from __future__ import annotations

import numpy as np
import pytest

from microtvm import te
from microtvm.codegen.flatten import flatten
from microtvm.tir.expr import IntImm, Read, Var
from microtvm.tir.interpret import interpret
from microtvm.tir.stmt import Alloc, Buffer, For, IntrinsicCall, Program, Store, walk
from microtvm.tir.text import stmt_text
from microtvm.tir.traversal import post_order
from tests.te.oracle import reference
from tests.te.random_te import random_program
from tests.te.test_tensorize import product, tile, tiled


def assert_flat(program: Program) -> None:
    """One dimension everywhere but in registers."""
    for buffer in (*program.params, *program.scratch):
        assert len(buffer.shape) == 1
    for stmt in walk(program.body):
        if isinstance(stmt, Store) and stmt.buffer.scope != "register":
            assert len(stmt.indices) == 1


@pytest.mark.parametrize("block", range(4))
def test_random_programs(block: int) -> None:
    for seed in range(300 + block, 340, 4):
        made = random_program(seed, 4)
        if made is None:
            continue
        e, program = made
        flat = flatten(program)
        assert_flat(flat)
        given = {b: a.reshape(-1) for b, a in zip(flat.params, e.inputs.values(), strict=False)}
        found = interpret(flat, given)
        for buffer, wanted in zip(flat.outputs, reference(e.outputs, e.inputs), strict=True):
            np.testing.assert_array_equal(found[buffer].reshape(wanted.shape), wanted)


def test_indices_are_one_sum() -> None:
    i, j = Var("i"), Var("j")
    x = Buffer("x", (3, 4, 5), "int32")
    y = Buffer("y", (3, 4), "int32")
    body = Store(y, (i, j + 1), Read(x, (i, j, IntImm(2))))
    program = Program("p", (x, y), For(i, IntImm(0), IntImm(3), body), outputs=(y,))
    (store,) = [s for s in walk(flatten(program).body) if isinstance(s, Store)]
    assert stmt_text(store) == "y[i * 4 + j + 1] = x[i * 20 + j * 5 + 2]"


def test_operands_of_intrinsics_start_at_one_index() -> None:
    inputs, y = product()
    s = te.create_schedule(y)
    tiled(s, y, tile())
    program = te.lower(s, [*inputs, y])
    flat = flatten(program)
    (before,) = [c for c in walk(program.body) if isinstance(c, IntrinsicCall)]
    (after,) = [c for c in walk(flat.body) if isinstance(c, IntrinsicCall)]
    assert [o.strides for o in after.operands] == [o.strides for o in before.operands]
    assert all(len(o.indices) == 1 for o in after.operands)
    given = {b: a.reshape(-1) for b, a in zip(flat.params, inputs.values(), strict=False)}
    found = interpret(flat, given)[flat.outputs[0]]
    np.testing.assert_array_equal(found.reshape(y.shape), reference([y], inputs)[0])


def test_registers_keep_their_dimensions() -> None:
    r = Buffer("r", (2, 3), "int32", "register")
    y = Buffer("y", (2, 3), "int32")
    one, two = IntImm(1), IntImm(2)
    body = Alloc(r, Store(r, (one, two), IntImm(7)))
    program = flatten(Program("p", (y,), body, outputs=(y,)))
    (store,) = [s for s in walk(program.body) if isinstance(s, Store)]
    assert (store.buffer, store.indices) == (r, (one, two))


def test_reads_inside_of_indices() -> None:
    """A gather: the index is itself an element."""
    x, table = Buffer("x", (4, 2), "int32"), Buffer("t", (2, 2), "int32")
    y = Buffer("y", (4,), "int32")
    i = Var("i")
    body = Store(y, (i,), Read(x, (Read(table, (i // 2, i % 2)), IntImm(1))))
    program = flatten(Program("p", (x, table, y), For(i, IntImm(0), IntImm(4), body), outputs=(y,)))
    for stmt in walk(program.body):
        if isinstance(stmt, Store):
            reads = [n for n in post_order(stmt.value) if isinstance(n, Read)]
            assert [len(n.indices) for n in reads] == [1, 1]
    data = {
        program.params[0]: np.arange(8, dtype=np.int32),
        program.params[1]: np.array([3, 0, 1, 2], np.int32),
    }
    found = interpret(program, data)[program.outputs[0]]
    np.testing.assert_array_equal(found, [7, 1, 3, 5])
