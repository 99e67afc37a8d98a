"""Simplification of whole statements, and the order in which a fresh program is cleaned."""

from __future__ import annotations

from dataclasses import replace

from microtvm.tir.expr import Expr, IntImm, Read, Var
from microtvm.tir.partition import partition
from microtvm.tir.simplify import Analyzer
from microtvm.tir.stmt import (
    Alloc,
    For,
    If,
    IntrinsicCall,
    Let,
    Operand,
    Program,
    Seq,
    Stmt,
    Store,
    sequence,
)
from microtvm.tir.traversal import substitute
from microtvm.tir.unroll import unroll

NOTHING = Seq(())


def clean_program(program: Program) -> Program:
    """Simplify, partition loops at their conditions, unroll what is marked, simplify again."""
    body = simplify_stmt(program.body, Analyzer())
    body = partition(body, Analyzer())
    body = simplify_stmt(body, Analyzer())
    body = simplify_stmt(unroll(body), Analyzer())
    return replace(program, body=body)


def is_nothing(stmt: Stmt) -> bool:
    """Whether the statement has no effect at all."""
    return isinstance(stmt, Seq) and not stmt.body


def loop_range(loop: For, analyzer: Analyzer) -> tuple[int, int]:
    """Smallest and largest value of the loop's variable, the first larger if it never runs."""
    begin = analyzer.bounds(loop.begin)
    last = analyzer.bounds(analyzer.simplify(loop.begin + loop.extent - 1))
    assert begin is not None
    assert last is not None
    return begin[0], last[1]


def simplify_stmt(stmt: Stmt, analyzer: Analyzer, values: dict[Expr, Expr] | None = None) -> Stmt:
    """An equal statement, simplified.

    Decided branches are taken, empty loops dropped, loops of one iteration opened.

    `values` are variables known to have a value here.
    """
    known = values or {}

    def simple(expr: Expr) -> Expr:
        return analyzer.simplify(substitute(expr, known))

    if isinstance(stmt, Store):
        indices = tuple(simple(i) for i in stmt.indices)
        value = simple(stmt.value)
        if (
            isinstance(value, Read)
            and value.source is stmt.buffer
            and all(a is b for a, b in zip(value.indices, indices, strict=True))
        ):
            return NOTHING
        return Store(stmt.buffer, indices, value)
    if isinstance(stmt, Seq):
        parts = [simplify_stmt(s, analyzer, known) for s in stmt.body]
        return sequence(*[p for p in parts if not is_nothing(p)])
    if isinstance(stmt, If):
        cond = simple(stmt.cond)
        other = stmt.otherwise
        if isinstance(cond, IntImm):
            chosen = stmt.then if cond.value else other
            return NOTHING if chosen is None else simplify_stmt(chosen, analyzer, known)
        then = simplify_stmt(stmt.then, analyzer, known)
        alternative = None if other is None else simplify_stmt(other, analyzer, known)
        if alternative is not None and is_nothing(alternative):
            alternative = None
        return NOTHING if is_nothing(then) and alternative is None else If(cond, then, alternative)
    if isinstance(stmt, For):
        return _simplify_for(stmt, analyzer, known)
    if isinstance(stmt, Let):
        body = simplify_stmt(stmt.body, analyzer, known)
        return NOTHING if is_nothing(body) else Let(stmt.var, simple(stmt.value), body)
    if isinstance(stmt, Alloc):
        body = simplify_stmt(stmt.body, analyzer, known)
        return NOTHING if is_nothing(body) else Alloc(stmt.buffer, body)
    assert isinstance(stmt, IntrinsicCall)
    return IntrinsicCall(
        stmt.intrinsic,
        tuple(
            Operand(o.buffer, tuple(simple(i) for i in o.indices), o.strides) for o in stmt.operands
        ),
        stmt.scalars,
    )


def _simplify_for(stmt: For, analyzer: Analyzer, known: dict[Expr, Expr]) -> Stmt:
    begin = analyzer.simplify(substitute(stmt.begin, known))
    extent = analyzer.simplify(substitute(stmt.extent, known))
    loop = For(stmt.var, begin, extent, stmt.body, stmt.kind)
    low, high = loop_range(loop, analyzer)
    longest = analyzer.bounds(extent)
    if high < low or (longest is not None and longest[1] <= 0):
        return NOTHING
    if isinstance(extent, IntImm) and extent.value == 1:
        return simplify_stmt(stmt.body, analyzer, {**known, stmt.var: begin})
    var = Var(stmt.var.name)
    with analyzer.assume(var, low, high):
        body = simplify_stmt(stmt.body, analyzer, {**known, stmt.var: var})
    if is_nothing(body):
        return NOTHING
    return For(var, begin, extent, body, stmt.kind)
