"""Loops written out: one copy of the body for each iteration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from microtvm.errors import IRError
from microtvm.tir.expr import Expr, IntImm, binary
from microtvm.tir.stmt import Alloc, For, If, Let, Seq, Stmt, map_expressions, sequence
from microtvm.tir.traversal import transform

NOTHING = Seq(())
MOST_COPIES = 4096
"""More iterations than this are a mistake of the schedule, not a wish."""


def unroll(stmt: Stmt, chosen: Callable[[For], bool] | None = None) -> Stmt:
    """Write out the loops of kind `unrolled`, or those that `chosen` takes; fold constants.

    Raises IRError for a chosen loop whose extent is not a constant or is above MOST_COPIES.
    """
    if isinstance(stmt, For):
        body = unroll(stmt.body, chosen)
        if not (stmt.kind == "unrolled" if chosen is None else chosen(stmt)):
            return replace(stmt, body=body)
        return sequence(*_copies(stmt, body))
    if isinstance(stmt, Seq):
        return sequence(*[unroll(s, chosen) for s in stmt.body])
    if isinstance(stmt, If):
        if isinstance(stmt.cond, IntImm):
            taken = stmt.then if stmt.cond.value else stmt.otherwise
            return NOTHING if taken is None else unroll(taken, chosen)
        other = None if stmt.otherwise is None else unroll(stmt.otherwise, chosen)
        return If(stmt.cond, unroll(stmt.then, chosen), other)
    if isinstance(stmt, Let | Alloc):
        return replace(stmt, body=unroll(stmt.body, chosen))
    return stmt


def _copies(loop: For, body: Stmt) -> list[Stmt]:
    if not isinstance(loop.extent, IntImm):
        raise IRError(f"the loop over {loop.var} can't be unrolled: its extent is not a constant")
    if loop.extent.value > MOST_COPIES:
        raise IRError(
            f"the loop over {loop.var} can't be unrolled {loop.extent.value} times; "
            f"at most {MOST_COPIES} was expected"
        )
    copies = []
    for i in range(loop.extent.value):
        value = binary("+", loop.begin, IntImm(i, loop.var.dtype))
        memo: dict[int, Expr] = {id(loop.var): value}

        def change(expr: Expr, memo: dict[int, Expr] = memo) -> Expr:
            return transform(expr, lambda node: None, memo)

        copies.append(_fold_branches(map_expressions(body, change)))
    return copies


def _fold_branches(stmt: Stmt) -> Stmt:
    """Take the branches that substitution has decided."""
    return unroll(stmt, lambda loop: False)
