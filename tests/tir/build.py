"""Short spellings of statements for tests."""

from __future__ import annotations

from microtvm.tir.expr import Expr, Operand, Read, Var, as_expr
from microtvm.tir.stmt import Buffer, For, Stmt, Store


def read(buffer: Buffer, *indices: Operand) -> Expr:
    """buffer[indices]"""
    return Read(buffer, tuple(as_expr(i) for i in indices))


def store(buffer: Buffer, indices: tuple[Operand, ...], value: Operand) -> Store:
    """buffer[indices] = value; a number takes the buffer's dtype."""
    return Store(buffer, tuple(as_expr(i) for i in indices), as_expr(value, buffer.dtype))


def loop(var: Var, extent: Operand, body: Stmt, kind: str = "serial", begin: Operand = 0) -> For:
    """for var in begin .. begin + extent"""
    return For(var, as_expr(begin), as_expr(extent), body, kind)
