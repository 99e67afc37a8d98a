"""Schedules for cores with Helium: Cortex-M55, M85.

Products of bytes are taken sixteen at a time (`helium_tile.py`), two rows by four columns or one by
eight; a row's accumulators go through a small buffer to the epilogue, which takes four channels at
a time (`helium_map.py`). Data stays int8 and is read where it lies, or from rows in the scratch
that are padded: with the image's border, or with whatever meets weights that are zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from microtvm.isa.helium_map import inlined, vector_map
from microtvm.isa.helium_tile import LANES, Tile
from microtvm.isa.pattern import has_bounds_check
from microtvm.isa.template import Expression, Knob, Template
from microtvm.te.intrin import TensorIntrin
from microtvm.te.schedule import Schedule
from microtvm.te.stage import Stage
from microtvm.te.tensor import IterVar, Reduce
from microtvm.tir.expr import BinOp, Cast, Read
from microtvm.tir.simplify import Linear

WRITTEN_OUT = 9
"""Steps of sixteen products that a tile's text holds, at most, where it goes through columns."""
MOST_STEPS = 16
"""The same where it goes through runs."""
SMALL_IMAGE = 2048
"""Bytes of an image that is padded once, as a whole; of others, the rows that a row needs."""
MOST_COLUMNS = 128
"""Channels whose accumulators wait for the epilogue together."""


@dataclass(frozen=True)
class Product:
    """A sum of products of bytes: the stage, its two reads, and the stage behind it."""

    acc: Stage
    out: Stage
    behind: tuple[Stage, ...]
    """What lies between the two."""
    data: Read
    weights: Read


def product_of(expression: Expression) -> Product | None:
    """The expression as a sum of int32(int8 data) * int32(int8 weights), rows by columns.

    The last axis is the weights' first, alone. None for anything else.
    """
    if expression.single is None:
        return None
    pattern, out = expression.single
    acc = pattern.stage
    body = acc.bodies[0]
    if not isinstance(body, Reduce) or body.kind != "sum" or body.dtype != "int32":
        return None
    value = body.value
    if not isinstance(value, BinOp) or value.op != "*":
        return None
    reads = []
    for side in (value.a, value.b):
        if not isinstance(side, Cast) or not isinstance(side.value, Read):
            return None
        reads.append(side.value)
    if any(r.dtype != "int8" for r in reads):
        return None
    data = [r for r in reads if r.source in pattern.data]
    weights = [r for r in reads if r.source in pattern.weights]
    if len(data) != 1 or len(weights) != 1 or len(out.axis) != len(acc.axis):
        return None
    feeds = expression.schedule.producer(data[0].source)
    behind = tuple(st for st in expression.live if st not in (acc, out, feeds))
    return Product(acc, out, behind, data[0], weights[0])


def matrix_product(expression: Expression, knobs: Mapping[str, Knob]) -> bool:
    """x[row, k] * w[column, k]: rows are read where they lie if k is a multiple of sixteen.

    Otherwise a tile's rows are copied. Returns False and changes nothing for other expressions.
    """
    found = product_of(expression)
    if found is None:
        return False
    acc = found.acc
    if len(acc.axis) != 2 or len(acc.reduce_axis) != 1:
        return False
    row, column = acc.axis
    (k,) = acc.reduce_axis
    if found.data.indices != (row.var, k.var) or found.weights.indices != (column.var, k.var):
        return False
    s = expression.schedule
    feeds = s.producer(found.data.source)
    steps = -(-k.extent // LANES)
    # Few products fill their last vector by loads that stop; rows of many are copied for that.
    tail = k.extent % LANES if steps <= WRITTEN_OUT else 0
    plan = _plan(found, 1, steps, LANES * steps, tail)
    if plan is None:
        return False
    plan.inline()
    copied = (k.extent % LANES and not tail) or feeds is not None
    if copied:
        x = s[s.cache_read(found.data.source, "arena", [acc.outputs[0]])]
        if feeds is not None:
            feeds.compute_inline()
        if not tail:
            x.pad(x.axis[1], LANES, zero=True)
        plan.copies.append(x)
    w = s[s.cache_read(found.weights.source, "arena", [acc.outputs[0]])]
    w.pad(w.axis[1], LANES, zero=True)
    if not tail:
        acc.pad_reduction(k, LANES)
    plan.finish(w)
    return True


def window_product(expression: Expression, knobs: Mapping[str, Knob]) -> bool:
    """A convolution, a row of outputs at a time.

    What a pixel needs of one row of the image lies in one piece, a run. Runs are read from rows of
    the image that are padded, on to a multiple of sixteen where weights are zero. Returns False and
    changes nothing for other expressions, and where several runs fit sixteen.
    """
    found = product_of(expression)
    window = None if found is None else _window(found)
    if found is None or window is None or window.together:
        return False
    s, acc = expression.schedule, found.acc
    kh, kw, ic = acc.reduce_axis
    channels = window.channels
    steps = -(-window.run // LANES)
    reach = (window.width - 1) * window.stride_w * channels + steps * LANES
    columns = max(window.columns, -(-reach // channels))
    plan = _plan(found, kh.extent, steps, window.step_h * columns * channels)
    if plan is None:
        return False
    plan.inline()
    feeds = s.producer(found.data.source)
    if feeds is not None or kw.extent > 1 or kh.extent > 1 or channels % LANES:
        x = image_of(s, found)
        x.pad(x.axis[2], columns, zero=True)
        rows_of(x, channels)
        place = _rows(found.out)
        if place is not None and x.outputs[0].shape[1] * columns * channels > SMALL_IMAGE:
            x.compute_at(found.out, place)
    w = s[s.cache_read(found.weights.source, "arena", [acc.outputs[0]])]
    w.transform_layout(lambda o, h, v, c: [o, h, v * channels + c])
    run = acc.fuse_reduction(kw, ic)
    w.pad(w.axis[2], LANES, zero=True)
    acc.pad_reduction(run, LANES)
    plan.finish(w)
    return True


def patch_product(expression: Expression, knobs: Mapping[str, Knob]) -> bool:
    """A convolution with runs so short that several fit sixteen: those of a pixel are put together.

    Then it is a matrix product. Returns False and changes nothing for other expressions.
    """
    found = product_of(expression)
    window = None if found is None else _window(found)
    if found is None or window is None or not window.together:
        return False
    s, acc = expression.schedule, found.acc
    kh, kw, _ic = acc.reduce_axis
    channels, run = window.channels, window.run
    height = -(-kh.extent // window.together) * window.together
    steps = height * run // LANES
    plan = _plan(found, 1, steps, LANES * steps)
    if plan is None:
        return False
    plan.inline()
    x = image_of(s, found)
    more = (height - kh.extent) * window.step_h
    x.pad(x.axis[1], window.rows + more, zero=True)
    w = s[s.cache_read(found.weights.source, "arena", [acc.outputs[0]])]
    w.pad(w.axis[1], window.together, zero=True)
    acc.pad_reduction(kh, window.together)
    width = kw.extent
    w.transform_layout(lambda o, h, v, c: [o, (h * width + v) * channels + c])
    rows_of(x, channels)
    place = _rows(found.out)
    if place is not None and x.outputs[0].shape[1] * x.outputs[0].shape[2] > SMALL_IMAGE:
        x.compute_at(found.out, place)
    patches = s[s.reindex(x.outputs[0], acc.outputs[0])]
    patches.split(patches.axis[-1], run)
    plan.copies.append(patches)
    plan.finish(w)
    return True


TEMPLATES = (
    Template("helium.matrix_product", matrix_product, frozenset({"mve"})),
    Template("helium.window_product", window_product, frozenset({"mve"})),
    Template("helium.patch_product", patch_product, frozenset({"mve"})),
)


@dataclass(frozen=True)
class _Window:
    """A convolution's geometry: the image's rows and columns, its channels, the kernel's steps."""

    rows: int
    columns: int
    channels: int
    run: int
    """Bytes that lie in one piece: a kernel's row."""
    width: int
    """Outputs of a row."""
    stride_w: int
    step_h: int

    @property
    def together(self) -> int:
        """Runs that fill sixteen bytes exactly, where it is more than one; else 0."""
        return LANES // self.run if self.run < LANES and LANES % self.run == 0 else 0


def _window(found: Product) -> _Window | None:
    """The geometry of a convolution without dilation along the rows and without groups, or None."""
    acc = found.acc
    if len(acc.axis) != 4 or len(acc.reduce_axis) != 3:
        return None
    b, h, v, o = (a.var for a in acc.axis)
    kh, kw, ic = (a.var for a in acc.reduce_axis)
    if found.weights.indices != (o, kh, kw, ic):
        return None
    image, down, along, channel = found.data.indices
    rows, columns = Linear.of(down), Linear.of(along)
    if image is not b or channel is not ic or rows.constant or columns.constant:
        return None
    if set(rows.terms) != {h, kh} or set(columns.terms) != {v, kw} or columns.terms[kw] != 1:
        return None
    shape = found.data.source.shape
    channels = acc.reduce_axis[2].extent
    return _Window(
        shape[1], shape[2], channels, acc.reduce_axis[1].extent * channels,
        acc.axis[2].extent, columns.terms[v], rows.terms[kh],
    )  # fmt: skip


def image_of(s: Schedule, found: Product) -> Stage:
    """The stage that makes the image which the sum reads: its padding, or a copy of it."""
    feeds = s.producer(found.data.source)
    if feeds is not None and has_bounds_check(feeds):
        return feeds
    x = s[s.cache_read(found.data.source, "arena", [found.acc.outputs[0]])]
    if feeds is not None:
        feeds.compute_inline()
    return x


def rows_of(x: Stage, channels: int) -> None:
    """Rows of the image as they lie in memory, one dimension, from end to end."""
    x.transform_layout(lambda b, h, v, c: [b, h, v * channels + c])
    flat = x.axis[-1]
    x.compute_whole(flat)
    x.split(flat, channels)


def _rows(out: Stage) -> IterVar | None:
    """The loop over the output's rows; None where there is one row."""
    return out.axis[1] if out.axis[1].extent > 1 else None


def _block(columns: int, wide: int) -> int:
    """Columns that go to the epilogue together: all, or a part that divides them."""
    if columns <= MOST_COLUMNS:
        return columns
    parts = [b for b in range(wide, MOST_COLUMNS + 1, wide) if columns % b == 0]
    return max(parts, default=columns)


def _plan(product: Product, runs: int, steps: int, x_run: int, tail: int = 0) -> _Plan | None:
    """How sums of `runs` runs of `steps` vectors are computed; None where they can't."""
    *_, row, column = product.acc.axis
    rows = min(2, row.extent)
    wide = 8 // rows
    block = _block(column.extent, wide)
    groups = -(-block // wide)
    if runs * steps <= WRITTEN_OUT:
        tile = Tile(rows, wide, runs, steps, x_run, groups, by_columns=True, tail=tail)
    else:
        if runs == 1:
            unroll = max(u for u in range(1, MOST_STEPS + 1) if steps % u == 0)
            runs, steps, x_run = steps // unroll, unroll, LANES * unroll
        tile = Tile(rows, wide, runs, steps, x_run, runs, by_columns=False)
    if steps > MOST_STEPS or not tile.fits:
        return None
    out = product.out
    body = inlined(out, product.behind)
    for together, each in _together(row.extent, rows):
        epilogue = vector_map(body, [(out.axis[-2], each)], out.axis[-1], block)
        if epilogue is not None:
            return _Plan(product, tile, together, each, block, epilogue)
    return None


def _together(extent: int, rows: int) -> list[tuple[int, int]]:
    """Rows that are summed before the epilogue, and how many of them it takes at a time.

    Twice a tile's rows share more of what they read, where their number wastes little; long
    epilogues have registers for one row.
    """
    if rows == 1:
        return [(1, 1)]
    wasted = -(-extent // 4) * 4 - -(-extent // 2) * 2
    few = [(2, 2), (2, 1)]
    return [(4, 4), *few] if extent >= 4 and wasted * 16 <= extent else few


class _Plan:
    """A product's tile and its epilogue: rows in tiles that may overlap, columns in blocks."""

    def __init__(
        self, product: Product, tile: Tile, rows: int, each: int, block: int, epilogue: TensorIntrin
    ) -> None:
        self.product, self.tile, self.rows, self.each = product, tile, rows, each
        self.block, self.epilogue = block, epilogue
        self.copies: list[Stage] = []
        """Stages to compute for each tile of rows."""

    def inline(self) -> None:
        """Compute what lies between the sum and the output where the output reads it."""
        for stage in self.product.behind:
            stage.compute_inline()

    def finish(self, w: Stage) -> None:
        """Pack the weights w[column, (run,) k], place the loops, and tensorize both stages."""
        acc, out, wide = self.product.acc, self.product.out, self.tile.columns
        w.pad(w.axis[0], wide)
        w.transform_layout(
            lambda o, *k: [o // wide, *k[:-1], k[-1] // LANES, o % wide, k[-1] % LANES]
        )
        padded = acc.pad(acc.axis[-1], wide)
        row, column = out.axis[-2:]
        place, inner = row, []
        if self.rows > 1:
            place, row = out.split(row, self.rows, shift=row.extent >= self.rows)
            inner.append(row)
        for copy in self.copies:
            copy.compute_at(out, place)
        if self.block == column.extent:
            acc.compute_whole(padded)
        else:
            place, column = out.split(column, self.block)
            out.reorder(place, *inner, column)
        out.tensorize(row if self.each > 1 else column, self.epilogue)
        acc.compute_at(out, place)
        self._tensorize_sum()

    def _tensorize_sum(self) -> None:
        acc, tile = self.product.acc, self.tile
        *around, row, column = acc.axis
        *runs, k = acc.reduce_axis
        pair, row = acc.split(row, tile.rows)
        group, column = acc.split(column, tile.columns)
        if tile.runs > 1 and not runs:
            run, k = acc.split(k, tile.depth)
            runs.append(run)
        if tile.by_columns:
            acc.reorder(*around, pair, row, group, column, *runs, k)
        else:
            acc.reorder(*around, pair, group, row, column, *runs, k)
        acc.tensorize(row, tile.intrinsic())
