"""What the templates for the DSP extension share: how a tile's loops and operands lie."""

from __future__ import annotations

from collections.abc import Mapping

from microtvm.isa.dsp_operand import FORMS, GROUP, takes_pairs
from microtvm.isa.dsp_tile import Tile
from microtvm.isa.template import Knob
from microtvm.te.schedule import Schedule
from microtvm.te.stage import Stage
from microtvm.te.tensor import IterVar, reads_of
from microtvm.tir.expr import Expr
from microtvm.util import Array

ROWS, COLUMNS = 4, 2
"""The tile that uses every register: 8 accumulators, 4 temporaries, 2 pointers."""

WORD = 4

SPACE: dict[str, tuple[Knob, ...]] = {"weights": FORMS}
"""Knobs of the templates."""


def form_of(values: Array, knobs: Mapping[str, Knob]) -> str:
    """The form asked for, or the plain one where the weights are out of the bounds of pairs."""
    wanted = str(knobs["weights"])
    return "narrow" if wanted == "pairs" and not takes_pairs(values) else wanted


def tile_loops(
    out: Stage, rows: int, columns: int, row: IterVar, *, shift: bool
) -> tuple[IterVar, IterVar]:
    """The output's loop `row` and its columns as tiles, written out: outer loops first, columns
    then rows. `shift`: see `shifts`."""
    row_outer, row_inner = out.split(row, rows, shift=shift)
    column_outer, column_inner = out.split(out.axis[-1], columns)
    out.reorder(row_outer, column_outer, column_inner, row_inner)
    out.unroll(column_inner)
    out.unroll(row_inner)
    return row_outer, column_outer


def shifts(s: Schedule, out: Stage, sum_of: Stage, extent: int, rows: int) -> bool:
    """Whether the last tile of so many rows may begin earlier instead of being cut off.

    Then rows are computed twice, which is no harm unless the output reads what it may overwrite.
    """
    pending, read = [out], set()
    while pending:
        for tensor in reads_of(pending.pop().bodies):
            stage = s.producer(tensor)
            if stage is None:
                read.add(tensor.data is None)
            elif stage is not sum_of:
                pending.append(stage)
    return extent >= rows and True not in read


def pack(w: Stage, form: str, columns: int) -> None:
    """Store weights in the order in which a tile of so many columns reads them."""
    w.pad(w.axis[0], columns)
    rank = len(w.axis)

    def order(*index: Expr) -> list[Expr]:
        column, *around = index[: rank - 1 if form == "pairs" else rank - 2]
        pair, *parity = index[len(around) + 1 :]
        lead = [column // columns, *around, pair // 2]
        last = [column % columns, pair % 2]
        if form == "wide":
            return [*lead, *parity, *last]
        return [*lead, *last, *parity]

    w.transform_layout(order)


def tensorize(acc: Stage, tile: Tile, out: Stage, at: IterVar) -> None:
    """Split the sum into groups and pairs, and hand what one tile covers to it."""
    acc.compute_at(out, at)
    acc.set_scope("register")
    rows, columns = acc.axis[-2:]
    *outer, which, k = acc.reduce_axis
    group, pair = acc.split(k, GROUP // 2)
    around, runs = outer[:-1], outer[-1:]
    acc.reorder(*around, rows, columns, *runs, group, which, pair)
    acc.tensorize(rows, tile.intrinsic())
