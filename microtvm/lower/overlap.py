"""How far before an input its program's output may begin, so that both share memory.

A kernel that goes through its input from the front has no use for what lies behind it. Of a matrix
product by tiles of rows, for example, a tile's outputs may be stored where the rows of earlier
tiles were. That both may overlap so is the idea of Bartels, Ford and others, "Diagonal memory
optimisation for machine learning on micro-controllers" (2020); here the distance follows from the
loop program itself, whatever it computes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from microtvm.te.layout import strides_of
from microtvm.tir.expr import Expr, Read, Var
from microtvm.tir.simplify import Analyzer, Interval, Linear
from microtvm.tir.stmt import (
    Alloc,
    Buffer,
    For,
    IntrinsicCall,
    Let,
    Program,
    Seq,
    Stmt,
    Store,
    inner_statements,
    statement_expressions,
    walk,
)
from microtvm.tir.traversal import post_order

MOST_STEPS = 20_000
"""Of a program that is gone through; what is inside of those that follow is taken as one step."""


def distance(program: Program, x: Buffer, output: Buffer) -> int | None:
    """The least bytes by which the output's first byte must lie before that of the input `x`.

    With that or more, nothing of `x` is overwritten that is still to be read: what has been stored
    ends before all that is read later. 0 where nothing is read after the first store. None where
    elements go from one to the other as they are: such loops become one copy of memory, which does
    not take places that overlap.
    """
    for stmt in walk(program.body):
        value = stmt.value if isinstance(stmt, Store) and stmt.buffer is output else None
        if isinstance(value, Read) and value.source is x:
            return None
    found = 0
    later: int | None = None
    for step in reversed(list(_Walk(x, output).steps(program.body))):
        before = later
        if step.read is not None:
            later = step.read if later is None else min(later, step.read)
        if step.stored is not None:
            unread = before if step.ordered else later
            if unread is not None:
                found = max(found, step.stored - unread)
    return found


@dataclass(frozen=True)
class _Step:
    """A part of a run: the first byte of the input that it reads, and the end of what it stores.

    None where it reads or stores nothing. In one with both, any store may come before any read,
    unless it is `ordered`.
    """

    read: int | None
    stored: int | None
    ordered: bool = False


@dataclass(frozen=True)
class _View:
    """Elements of a buffer: those at an index, which is a sum, and so many before and behind it."""

    index: Linear
    before: int = 0
    behind: int = 0


class _Walk:
    """Goes through a program as it runs, as far as its reads and stores follow each other."""

    def __init__(self, x: Buffer, output: Buffer) -> None:
        self.x = x
        self.output = output
        self.ranges: dict[Var, Interval] = {}
        self.views: dict[tuple[Stmt, Buffer], tuple[_View, ...]] = {}
        self.touched: dict[tuple[Stmt, Buffer], bool] = {}
        self.left = MOST_STEPS

    def steps(self, stmt: Stmt) -> Iterator[_Step]:
        """The steps of a statement in the order in which they happen."""
        reads, stores = self._touches(stmt, self.x), self._touches(stmt, self.output)
        if not reads and not stores:
            return
        self.left -= 1
        parts = inner_statements(stmt)
        if not (reads and stores) or self.left < 0:
            yield self._whole(stmt)
        elif isinstance(stmt, Seq | Alloc):
            for part in parts:
                yield from self.steps(part)
        elif isinstance(stmt, For) and (values := self._values(stmt)) is not None:
            for value in values:
                self.ranges[stmt.var] = value, value
                yield from self.steps(stmt.body)
        else:
            one = self._whole(stmt)
            # What a store reads it reads before it stores.
            yield _Step(one.read, one.stored, ordered=isinstance(stmt, Store))

    def _values(self, loop: For) -> range | None:
        """Those of a loop's variable, one after another; None where they can't be told apart."""
        begin, extent = (self._bounds(Linear.of(e)) for e in (loop.begin, loop.extent))
        if begin is None or extent is None or begin[0] != begin[1] or extent[0] != extent[1]:
            return None
        # Vectors are loaded and stored for several iterations at a time.
        return None if loop.kind == "vectorized" else range(begin[0], begin[0] + extent[0])

    def _whole(self, stmt: Stmt) -> _Step:
        """All of a statement at once."""
        reads = [span[0] for span in self._spans(stmt, self.x)]
        stores = [span[1] for span in self._spans(stmt, self.output)]
        return _Step(min(reads, default=None), max(stores, default=None))

    def _spans(self, stmt: Stmt, buffer: Buffer) -> Iterator[Interval]:
        """Begin and end in bytes of all that a statement may touch of a buffer."""
        if not self._touches(stmt, buffer):
            return
        size = buffer.size_bytes // buffer.elements
        for view in self._views(stmt, buffer):
            low, high = self._bounds(view.index) or (0, buffer.elements - 1)
            begin, end = low - view.before, high + view.behind + 1
            yield max(begin, 0) * size, min(end, buffer.elements) * size
        if isinstance(stmt, For):
            first, count = (self._bounds(Linear.of(e)) for e in (stmt.begin, stmt.extent))
            known = None
            if first is not None and count is not None:
                known = first[0], first[1] + count[1] - 1
            self._assume(stmt.var, known)
        elif isinstance(stmt, Let):
            self._assume(stmt.var, Analyzer(self.ranges).bounds(stmt.value))
        for inner in inner_statements(stmt):
            yield from self._spans(inner, buffer)

    def _assume(self, var: Var, known: Interval | None) -> None:
        self.ranges.pop(var, None)
        if known is not None and known[0] <= known[1]:
            self.ranges[var] = known

    def _bounds(self, index: Linear) -> Interval | None:
        low = high = index.constant
        for atom, factor in index.terms.items():
            known = self.ranges.get(atom) if isinstance(atom, Var) else self._bounds_of(atom)
            if known is None:
                return None
            low += factor * known[0 if factor > 0 else 1]
            high += factor * known[1 if factor > 0 else 0]
        return low, high

    def _bounds_of(self, atom: Expr) -> Interval | None:
        return Analyzer(self.ranges).bounds(atom)

    def _touches(self, stmt: Stmt, buffer: Buffer) -> bool:
        found = self.touched.get((stmt, buffer))
        if found is None:
            found = bool(self._views(stmt, buffer)) or any(
                self._touches(inner, buffer) for inner in inner_statements(stmt)
            )
            self.touched[stmt, buffer] = found
        return found

    def _views(self, stmt: Stmt, buffer: Buffer) -> tuple[_View, ...]:
        """What a statement touches itself, without those inside it."""
        found = self.views.get((stmt, buffer))
        if found is None:
            found = tuple(_views(stmt, buffer))
            self.views[stmt, buffer] = found
        return found


def _views(stmt: Stmt, buffer: Buffer) -> Iterator[_View]:
    if isinstance(stmt, Store) and stmt.buffer is buffer:
        yield _View(_flat(buffer, stmt.indices))
    for expr in statement_expressions(stmt):
        for node in post_order(expr):
            if isinstance(node, Read) and node.source is buffer:
                yield _View(_flat(buffer, node.indices))
    if isinstance(stmt, IntrinsicCall):
        shapes = stmt.intrinsic.operand_shapes(stmt)
        for operand, shape in zip(stmt.operands, shapes, strict=True):
            if operand.buffer is buffer:
                steps = [(n - 1) * s for n, s in zip(shape, operand.strides, strict=True)]
                before, behind = -sum(min(0, s) for s in steps), sum(max(0, s) for s in steps)
                yield _View(_flat(buffer, operand.indices), before, behind)


def _flat(buffer: Buffer, indices: Sequence[Expr]) -> Linear:
    """The place of an element in its buffer."""
    total = Linear(0, {})
    for index, stride in zip(indices, strides_of(buffer.shape), strict=True):
        total = total.plus(Linear.of(index), stride)
    return total
