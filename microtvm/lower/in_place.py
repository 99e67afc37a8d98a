"""Which inputs a loop program may overwrite with its output, proven from the program itself."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from microtvm.lower.slices import by_slices
from microtvm.te.layout import strides_of
from microtvm.tir.dtype import dtype_range
from microtvm.tir.expr import Expr, IntImm, Read
from microtvm.tir.intrinsic import Interval
from microtvm.tir.simplify import Analyzer, Linear
from microtvm.tir.stmt import (
    Alloc,
    Buffer,
    For,
    If,
    IntrinsicCall,
    Let,
    Operand,
    Program,
    Seq,
    Stmt,
    Store,
    inner_statements,
    statement_expressions,
    walk,
)
from microtvm.tir.traversal import post_order, substitute, uses


def overwritable(program: Program, inputs: Sequence[Buffer]) -> tuple[int, ...]:
    """Positions of `inputs` in whose memory the program's only output may lie.

    Every element of such an input is read before the output's element at its place is written, for
    the first and last time: whatever is read stands in one block with a later store to the same
    place, and no store depends on what the output holds. Empty where there are several outputs, or
    where elements are stored twice, by a reduction into memory or by tiles that overlap, unless the
    program goes by slices (`by_slices`).
    """
    if len(program.outputs) != 1:
        return ()
    (output,) = program.outputs
    for stmt in walk(program.body):
        if isinstance(stmt, IntrinsicCall) and not _in_step(stmt, output):
            return ()
        if any(r.source is output for r in _reads(statement_expressions(stmt))):
            return ()
    # A program stores every element of its output: with no more stores than those, each once.
    once = _stores(program.body, output, {}) <= output.elements
    return tuple(
        k
        for k, x in enumerate(inputs)
        if x.elements == output.elements
        and x.size_bytes == output.size_bytes
        and ((once and _follows(program.body, x, output)) or by_slices(program, x, output))
    )


def _in_step(call: IntrinsicCall, output: Buffer) -> bool:
    """Whether a call stores elements of the output after what it reads there, if any."""
    first = call.operands[0]
    places = [o for o in call.operands if o.buffer is output]
    return not places or (call.intrinsic.in_step and places == [first])


def _stores(stmt: Stmt, output: Buffer, known: dict[Expr, Expr]) -> int:
    """The most elements of the output that a statement stores, an element counted each time.

    `known` has the values of variables around it that say how often a loop runs.
    """
    if isinstance(stmt, Store):
        return int(stmt.buffer is output)
    if isinstance(stmt, IntrinsicCall):
        shapes = stmt.intrinsic.operand_shapes(stmt)
        return sum(
            math.prod(shape)
            for operand, shape in zip(stmt.operands, shapes, strict=True)
            if operand.buffer is output
        )
    inside = inner_statements(stmt)
    if isinstance(stmt, If):
        return max(_stores(s, output, known) for s in inside)
    if not isinstance(stmt, For):
        return sum(_stores(s, output, known) for s in inside)
    begin, extent = (_bounds(e, known) for e in (stmt.begin, stmt.extent))
    if not any(isinstance(s, For) and uses(s.extent, (stmt.var,)) for s in walk(stmt.body)):
        return extent[1] * _stores(stmt.body, output, known)
    return sum(
        _stores(stmt.body, output, {**known, stmt.var: IntImm(begin[0] + k)})
        for k in range(extent[1])
    )


def _bounds(expr: Expr, known: dict[Expr, Expr]) -> Interval:
    """The smallest and largest value of an integer, whose type bounds it if nothing else does."""
    return Analyzer().bounds(substitute(expr, known)) or dtype_range(expr.dtype)


def _same_place(call: IntrinsicCall, operand: Operand, output: Buffer) -> bool:
    """Whether an operand's elements are read in the places where the output's are stored."""
    first = call.operands[0]
    return (
        first.buffer is output
        and _in_step(call, output)
        and operand.strides == first.strides
        and _place(operand.buffer, operand.indices) == _place(output, first.indices)
    )


def _reads(exprs: Sequence[Expr]) -> Iterator[Read]:
    return (n for e in exprs for n in post_order(e) if isinstance(n, Read))


def _units(stmt: Stmt) -> list[Stmt]:
    """The statements of a block in order; declarations are none of their own."""
    if isinstance(stmt, Seq):
        return [u for s in stmt.body for u in _units(s)]
    if isinstance(stmt, Alloc):
        return _units(stmt.body)
    return [stmt, *_units(stmt.body)] if isinstance(stmt, Let) else [stmt]


def _follows(block: Stmt, x: Buffer, output: Buffer) -> bool:
    """Whether each read of `x` in a block is followed there by the store to its place."""
    units = _units(block)
    for k, unit in enumerate(units):
        if isinstance(unit, IntrinsicCall) and not all(
            _same_place(unit, o, output) for o in unit.operands if o.buffer is x
        ):
            return False
        for read in _reads(statement_expressions(unit)):
            if read.source is not x:
                continue
            place = _place(x, read.indices)
            if not any(
                isinstance(u, Store) and u.buffer is output and _place(output, u.indices) == place
                for u in units[k:]
            ):
                return False
        inside = () if isinstance(unit, Let) else inner_statements(unit)
        if not all(_follows(inner, x, output) for inner in inside):
            return False
    return True


def _place(buffer: Buffer, indices: Sequence[Expr]) -> tuple[int, dict[Expr, int]]:
    """The position of an element in memory, as a constant and the factors of what is added."""
    total = Linear(0, {})
    for index, stride in zip(indices, strides_of(buffer.shape), strict=True):
        total = total.plus(Linear.of(index), stride)
    return total.constant, total.terms
