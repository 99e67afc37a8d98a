"""Statements and buffers of loop programs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from microtvm.tir.dtype import FLOAT_BITS, INT_BITS
from microtvm.tir.expr import Expr, Var
from microtvm.tir.traversal import substitute
from microtvm.util import Array

SCOPES = ("arena", "const", "register")
"""Where a buffer lives: in the arena (parameters and scratch), in flash, in C locals."""


class Buffer:
    """A dense row-major array. Equal only to itself. Constant buffers carry their data."""

    __slots__ = ("data", "dtype", "name", "scope", "shape")

    def __init__(
        self,
        name: str,
        shape: tuple[int, ...],
        dtype: str,
        scope: str = "arena",
        data: Array | None = None,
    ) -> None:
        assert scope in SCOPES
        self.name = name
        self.shape = shape
        self.dtype = dtype
        self.scope = scope
        self.data = data

    @property
    def elements(self) -> int:
        """Number of elements."""
        n = 1
        for d in self.shape:
            n *= d
        return n

    @property
    def size_bytes(self) -> int:
        """Bytes of the whole array."""
        bits = INT_BITS.get(self.dtype) or FLOAT_BITS[self.dtype]
        return self.elements * max(1, bits // 8)

    def __repr__(self) -> str:
        return f"{self.name}: {self.dtype}{list(self.shape)} {self.scope}"


class Stmt:
    """Base of all statements; all are immutable."""

    __slots__ = ()


@dataclass(frozen=True, eq=False)
class Store(Stmt):
    """buffer[indices] = value"""

    buffer: Buffer
    indices: tuple[Expr, ...]
    value: Expr


@dataclass(frozen=True, eq=False)
class For(Stmt):
    """for var in [begin, begin + extent): body. `kind` is serial, unrolled or vectorized.

    An extent that is not positive runs no iteration.
    """

    var: Var
    begin: Expr
    extent: Expr
    body: Stmt
    kind: str = "serial"


@dataclass(frozen=True, eq=False)
class Seq(Stmt):
    """Statements in order."""

    body: tuple[Stmt, ...]


@dataclass(frozen=True, eq=False)
class If(Stmt):
    """Guarded statement, with an optional alternative."""

    cond: Expr
    then: Stmt
    otherwise: Stmt | None = None


@dataclass(frozen=True, eq=False)
class Let(Stmt):
    """`var` has `value` in `body`."""

    var: Var
    value: Expr
    body: Stmt


@dataclass(frozen=True, eq=False)
class Alloc(Stmt):
    """`buffer` exists in `body`; its content is undefined at the start."""

    buffer: Buffer
    body: Stmt


@dataclass(frozen=True, eq=False)
class Operand:
    """One operand of an intrinsic: a view of `buffer` that starts at `indices`.

    `strides[k]` is the distance in elements of the buffer between neighbours along the k-th
    dimension of the intrinsic's declaration.
    """

    buffer: Buffer
    indices: tuple[Expr, ...]
    strides: tuple[int, ...]


class Intrinsic(Protocol):
    """What a tensorised call needs of its intrinsic; `te/intrin.py` declares them."""

    @property
    def name(self) -> str:
        """What messages and printed programs call it."""

    @property
    def told(self) -> bool:
        """Whether a call's scalars tell its operands' strides: the C text has no other."""

    @property
    def guard(self) -> str:
        """The C macro where its text compiles, '' for everywhere; elsewhere `reference` stands."""

    @property
    def in_step(self) -> bool:
        """Whether each element of its output is stored once, after those of its inputs at the same
        index are read: an input in the same places may share its memory.
        """

    def reference(self, call: IntrinsicCall) -> Stmt:
        """The call's meaning as an ordinary loop nest over the same buffers."""

    def operand_shapes(self, call: IntrinsicCall) -> tuple[tuple[int, ...], ...]:
        """The declared shape of each operand, in the operands' order."""

    def c_source(self, call: IntrinsicCall) -> str:
        """C that must stand once in the file before its use (a static inline function), or ''."""

    def c_call(self, call: IntrinsicCall, operands: list[Any]) -> str:
        """The C statement, from the operands' C text."""


@dataclass(frozen=True, eq=False)
class IntrinsicCall(Stmt):
    """A register tile.

    `operands` are in the intrinsic's order, the outputs first; `scalars` are numbers it is told.
    """

    intrinsic: Intrinsic
    operands: tuple[Operand, ...]
    scalars: tuple[Expr, ...] = ()


@dataclass(frozen=True, eq=False)
class Program:
    """A kernel: `params` are the buffers that the caller gives (inputs, outputs, constants), in
    order.

    `scratch` are the arena buffers that the kernel needs for itself; the planner places them.
    """

    name: str
    params: tuple[Buffer, ...]
    body: Stmt
    scratch: tuple[Buffer, ...] = ()
    outputs: tuple[Buffer, ...] = ()
    notes: tuple[str, ...] = field(default=())
    """Lines for the head of the C function: operator, shapes, quantisation."""


def sequence(*statements: Stmt) -> Stmt:
    """Statements in order, flattened; a single one as it is."""
    flat: list[Stmt] = []
    for s in statements:
        flat.extend(s.body if isinstance(s, Seq) else (s,))
    return flat[0] if len(flat) == 1 else Seq(tuple(flat))


def statement_expressions(stmt: Stmt) -> tuple[Expr, ...]:
    """The expressions that stand directly in a statement, not in the statements inside it."""
    if isinstance(stmt, Store):
        return (*stmt.indices, stmt.value)
    if isinstance(stmt, For):
        return (stmt.begin, stmt.extent)
    if isinstance(stmt, If):
        return (stmt.cond,)
    if isinstance(stmt, Let):
        return (stmt.value,)
    if isinstance(stmt, IntrinsicCall):
        return (*(i for o in stmt.operands for i in o.indices), *stmt.scalars)
    return ()


def inner_statements(stmt: Stmt) -> tuple[Stmt, ...]:
    """The statements directly inside a statement."""
    if isinstance(stmt, For | Let | Alloc):
        return (stmt.body,)
    if isinstance(stmt, Seq):
        return stmt.body
    if isinstance(stmt, If):
        return (stmt.then,) if stmt.otherwise is None else (stmt.then, stmt.otherwise)
    return ()


def walk(stmt: Stmt) -> Iterator[Stmt]:
    """The statement and every one inside it, outermost first."""
    yield stmt
    for inner in inner_statements(stmt):
        yield from walk(inner)


def map_expressions(stmt: Stmt, change: Callable[[Expr], Expr]) -> Stmt:
    """The statement with every expression in it, and in the statements inside it, changed."""
    if isinstance(stmt, Store):
        return Store(stmt.buffer, tuple(map(change, stmt.indices)), change(stmt.value))
    if isinstance(stmt, If):
        other = None if stmt.otherwise is None else map_expressions(stmt.otherwise, change)
        return If(change(stmt.cond), map_expressions(stmt.then, change), other)
    if isinstance(stmt, Seq):
        return Seq(tuple(map_expressions(s, change) for s in stmt.body))
    if isinstance(stmt, For):
        body = map_expressions(stmt.body, change)
        return For(stmt.var, change(stmt.begin), change(stmt.extent), body, stmt.kind)
    if isinstance(stmt, Let):
        return Let(stmt.var, change(stmt.value), map_expressions(stmt.body, change))
    if isinstance(stmt, Alloc):
        return Alloc(stmt.buffer, map_expressions(stmt.body, change))
    assert isinstance(stmt, IntrinsicCall)
    return IntrinsicCall(
        stmt.intrinsic,
        tuple(Operand(o.buffer, tuple(map(change, o.indices)), o.strides) for o in stmt.operands),
        tuple(map(change, stmt.scalars)),
    )


def substitute_stmt(stmt: Stmt, values: dict[Expr, Expr]) -> Stmt:
    """The statement with variables (or any expressions) replaced in all its expressions."""
    return map_expressions(stmt, lambda e: substitute(e, values)) if values else stmt
