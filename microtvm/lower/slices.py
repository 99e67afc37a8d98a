"""Whether a program computes its output slice by slice of the last dimension.

A depthwise convolution that copies the channels that it works on may write over them: no other
channel is read or written meanwhile, and addresses of different channels never meet.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from microtvm.tir.expr import Expr, Read
from microtvm.tir.simplify import Analyzer, Linear
from microtvm.tir.stmt import (
    Alloc,
    Buffer,
    For,
    IntrinsicCall,
    Operand,
    Program,
    Seq,
    Stmt,
    Store,
    statement_expressions,
    walk,
)
from microtvm.tir.traversal import post_order


def by_slices(program: Program, x: Buffer, output: Buffer) -> bool:
    """Whether the output may lie in the memory of `x`, which has as many elements.

    Proven where all that touches either is in one loop, each iteration of which reads and writes
    the elements whose last index is in a range of its own, and reads all that it reads of `x`
    before it writes.
    """
    if len(x.shape) < 2 or len(output.shape) < 2 or x.shape[-1] != output.shape[-1]:
        return False
    touching = [u for u in _units(program.body) if _touches(u, x) or _touches(u, output)]
    if len(touching) != 1 or not isinstance(touching[0], For):
        return False
    loop = touching[0]
    units = _units(loop.body)
    reading = [k for k, unit in enumerate(units) if _touches(unit, x)]
    writing = [k for k, unit in enumerate(units) if _touches(unit, output)]
    if not reading or not writing or reading[-1] >= writing[0]:
        return False
    analyzer = _bounded(loop)
    places = [p for b in (x, output) for p in _last_indices(loop.body, b)]
    widths = {Linear.of(index).terms.get(loop.var, 0) for index, _ in places}
    if len(widths) != 1:
        return False
    (width,) = widths
    for index, reach in places:
        rest = Linear.of(index)
        rest.terms.pop(loop.var, None)
        within = analyzer.bounds(analyzer.simplify(rest.expr()))
        whole = analyzer.bounds(analyzer.simplify(index))
        if within is None or within[0] < 0 or within[1] + reach >= width:
            return False
        if whole is None or whole[1] + reach >= x.shape[-1]:
            # Beyond the end of a row are channels that an earlier iteration has written.
            return False
    return True


def _units(stmt: Stmt) -> list[Stmt]:
    """The statements of a block in order, allocations opened."""
    if isinstance(stmt, Seq):
        return [u for s in stmt.body for u in _units(s)]
    return _units(stmt.body) if isinstance(stmt, Alloc) else [stmt]


def _touches(stmt: Stmt, buffer: Buffer) -> bool:
    return next(_last_indices(stmt, buffer), None) is not None


def _last_indices(stmt: Stmt, buffer: Buffer) -> Iterator[tuple[Expr, int]]:
    """Of all accesses of a buffer the last index, and how far beyond it elements may be."""
    for part in walk(stmt):
        if isinstance(part, Store) and part.buffer is buffer:
            yield part.indices[-1], 0
        for expr in statement_expressions(part):
            for node in post_order(expr):
                if isinstance(node, Read) and node.source is buffer:
                    yield node.indices[-1], 0
        if isinstance(part, IntrinsicCall):
            shapes = part.intrinsic.operand_shapes(part)
            for operand, shape in zip(part.operands, shapes, strict=True):
                if operand.buffer is buffer:
                    yield operand.indices[-1], _reach(operand, shape)


def _reach(operand: Operand, shape: Sequence[int]) -> int:
    """How far a view goes beyond its first element's last index; the whole row if it may wrap."""
    row = operand.buffer.shape[-1]
    along = 0
    for extent, stride in zip(shape, operand.strides, strict=True):
        if extent > 1 and stride % row:
            along += (extent - 1) * stride if stride > 0 else row
    return along


def _bounded(loop: For) -> Analyzer:
    """What is known of the variables of a loop and of those inside."""
    analyzer = Analyzer({})
    for stmt in walk(loop):
        if isinstance(stmt, For):
            begin, extent = analyzer.bounds(stmt.begin), analyzer.bounds(stmt.extent)
            if begin is not None and extent is not None:
                analyzer.ranges[stmt.var] = begin[0], max(begin[0], begin[1] + extent[1] - 1)
    return analyzer
