"""Schedules for any core with a C compiler: register tiles in plain C99.

Every template keeps its accumulators in C locals from the first product to the store, so what
bounds a tile is the number of registers; its loads for each product are (rows + columns) / (rows *
columns).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from microtvm.isa.pattern import Reduction, has_bounds_check
from microtvm.isa.template import Expression, Knob, Template
from microtvm.te.stage import Split, Stage
from microtvm.te.tensor import IterVar, Reduce
from microtvm.tir.dtype import FLOAT_BITS, INT_BITS


@dataclass(frozen=True)
class Knobs:
    """What may be tuned without changing the result.

    `accumulators`: locals that a tile may hold. `pixels`: neighbours of one channel that are
    computed together, at most, as their windows overlap. `unroll`: products written out in the
    innermost loop, at most. `copy_ratio`: a padded input is copied row by row until each element
    would be copied more often than this; then it is copied once, whole. `copy_bytes`: rows that
    take more are copied in pieces.
    """

    accumulators: int = 4
    pixels: int = 5
    unroll: int = 16
    copy_ratio: int = 3
    copy_bytes: int = 4096


def schedule(expression: Expression, knobs: Knobs) -> None:
    """Schedule every reduction of the expression by its access pattern."""
    live = expression.live
    if expression.single is not None:
        _single(expression, *expression.single, knobs)
    elif expression.reductions:
        _several(live, expression.outputs)
    else:
        for stage in live:
            if not stage.is_output:
                stage.compute_inline()


def _several(live: list[Stage], outputs: list[Stage]) -> None:
    """Several reductions over the same rows, as in softmax: all inside the output's first loop."""
    out = outputs[-1]
    for stage in live:
        if stage.is_output:
            continue
        if len(out.axis) >= 1 and len(stage.axis) >= 1 and len(outputs) == 1:
            stage.compute_at(out, out.axis[0])


def _best_divisor(extent: int, limit: int) -> int:
    return max(d for d in range(1, max(1, min(limit, extent)) + 1) if extent % d == 0)


def _tile(rows: int, columns: int, accumulators: int) -> tuple[int, int]:
    """The tile whose sides divide the extents with the fewest loads for each product."""
    best = (1, 1)
    cost = 2.0
    for r in range(1, accumulators + 1):
        for c in range(1, accumulators // r + 1):
            if rows % r == 0 and columns % c == 0 and (r + c) / (r * c) < cost:
                best, cost = (r, c), (r + c) / (r * c)
    return best


def _single(expression: Expression, pattern: Reduction, out: Stage, knobs: Knobs) -> None:
    anchor = pattern.stage
    before: list[Stage] = []
    for stage in expression.live:
        if stage is anchor or stage is out:
            continue
        feeds_anchor = any(t in pattern.data for t in stage.outputs)
        if feeds_anchor and has_bounds_check(stage) and len(anchor.reduce_axis) > 1:
            before.append(stage)
        else:
            stage.compute_inline()
    same_axes = len(out.axis) == len(anchor.axis)
    place = {a: out.axis[k] for k, a in enumerate(anchor.axis)} if same_axes else {}
    loop = out.leaf[-1] if out.leaf else None
    if pattern.is_product and same_axes:
        loop = _product(pattern, out, place, knobs)
    elif pattern.is_per_channel and same_axes:
        loop = _per_channel(pattern, out, place, knobs, small=expression.small)
    if loop is not None:
        anchor.compute_at(out, loop)
        anchor.set_scope("register")
    data_axes = list(anchor.axis)
    anchor.reorder(*anchor.reduce_axis, *data_axes)
    for axis in data_axes:
        anchor.unroll(axis)
    _unroll_reduction(anchor, knobs)
    for stage in before:
        _place_copy(stage, anchor, out, knobs)


def _unroll_reduction(anchor: Stage, knobs: Knobs) -> None:
    """Write out the innermost reduction loops while they stay under the limit.

    A single long loop is always written out by the same factor, so that nodes which differ only in
    its length share a function.
    """
    long = [a for a in anchor.reduce_axis if a.extent > 1]
    written = 1
    for axis in reversed(anchor.reduce_axis):
        whole = written * axis.extent <= knobs.unroll
        if whole and (len(long) > 1 or axis.extent <= knobs.accumulators):
            anchor.unroll(axis)
            written *= axis.extent
            continue
        factor = _best_divisor(axis.extent, knobs.unroll // (written * knobs.accumulators))
        if factor > 1:
            _outer, inner = anchor.split(axis, factor)
            anchor.unroll(inner)
        break


def _product(
    pattern: Reduction, out: Stage, place: dict[IterVar, IterVar], knobs: Knobs
) -> IterVar:
    rows = [place[a] for a in pattern.rows if a.extent > 1]
    columns = [place[a] for a in pattern.columns if a.extent > 1]
    column = columns[-1]
    row_extent = rows[-1].extent if rows else 1
    tile_rows, tile_columns = _tile(row_extent, column.extent, knobs.accumulators)
    column_outer, column_inner = out.split(column, tile_columns)
    inner = [column_inner]
    if rows:
        row_outer, row_inner = out.split(rows[-1], tile_rows)
        inner.insert(0, row_inner)
        out.reorder(row_outer, column_outer, row_inner, column_inner)
    for axis in inner:
        out.unroll(axis)
    return column_outer


def _per_channel(
    pattern: Reduction, out: Stage, place: dict[IterVar, IterVar], knobs: Knobs, *, small: bool
) -> IterVar:
    rows = [place[a] for a in pattern.rows if a.extent > 1]
    channel = place[[a for a in pattern.shared if a.extent > 1][-1]]
    if not rows or out.leaf.index(rows[-1]) > out.leaf.index(channel):
        return out.leaf[-1]
    factor = _best_divisor(rows[-1].extent, knobs.pixels)
    if small and pattern.weights and factor == rows[-1].extent:
        # Without a loop over tiles its code is nobody else's: less of it is written out.
        factor = 1
    outer, inner = out.split(rows[-1], factor)
    out.reorder(outer, channel, inner)
    out.unroll(inner)
    return channel


def _place_copy(stage: Stage, anchor: Stage, out: Stage, knobs: Knobs) -> None:
    """A padded input is copied inside the output's row loop, or once where rows overlap too much.

    Where a whole row takes too much memory, only what one tile of the row needs is copied.
    """
    row = next((a for a in out.leaf if a.extent > 1), None)
    body = anchor.bodies[0]
    assert isinstance(body, Reduce)
    overlap = anchor.reduce_axis[0].extent
    if row is None or overlap > knobs.copy_ratio or row not in out.axis:
        stage.compute_root()
        return
    size = INT_BITS.get(stage.bodies[0].dtype) or FLOAT_BITS[stage.bodies[0].dtype]
    elements = overlap
    for axis in stage.axis[2:]:
        elements *= axis.extent
    tiles = [
        axis
        for axis in out.leaf[out.leaf.index(row) + 1 :][:1]
        if any(isinstance(r, Split) and r.outer is axis for r in out.relations)
    ]
    by_tile = tiles and elements * size // 8 > knobs.copy_bytes
    stage.compute_at(out, tiles[0] if by_tile else row)


def _knobs(given: Mapping[str, Knob]) -> Knobs:
    return Knobs(**{name: int(value) for name, value in given.items()})


def _float(expression: Expression, knobs: Mapping[str, Knob]) -> bool:
    if not any(t.dtype == "float32" for r in expression.reductions for t in r.outputs):
        return False
    schedule(expression, _knobs(knobs))
    return True


def _any(expression: Expression, knobs: Mapping[str, Knob]) -> bool:
    schedule(expression, _knobs(knobs))
    return True


def _space(accumulators: tuple[Knob, ...], unroll: tuple[Knob, ...]) -> dict[str, tuple[Knob, ...]]:
    return {
        "accumulators": accumulators,
        "pixels": (5, 1, 2, 3, 4, 8),
        "unroll": unroll,
        "copy_ratio": (3, 1, 2, 9),
        "copy_bytes": (4096, 1024, 16384),
    }


TEMPLATES = (
    # Of the 32 registers of a floating point unit: what a tile's operands leave.
    Template("generic.float", _float, frozenset({"fpu-single"}), _space((8, 4, 16), (8, 4, 16))),
    Template("generic", _any, frozenset(), _space((4, 1, 2, 8), (16, 1, 4, 8, 32))),
)
