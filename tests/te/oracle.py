"""A scheduled expression three ways: NumPy, the interpreter of loop programs, and compiled C."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from microtvm import te
from microtvm.te import Schedule, Tensor
from microtvm.te.evaluate import evaluate_op
from microtvm.tir.expr import BinOp
from microtvm.tir.interpret import interpret
from microtvm.tir.stmt import Buffer, For, If, Program, statement_expressions, walk
from microtvm.tir.traversal import post_order
from microtvm.util import Array
from tests.codegen.c_library import CLibrary

TOLERANCE = 1e-5
"""Of float32, whose sums may be taken in another order."""


def reference(outputs: Sequence[Tensor], inputs: Mapping[Tensor, Array]) -> list[Array]:
    """The outputs by NumPy, whole arrays at a time, without any schedule."""
    values = dict(inputs)

    def get(tensor: Tensor) -> Array:
        if tensor.data is not None:
            return tensor.data
        if tensor not in values:
            assert tensor.op is not None
            values.update(zip(tensor.op.outputs, evaluate_op(tensor.op, get), strict=True))
        return values[tensor]

    return [get(t) for t in outputs]


def arrays_of(program: Program, inputs: Mapping[Tensor, Array]) -> dict[Buffer, Array]:
    """The arrays of the program's first parameters."""
    return dict(zip(program.params, inputs.values(), strict=False))


def assert_same(found: Mapping[Buffer, Array], program: Program, expected: Sequence[Array]) -> None:
    """Integers equal, float32 within TOLERANCE of the largest value."""
    for buffer, wanted in zip(program.outputs, expected, strict=True):
        assert found[buffer].dtype == wanted.dtype
        if wanted.dtype.kind == "f":
            scale = max(1.0, float(np.abs(wanted).max()))
            np.testing.assert_allclose(found[buffer], wanted, rtol=0, atol=TOLERANCE * scale)
        else:
            np.testing.assert_array_equal(found[buffer], wanted)


def check(s: Schedule, inputs: Mapping[Tensor, Array], name: str = "kernel") -> Program:
    """Lower, interpret, and compare with NumPy; returns the program."""
    outputs = list(s.outputs)
    expected = reference(outputs, inputs)
    program = te.lower(s, [*inputs, *outputs], name)
    assert_same(interpret(program, arrays_of(program, inputs)), program, expected)
    return program


def check_compiled(
    programs: Sequence[tuple[Program, Mapping[Tensor, Array], Sequence[Array]]], folder: Path
) -> None:
    """Compile all programs into one library and compare each with its expected outputs."""
    library = CLibrary([p for p, _, _ in programs], folder)
    for k, (program, inputs, expected) in enumerate(programs):
        assert_same(library.run(k, arrays_of(program, inputs)), program, expected)


def loops(program: Program) -> list[For]:
    """All loops, outermost first."""
    return [s for s in walk(program.body) if isinstance(s, For)]


def conditions(program: Program) -> list[If]:
    """All conditional statements."""
    return [s for s in walk(program.body) if isinstance(s, If)]


def divisions(program: Program) -> list[BinOp]:
    """Divisions and remainders anywhere in the program."""
    return [
        node
        for stmt in walk(program.body)
        for expr in statement_expressions(stmt)
        for node in post_order(expr)
        if isinstance(node, BinOp) and node.op in ("//", "%", "tdiv", "tmod")
    ]
