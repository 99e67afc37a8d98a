"""One C function for all nodes whose programs differ only in constants.

Such constants are extents, strides and zero points.

Programs are compared with every integer constant left out; those that are equal then are merged by
anti-unification (Plotkin 1970): where all of them have the same constant it stays, where they
differ a parameter stands, one for each distinct list of values. What a node passes for it is its
own value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from microtvm.errors import IRError
from microtvm.tir.expr import BinOp, Call, Expr, FloatImm, IntImm, Param, Read, Var, binary
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
from microtvm.tir.traversal import post_order


@dataclass(frozen=True, eq=False)
class Shared:
    """A program for several nodes. `values[k]` are what node k passes for `params`, in order."""

    program: Program
    params: tuple[Param, ...]
    values: tuple[tuple[int, ...], ...]


MAX_PARAMS = 14
"""Programs that would need more arguments than this get functions of their own."""


def share(programs: Sequence[Program]) -> list[tuple[tuple[int, ...], Shared]]:
    """Groups of programs, as their positions, each with the program that serves them.

    Programs are flat (`codegen/flatten.py`). Groups are in the order of their first members.
    """
    skeletons = _Skeletons()
    groups: dict[int, list[int]] = {}
    for k, program in enumerate(programs):
        groups.setdefault(skeletons.program(program), []).append(k)
    result: list[tuple[tuple[int, ...], Shared]] = []
    for members in groups.values():
        merged = _Merge([programs[m] for m in members]).shared()
        if len(merged.params) <= MAX_PARAMS:
            result.append((tuple(members), merged))
            continue
        exact: dict[int, list[int]] = {}
        literal = _Skeletons(literal=True)
        for m in members:
            exact.setdefault(literal.program(programs[m]), []).append(m)
        result += [
            (tuple(same), _Merge([programs[m] for m in same]).shared()) for same in exact.values()
        ]
    return sorted(result, key=lambda item: item[0])


class _Skeletons:
    """Numbers for programs equal but for integer constants (but for parameters, if `literal`)."""

    def __init__(self, *, literal: bool = False) -> None:
        self.literal = literal
        self.numbers: dict[tuple[object, ...], int] = {}

    def _number(self, *key: object) -> int:
        return self.numbers.setdefault(key, len(self.numbers))

    def program(self, program: Program) -> int:
        self.names: dict[Var | Buffer, int] = {}
        self.memo: dict[Expr, int] = {}
        buffers = [self._declare(b) for b in (*program.params, *program.scratch)]
        outputs = [self.names[b] for b in program.outputs]
        body = self._statement(program.body)
        return self._number("program", len(program.params), *buffers, "->", *outputs, body)

    def _declare(self, buffer: Buffer) -> int:
        self.names[buffer] = len(self.names)
        shape = buffer.shape if buffer.scope == "register" else ()
        return self._number("buffer", buffer.dtype, buffer.scope, shape)

    def _bind(self, var: Var) -> int:
        self.names[var] = len(self.names)
        return self._number("var", var.dtype)

    def _expr(self, expr: Expr) -> int:
        for node in post_order(expr):
            if node not in self.memo:
                self.memo[node] = self._number(
                    *self._head(node), *(self.memo[c] for c in node.children())
                )
        return self.memo[expr]

    def _head(self, node: Expr) -> tuple[object, ...]:
        kind = type(node).__name__
        if isinstance(node, Param):
            return ("constant", node.dtype)
        if isinstance(node, IntImm):
            return (
                ("constant", node.dtype, node.value) if self.literal else ("constant", node.dtype)
            )
        if isinstance(node, FloatImm):
            return (kind, node.dtype, node.value.hex())
        if isinstance(node, BinOp):
            return (kind, node.op)
        if isinstance(node, Call):
            return (kind, node.name)
        if isinstance(node, Read):
            register = node.source.scope == "register"
            return (kind, self.names[node.source], *(map(id, node.indices) if register else ()))
        if isinstance(node, Var):
            return (kind, self.names[node])
        return (kind, node.dtype)

    def _statement(self, stmt: Stmt) -> int:
        if isinstance(stmt, Store):
            place: tuple[int, ...] = tuple(map(self._expr, stmt.indices))
            if stmt.buffer.scope == "register":
                place = tuple(id(i) for i in stmt.indices)
            return self._number("store", self.names[stmt.buffer], place, self._expr(stmt.value))
        if isinstance(stmt, Seq):
            return self._number("seq", *map(self._statement, stmt.body))
        if isinstance(stmt, For):
            head = (self._expr(stmt.begin), self._expr(stmt.extent))
            if stmt.kind != "serial":
                head = (id(stmt.begin), id(stmt.extent))
            return self._number(
                "for", stmt.kind, *head, self._bind(stmt.var), self._statement(stmt.body)
            )
        if isinstance(stmt, If):
            other = -1 if stmt.otherwise is None else self._statement(stmt.otherwise)
            return self._number("if", self._expr(stmt.cond), self._statement(stmt.then), other)
        if isinstance(stmt, Let):
            value = self._expr(stmt.value)
            return self._number("let", value, self._bind(stmt.var), self._statement(stmt.body))
        if isinstance(stmt, Alloc):
            return self._number("alloc", self._declare(stmt.buffer), self._statement(stmt.body))
        assert isinstance(stmt, IntrinsicCall)
        told = stmt.intrinsic.told
        operands = [
            (self.names[o.buffer], () if told else o.strides, tuple(map(self._expr, o.indices)))
            for o in stmt.operands
        ]
        scalars = tuple(map(self._expr, stmt.scalars))
        return self._number(
            "intrinsic", stmt.intrinsic.name, stmt.intrinsic.c_source(stmt), scalars, *operands
        )


SMALL = 1 << 15
"""Factors and offsets below it can't take an extent or a stride out of int32."""


def _affine(known: tuple[int, ...], wanted: tuple[int, ...]) -> tuple[int, int] | None:
    """(factor, offset) with wanted = factor * known + offset in every place, or None.

    All are below SMALL: of two nodes any two constants have such a relation, without any meaning.
    """
    other = next(k for k, v in enumerate(known) if v != known[0])
    factor, rest = divmod(wanted[other] - wanted[0], known[other] - known[0])
    offset = wanted[0] - factor * known[0]
    if max(abs(factor), abs(offset), *map(abs, known)) >= SMALL:
        return None
    if rest or any(w != factor * k + offset for k, w in zip(known, wanted, strict=True)):
        return None
    return factor, offset


class _Merge:
    """Walks programs of one skeleton side by side."""

    def __init__(self, programs: list[Program]) -> None:
        self.programs = programs
        self.params: dict[tuple[str, tuple[int, ...]], Param] = {}
        self.quantised: set[Param] = set()
        self.memo: dict[tuple[int, ...], Expr] = {}

    def shared(self) -> Shared:
        """The merged program and what each node passes."""
        if len(self.programs) == 1:
            return Shared(self.programs[0], (), ((),))
        first = self.programs[0]
        body = self._statement([p.body for p in self.programs])
        values = tuple(
            tuple(vector[k] for _, vector in self.params) for k in range(len(self.programs))
        )
        return Shared(replace(first, body=body), tuple(self.params.values()), values)

    def _lift(self, nodes: list[Expr]) -> Expr:
        values = tuple(n.value for n in nodes if isinstance(n, IntImm | Param))
        if len(set(values)) == 1:
            return nodes[0]
        dtype = nodes[0].dtype
        # A quantisation constant is its own argument, not a function of an extent.
        quantised = any(isinstance(n, Param) for n in nodes)
        if (dtype, values) in self.params:
            return self.params[dtype, values]
        for (known, vector), param in self.params.items():
            if known != dtype:
                continue
            related = None if quantised or param in self.quantised else _affine(vector, values)
            if related is not None:
                factor, offset = related
                scaled = binary("*", param, IntImm(factor, param.dtype))
                return binary("+", scaled, IntImm(offset, param.dtype))
        name = next((n.name for n in nodes if isinstance(n, Param)), "n")
        taken = {p.name for p in self.params.values()}
        unique, k = name, 1
        while unique in taken or unique == "n":
            unique, k = f"{name}{k}", k + 1
        found = self.params[dtype, values] = Param(unique, values[0], dtype)
        if quantised:
            self.quantised.add(found)
        return found

    def _expr(self, exprs: list[Expr]) -> Expr:
        key = tuple(map(id, exprs))
        found = self.memo.get(key)
        if found is None:
            found = self.memo[key] = self._merged(exprs)
        return found

    def _merged(self, exprs: list[Expr]) -> Expr:
        first = exprs[0]
        if isinstance(first, IntImm | Param):
            return self._lift(exprs)
        columns = list(zip(*(e.children() for e in exprs), strict=True))
        if not columns:
            return first
        children = tuple(self._expr(list(column)) for column in columns)
        if isinstance(first, BinOp):
            # As it stands: folding here would make the merged program unlike the others.
            return BinOp(first.op, children[0], children[1])
        return first.rebuild(children)

    def _indices(self, rows: list[tuple[Expr, ...]]) -> tuple[Expr, ...]:
        return tuple(self._expr(list(column)) for column in zip(*rows, strict=True))

    def _statement(self, stmts: list[Stmt]) -> Stmt:
        first = stmts[0]
        if isinstance(first, Store):
            stores = [s for s in stmts if isinstance(s, Store)]
            return Store(
                first.buffer,
                self._indices([s.indices for s in stores]),
                self._expr([s.value for s in stores]),
            )
        if isinstance(first, Seq):
            bodies = [s.body for s in stmts if isinstance(s, Seq)]
            return Seq(tuple(self._statement(list(row)) for row in zip(*bodies, strict=True)))
        if isinstance(first, For):
            loops = [s for s in stmts if isinstance(s, For)]
            return For(
                first.var,
                self._expr([s.begin for s in loops]),
                self._expr([s.extent for s in loops]),
                self._statement([s.body for s in loops]),
                first.kind,
            )
        if isinstance(first, If):
            branches = [s for s in stmts if isinstance(s, If)]
            others = [s.otherwise for s in branches if s.otherwise is not None]
            return If(
                self._expr([s.cond for s in branches]),
                self._statement([s.then for s in branches]),
                self._statement(others) if others else None,
            )
        if isinstance(first, Let):
            lets = [s for s in stmts if isinstance(s, Let)]
            return Let(
                first.var,
                self._expr([s.value for s in lets]),
                self._statement([s.body for s in lets]),
            )
        if isinstance(first, Alloc):
            return Alloc(
                first.buffer, self._statement([s.body for s in stmts if isinstance(s, Alloc)])
            )
        if not isinstance(first, IntrinsicCall):
            raise IRError(f"{first!r} can't be merged")
        calls = [s for s in stmts if isinstance(s, IntrinsicCall)]
        operands = []
        for row in zip(*(c.operands for c in calls), strict=True):
            indices = self._indices([o.indices for o in row])
            operands.append(Operand(row[0].buffer, indices, row[0].strides))
        scalars = self._indices([c.scalars for c in calls])
        return IntrinsicCall(first.intrinsic, tuple(operands), scalars)
