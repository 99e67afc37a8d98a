"""What products on cores with the DSP extension cost, by the form of their weights."""

from __future__ import annotations

import math
from collections.abc import Mapping

from microtvm.isa.dsp_layout import COLUMNS, ROWS, WORD, form_of
from microtvm.isa.dsp_operand import Operands
from microtvm.isa.dsp_tile import LARGEST_UNROLL, Tile
from microtvm.isa.template import Cost, Expression, Knob


def product_cost(expression: Expression, knobs: Mapping[str, Knob]) -> Cost | None:
    """Of a sum of products by tiles of the core; without what each element takes beside them."""
    if expression.single is None:
        return None
    pattern, _ = expression.single
    operands = Operands.of(expression.schedule, pattern)
    if operands is None:
        return None
    form = form_of(operands.values, knobs)
    sums = [a.extent for a in pattern.stage.axis]
    products = math.prod(sums) * math.prod(a.extent for a in pattern.stage.reduce_axis)
    single = math.prod(sums[:-1]) == 1
    rate = instructions_per_product(form, 1 if single else ROWS)
    return Cost(operands.values.nbytes * (2 if form == "wide" else 1), products * rate)


def instructions_per_product(form: str, rows: int = ROWS) -> float:
    """Of a tile of so many rows."""
    columns = COLUMNS if rows > 1 else 4
    tile = Tile(
        form, rows, columns, LARGEST_UNROLL, WORD, WORD * rows, 2 * WORD * rows, counted=True
    )
    return len(tile.assembly()) / (rows * columns * LARGEST_UNROLL * 4)
