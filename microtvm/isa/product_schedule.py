"""Matrix products and convolutions by the register tile of a core: what is packed, copied, looped.

One way to schedule them serves every tile of `product_tile.py`; a family of cores says which tile,
and which shapes of it its registers allow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from microtvm.isa.dsp_layout import shifts
from microtvm.isa.product import Operands, plain_matrix, product_operands, window_of
from microtvm.isa.product_tile import ProductTile
from microtvm.isa.template import Expression, Knob, Template
from microtvm.te.stage import Stage
from microtvm.te.tensor import IterVar

Shape = tuple[int, int]
"""Rows and columns of a tile."""

Knobs = Mapping[str, Knob]

Make = Callable[[int, int, int, int, int, int, Knobs], ProductTile]
"""Rows, columns, run, runs, x_row and x_run (see `ProductTile`), and knobs to a tile."""


def without_knobs(kind: Callable[[int, int, int, int, int, int], ProductTile]) -> Make:
    """A tile's class as it is: none of its properties is a knob."""

    def make(
        rows: int, columns: int, run: int, runs: int, x_row: int, x_run: int, knobs: Knobs
    ) -> ProductTile:
        return kind(rows, columns, run, runs, x_row, x_run)

    return make


@dataclass(frozen=True)
class Family:
    """A core's tile: how it is made of a shape and distances, and what its parts take.

    `shapes` are those to choose from. Costs are instructions: `product` of one product, `row` and
    `column` for a load that all products of a row or column share, `call` of the tile's call, its
    zeros and its stores, for each accumulator. `shared` makes a tile whose text more layers have in
    common, for those that take little of a model.
    """

    make: Make
    shapes: Sequence[Shape]
    dtype: str
    acc_dtype: str
    product: float
    row: float
    column: float
    call: float
    shared: Make | None = None

    def tile(
        self, shape: Shape, lengths: tuple[int, int, int, int], knobs: Knobs, *, small: bool
    ) -> ProductTile:
        """Of run, runs, x_row and x_run; with `small` the shared one, where that can be had."""
        if small and self.shared is not None:
            tile = self.shared(*shape, *lengths, knobs)
            if tile.fits:
                return tile
        return self.make(*shape, *lengths, knobs)

    def shape(self, rows: int, columns: int, depth: int, limit: int) -> Shape | None:
        """The shape of at most `limit` accumulators that takes the fewest instructions.

        Products that only fill a tile count as well. None where every tile is larger than the
        whole.
        """

        def cost(shape: Shape) -> float:
            r, c = shape
            area = -(-rows // r) * r * (-(-columns // c)) * c
            loads = (r * self.row + c * self.column) / (r * c)
            return area * (self.product + loads + (self.call + 20 / (r * c)) / depth)

        allowed = [(r, c) for r, c in self.shapes if r * c <= limit and r <= rows and c <= columns]
        return min(allowed, key=lambda s: (cost(s), s), default=None)

    def templates(
        self, name: str, needs: frozenset[str], space: Mapping[str, tuple[Knob, ...]]
    ) -> tuple[Template, ...]:
        """The two patterns that the tile serves."""
        return (
            Template(f"{name}.matrix_product", self.matrix_product, needs, space),
            Template(
                f"{name}.window_product",
                self.window_product,
                needs,
                {**space, "copy_ratio": (3, 1, 2, 9), "copy_bytes": (4096, 1024, 16384)},
            ),
        )

    def matrix_product(self, expression: Expression, knobs: Knobs) -> bool:
        """Rows of data, where they lie, by columns of packed weights.

        Rows are copied only where tiles do not divide them. Returns False and changes nothing for
        what is not a plain product of two matrices, one of them constant.
        """
        if expression.single is None:
            return False
        pattern, out = expression.single
        operands = product_operands(pattern, self.dtype, self.acc_dtype)
        acc = pattern.stage
        if operands is None or not plain_matrix(pattern, operands):
            return False
        s = expression.schedule
        (depth,) = (a.extent for a in acc.reduce_axis)
        extents = (acc.axis[0].extent, acc.axis[1].extent)
        chosen = self.shape(*extents, depth, int(knobs["accumulators"]))
        if chosen is None:
            return False
        rows, columns = chosen
        tile = self.tile(chosen, (depth, 1, depth, depth), knobs, small=expression.small)
        if not tile.fits:
            return False
        expression.inline_epilogue(pattern, out)
        shift = shifts(s, out, acc, extents[0], rows)
        ragged = extents[0] % rows > 0 and not shift
        copied = ragged or s.producer(operands.data) is not None
        x = self._copy(expression, acc, operands) if copied else None
        w = self._weights(expression, acc, operands)
        w.pad(w.axis[0], columns)
        if ragged:
            assert x is not None
            x.pad(x.axis[0], rows)
            acc.pad(acc.axis[0], rows)
        acc.pad(acc.axis[1], columns)
        w.transform_layout(lambda o, k: [o // columns, k, o % columns])
        row_outer, column_outer = _tiles(out, rows, columns, shift=shift)
        if x is not None:
            x.compute_at(out, row_outer)
        acc.compute_at(out, column_outer)
        acc.tensorize(acc.axis[0], tile.intrinsic((depth,)))
        return True

    def window_product(self, expression: Expression, knobs: Knobs) -> bool:
        """A convolution: pixels along a row of outputs by columns of packed weights.

        Where the input has padding, or tiles reach beyond a row, it is copied first: all of it
        where more than `copy_ratio` rows overlap, else what a row of outputs needs, or what a tile
        needs where that takes more than `copy_bytes`. Returns False and changes nothing for other
        patterns.
        """
        if expression.single is None:
            return False
        pattern, out = expression.single
        operands = product_operands(pattern, self.dtype, self.acc_dtype)
        shape = None if operands is None else window_of(pattern, operands)
        if operands is None or shape is None:
            return False
        acc = pattern.stage
        width, channels = acc.axis[2].extent, acc.axis[3].extent
        run = shape.kernel_w * shape.channels
        limit = int(knobs["accumulators"])
        chosen = self.shape(width, channels, run * shape.kernel_h, limit)
        if chosen is None:
            return False
        rows, columns = chosen
        s = expression.schedule
        shift = shifts(s, out, acc, width, rows)
        ragged = width % rows > 0 and not shift
        copied = ragged or s.producer(operands.data) is not None
        reach = shape.reach(-(-width // rows) * rows if ragged else width)
        whole = shape.kernel_h > int(knobs["copy_ratio"])
        size = 4 if self.dtype == "float32" else 1
        high = (shape.kernel_h - 1) * shape.step_h + 1
        by_tile = high * reach * shape.channels * size > int(knobs["copy_bytes"]) and not whole
        across = shape.reach(rows) if by_tile else reach
        if whole:
            # Columns beyond what is read stay in a whole copy; `pad` makes it a multiple.
            across = operands.data.shape[2]
            across = -(-across // reach) * reach if ragged else across
        x_row = shape.stride_w * shape.channels
        x_run = shape.step_h * (across if copied else operands.data.shape[2]) * shape.channels
        lengths = (run, shape.kernel_h, x_row, x_run)
        tile = self.tile(chosen, lengths, knobs, small=expression.small)
        if not tile.fits:
            return False
        expression.inline_epilogue(pattern, out)
        x = self._copy(expression, acc, operands) if copied else None
        w = self._weights(expression, acc, operands)
        w.pad(w.axis[0], columns)
        if ragged:
            assert x is not None
            x.pad(x.axis[2], reach)
            acc.pad(acc.axis[2], rows)
        acc.pad(acc.axis[3], columns)
        w.transform_layout(lambda o, h, v, c: [o // columns, h, v, c, o % columns])
        row_outer, column_outer = _tiles(out, rows, columns, shift=shift)
        if x is not None and not whole:
            x.compute_at(out, row_outer if by_tile else out.axis[1])
        acc.compute_at(out, column_outer)
        acc.tensorize(acc.axis[2], tile.intrinsic((shape.kernel_w, shape.channels)))
        return True

    def _copy(self, expression: Expression, acc: Stage, operands: Operands) -> Stage:
        """A copy of the data for the tile, with its padding."""
        s = expression.schedule
        before = s.producer(operands.data)
        x = s[s.cache_read(operands.data, "arena", [acc.outputs[0]])]
        if before is not None:
            before.compute_inline()
        return x

    def _weights(self, expression: Expression, acc: Stage, operands: Operands) -> Stage:
        """The weights, to be packed at compile time."""
        s = expression.schedule
        return s[s.cache_read(operands.weights, "arena", [acc.outputs[0]])]


def _tiles(out: Stage, rows: int, columns: int, *, shift: bool) -> tuple[IterVar, IterVar]:
    """Loops over tiles. A column's constants serve all its rows, which are written out.

    With `shift` the last tile of rows begins earlier, where tiles do not divide them.
    """
    row, column = out.axis[-2:]
    row_outer, row_inner = out.split(row, rows, shift=shift)
    column_outer, column_inner = out.split(column, columns)
    out.reorder(row_outer, column_outer, column_inner, row_inner)
    out.unroll(row_inner)
    return row_outer, column_outer
