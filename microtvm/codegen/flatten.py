"""Buffers in memory as one dimension: strides become constants of the index expressions.

After this, programs for different shapes differ only in constants, so that one function can serve
them. Register buffers keep their dimensions: their indices are constants that name locals.
"""

from __future__ import annotations

from dataclasses import replace

from microtvm.te.layout import strides_of
from microtvm.tir.expr import Expr, Read
from microtvm.tir.simplify import Linear, joined
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
)
from microtvm.tir.traversal import transform


def flatten(program: Program) -> Program:
    """The program with every buffer outside registers in one dimension, row-major."""
    flat: dict[Buffer, Buffer] = {}
    for b in (*program.params, *program.scratch):
        data = None if b.data is None else b.data.reshape(-1)
        flat[b] = Buffer(b.name, (b.elements,), b.dtype, b.scope, data)
    body = _Flatten(flat).statement(program.body)
    return replace(
        program,
        params=tuple(flat[b] for b in program.params),
        scratch=tuple(flat[b] for b in program.scratch),
        outputs=tuple(flat[b] for b in program.outputs),
        body=body,
    )


class _Flatten:
    def __init__(self, flat: dict[Buffer, Buffer]) -> None:
        self.flat = flat
        self.memo: dict[int, Expr] = {}
        # Expressions are kept while the memo has their identities.
        self.kept: list[Expr] = []

    def index(self, buffer: Buffer, indices: tuple[Expr, ...]) -> tuple[Expr, ...]:
        """The one index of an element."""
        total = Linear(0, {})
        for i, stride in zip(indices, strides_of(buffer.shape), strict=True):
            total = total.plus(Linear.of(i), stride)
        return (joined(total).expr(),)

    def expr(self, expr: Expr) -> Expr:
        """The expression with reads of flat buffers."""

        def step(node: Expr) -> Expr | None:
            if isinstance(node, Read) and node.source in self.flat:
                return Read(self.flat[node.source], self.index(node.source, node.indices))
            return None

        self.kept.append(expr)
        return transform(expr, step, self.memo)

    def statement(self, stmt: Stmt) -> Stmt:
        """The statement with flat buffers."""
        if isinstance(stmt, Store):
            indices = tuple(map(self.expr, stmt.indices))
            value = self.expr(stmt.value)
            if stmt.buffer not in self.flat:
                return Store(stmt.buffer, indices, value)
            return Store(self.flat[stmt.buffer], self.index(stmt.buffer, indices), value)
        if isinstance(stmt, IntrinsicCall):
            operands = tuple(map(self.operand, stmt.operands))
            return IntrinsicCall(stmt.intrinsic, operands, tuple(map(self.expr, stmt.scalars)))
        if isinstance(stmt, Seq):
            return Seq(tuple(map(self.statement, stmt.body)))
        if isinstance(stmt, For):
            begin, extent = self.expr(stmt.begin), self.expr(stmt.extent)
            return For(stmt.var, begin, extent, self.statement(stmt.body), stmt.kind)
        if isinstance(stmt, If):
            other = None if stmt.otherwise is None else self.statement(stmt.otherwise)
            return If(self.expr(stmt.cond), self.statement(stmt.then), other)
        if isinstance(stmt, Let):
            return Let(stmt.var, self.expr(stmt.value), self.statement(stmt.body))
        assert isinstance(stmt, Alloc)
        return Alloc(stmt.buffer, self.statement(stmt.body))

    def operand(self, operand: Operand) -> Operand:
        """A view of a flat buffer; its strides are in elements already."""
        indices = tuple(map(self.expr, operand.indices))
        if operand.buffer not in self.flat:
            return Operand(operand.buffer, indices, operand.strides)
        flat = self.index(operand.buffer, indices)
        return Operand(self.flat[operand.buffer], flat, operand.strides)
