"""Schedules of reductions that keep channels apart, for cores with the DSP extension."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from microtvm.isa.dsp_depthwise_tile import CHANNELS, DepthwiseTile, pairs
from microtvm.isa.pattern import Reduction
from microtvm.isa.template import Expression, Knob, Template
from microtvm.te.rewrite import ends, rewritten
from microtvm.te.schedule import Schedule
from microtvm.te.stage import Stage
from microtvm.te.tensor import (
    IterVar,
    Reduce,
    Tensor,
    compute,
    constant,
    reads_of,
    reduce_axis,
)
from microtvm.te.tensor import sum as te_sum
from microtvm.tir.expr import BinOp, Call, Cast, Expr, Read, Select, const
from microtvm.tir.intrinsic import SHORT_FORMS, call
from microtvm.tir.simplify import Linear
from microtvm.tir.traversal import post_order, substitute


@dataclass(frozen=True)
class Window:
    """A depthwise convolution: its operands, as read, and its geometry (h, w)."""

    data: Tensor
    weights: Tensor
    kernel: tuple[int, int]
    strides: tuple[int, int]

    def reach(self, axis: int, outputs: int) -> int:
        """Rows (axis 0) or columns of the image that so many outputs read."""
        return (outputs - 1) * self.strides[axis] + self.kernel[axis]


@dataclass(frozen=True)
class Plan:
    """How the outputs of one channel are cut.

    `strip` rows share one copy of the image; a pass of the tile computes `rows` of them by
    `columns`, which cover `width`; `kernel_w` columns of weights are held at a time.
    """

    strip: int
    strips: int
    rows: int
    columns: int
    width: int
    kernel_w: int


def depthwise_product(expression: Expression, knobs: Mapping[str, Knob]) -> bool:
    """A depthwise convolution: four channels are unpacked to pairs of pixels, then meet one by one.

    Takes sums over (kernel rows, kernel columns) of images whose channels lie innermost, with one
    output channel for each of the input's and no dilation. Returns False and changes nothing for
    anything else.
    """
    if expression.single is None:
        return False
    pattern, out = expression.single
    s, acc = expression.schedule, pattern.stage
    window = _window(pattern)
    same = [a.extent for a in out.axis] == [a.extent for a in acc.axis]
    if window is None or not same or not _plain_image(expression, window.data):
        return False
    plan = _plan(window, acc, knobs, small=expression.small)
    height, width = plan.strip * plan.strips, plan.width
    columns = window.reach(1, width)
    reach = 2 * -(-window.reach(0, height) // 2)
    words = -(-window.reach(0, height if plan.strips == 1 else plan.strip) // 2)
    tile = DepthwiseTile(
        kernel=(window.kernel[0], plan.kernel_w),
        strides=window.strides,
        rows=plan.rows,
        columns=plan.columns,
        passes=plan.strip // plan.rows,
        x_row=4 * CHANNELS,
        x_column=4 * CHANNELS * words,
        acc_row=4 * plan.columns,
        w_row=window.kernel[1],
        fresh=plan.kernel_w == window.kernel[1],
        doubled=_can_double(s, acc.outputs[0]),
    )
    if not tile.fits:
        return False
    expression.inline_epilogue(pattern, out)
    if tile.doubled:
        acc = _double(s, pattern, window)
    acc_tensor = acc.outputs[0]
    source = s.producer(window.data)
    if source is not None:
        for dimension, extent in ((1, reach), (2, columns)):
            if ends(source.bodies[0], source.axis[dimension], source.axis):
                _extend(source, dimension, extent)
    image = s[s.cache_read(window.data, "arena", [acc_tensor], "int16")]
    while source is not None:
        source.compute_inline()
        (read,) = (n for n in post_order(source.bodies[0]) if isinstance(n, Read))
        source = s.producer(read.source)
    w = s[s.cache_read(window.weights, "arena", [acc_tensor])]
    w.transform_layout(lambda b, h, v, o: [b, o, h, v])
    _extend(image, 1, reach, 2, zero=True)
    _extend(image, 2, columns, zero=True)
    _extend(image, 3, 1, CHANNELS, zero=True)
    acc.pad(acc.axis[1], plan.strip)
    acc.pad(acc.axis[2], plan.columns)
    image.transform_layout(lambda b, h, v, c: [b, c // CHANNELS, v, h // 2, c % CHANNELS, h % 2])
    # A whole tile is copied even where only a part of it is read.
    image.pad(image.axis[4], CHANNELS)
    image.pad(image.axis[5], 2)
    acc.transform_layout(lambda b, h, v, o: [b, o, v // plan.columns, h, v % plan.columns])
    batch, row, column, channel = out.axis
    strip, row = out.split(row, plan.strip)
    group, channel = out.split(channel, CHANNELS)
    segment, column = out.split(column, plan.columns)
    out.reorder(batch, strip, group, channel, segment, row, column)
    _write_out(out, row if plan.columns == 1 else column)
    image.compute_at(out, group)
    across, down = image.leaf[2:4]
    image.reorder(down, across)
    if columns <= WRITTEN_OUT and columns < words:
        image.unroll(across)
    # Words at the border, element by element.
    for axis in image.leaf[-2 if columns <= WRITTEN_OUT else -1 :]:
        image.unroll(axis)
    image.tensorize(image.leaf[-2], pairs(_pixel_row(expression, window.data)))
    acc.compute_at(out, segment)
    _tensorize(acc, plan, tile)
    return True


WRITTEN_OUT = 8
"""Columns that are written out as code."""


def _write_out(out: Stage, column: IterVar) -> None:
    """Write out so many columns that the loop around them is worth its instructions."""
    if column.extent <= WRITTEN_OUT:
        out.unroll(column)
        return
    factor = max(f for f in range(1, WRITTEN_OUT + 1) if column.extent % f == 0)
    if factor > 1:
        out.unroll(out.split(column, factor)[1])


def _extend(
    stage: Stage, dimension: int, extent: int, multiple: int = 1, *, zero: bool = False
) -> None:
    """Make a data axis at least `extent` long and a multiple; what is added is as `pad` has it."""
    axis = stage.axis[dimension]
    wanted = -(-max(axis.extent, extent) // multiple) * multiple
    if wanted != axis.extent:
        stage.pad(axis, wanted, zero=zero)


def _tensorize(acc: Stage, plan: Plan, tile: DepthwiseTile) -> None:
    """What one call of the tile covers: a strip of rows by its columns."""
    row, column = acc.axis[-2:]
    kernel_h, kernel_w = acc.reduce_axis
    if not tile.fresh:
        part, kernel_w = acc.split(kernel_w, plan.kernel_w)
        acc.reorder(part, row, column, kernel_h, kernel_w)
    acc.tensorize(row, tile.intrinsic())


def _doubled(node: Expr, total: Tensor) -> tuple[Call, Read, Read] | None:
    """A short requantisation of total[..] + constant[..], which it doubles first, with both reads.

    None for anything else.
    """
    if not isinstance(node, Call) or node.name not in SHORT_FORMS:
        return None
    value = node.args[0]
    if not (isinstance(value, BinOp) and value.op == "+"):
        return None
    read, bias = value.a, value.b
    if not isinstance(read, Read) or read.source is not total or not isinstance(bias, Read):
        return None
    data = bias.source.data
    if data is None or bias.dtype != "int32" or np.abs(data.astype(np.int64)).max() >= 1 << 30:
        return None
    return node, read, bias


def _can_double(s: Schedule, total: Tensor) -> bool:
    """Whether all that reads a sum wants twice of it and of a constant that is added to it."""

    def step(node: Expr) -> Expr | None:
        return None if _doubled(node, total) is None else const(0, node.dtype)

    bodies = [body for reader in s.readers(total) for body in reader.bodies]
    return all(total not in reads_of((rewritten(body, step),)) for body in bodies)


def _double(s: Schedule, pattern: Reduction, window: Window) -> Stage:
    """Compute twice the sum, which costs nothing; its requantisation is an instruction shorter."""
    stage = pattern.stage
    body = stage.bodies[0]
    assert isinstance(body, Reduce)
    kernel = [reduce_axis(a.extent, a.name) for a in body.axes]
    old: dict[Expr, Expr] = {a.var: n.var for a, n in zip(body.axes, kernel, strict=True)}
    twice = {n: n * 2 for n in body.value.children() if window.weights in reads_of((n,))}
    product = substitute(body.value, dict(twice))

    def element(*index: Expr) -> Expr:
        values: dict[Expr, Expr] = {a.var: i for a, i in zip(stage.axis, index, strict=True)}
        return te_sum(substitute(product, values | old), axis=kernel)

    total: Tensor = compute(tuple(a.extent for a in stage.axis), element, stage.name)
    readers = s.readers(stage.outputs[0])
    s.replace(stage.outputs[0], lambda *i: total[i])
    biases: dict[Tensor, Tensor] = {}

    def step(node: Expr) -> Expr | None:
        found = _doubled(node, total)
        if found is None:
            return None
        requantize, read, bias = found
        if bias.source not in biases:
            biases[bias.source] = constant(bias.source.data * 2, bias.source.name)
        value = read + biases[bias.source][bias.indices]
        return call(f"{requantize.name}_doubled", value, *requantize.args[1:])

    for reader in readers:
        reader.bodies = tuple(rewritten(b, step) for b in reader.bodies)
    return s[total]


def _plan(window: Window, acc: Stage, knobs: Mapping[str, Knob], *, small: bool) -> Plan:
    """Tiles that fit the image, and strips whose copies fit into the knob `scratch`, in bytes.

    `small`: an image that fits whole is cut all the same, for the sake of sharing, unless it is
    one column.
    """
    most, scratch = int(knobs["columns"]), int(knobs["scratch"])
    cut = small and acc.axis[2].extent > 1
    height, width = (a.extent for a in acc.axis[1:3])
    columns = width
    if width > most:
        columns = next((c for c in range(most, most // 2, -1) if width % c == 0), most)
    width = -(-width // columns) * columns
    pixels = window.reach(1, width)

    most_words = scratch // (4 * CHANNELS * pixels)
    for strips in range(1, height + 1):
        strip = -(-height // strips)
        if strips > 1 and strip * window.strides[0] % 2:
            # Every strip begins with a whole word.
            strip += 1
        rows = _pass_rows(strip, columns)
        strip = -(-strip // rows) * rows
        limit = most_words if strips == 1 and not cut else min(most_words, STRIP)
        if -(-window.reach(0, strip) // 2) <= limit:
            break
    kernel_w = next(
        k
        for k in range(window.kernel[1], 0, -1)
        if window.kernel[1] % k == 0 and (k == 1 or k * max(1, window.kernel[0] - 1) <= HELD)
    )
    return Plan(strip, -(-height // strip), rows, columns, width, kernel_w)


STRIP = 7
"""Rows of words that a strip has at most, where an image is cut: layers then share tiles."""

HELD = 6
"""Pairs of weights that leave registers for four words of the image."""

PASS = 12
"""Outputs of one pass, about."""


def _pass_rows(height: int, columns: int) -> int:
    """Rows of one pass: all where they are few, else an even number that wastes little."""
    if height * columns <= PASS:
        return height
    limit = max(2, PASS // columns // 2 * 2)
    return min(range(2, limit + 1, 2), key=lambda r: (-(-height // r) * r, -r))


def _window(pattern: Reduction) -> Window | None:
    """The geometry of a depthwise convolution with int8 operands, or None."""
    acc = pattern.stage
    body = acc.bodies[0]
    if (
        not pattern.is_per_channel
        or len(acc.axis) != 4
        or len(acc.reduce_axis) != 2
        or len(pattern.data) != 1
        or len(pattern.weights) != 1
        or len(acc.bodies) != 1
        or not isinstance(body, Reduce)
        or (body.kind, body.dtype) != ("sum", "int32")
    ):
        return None
    value = body.value
    if not isinstance(value, BinOp) or value.op != "*":
        return None
    sides = [_int8_read(side) for side in (value.a, value.b)]
    reads = {r.source: r for r in sides if r is not None}
    data, weights = reads.get(pattern.data[0]), reads.get(pattern.weights[0])
    if data is None or weights is None:
        return None
    batch, row, column, channel = (a.var for a in acc.axis)
    kernel = acc.reduce_axis
    if weights.indices[1:] != (kernel[0].var, kernel[1].var, channel) or not _is_zero(
        weights.indices[0]
    ):
        return None
    if len(data.indices) != 4 or data.indices[0] is not batch or data.indices[3] is not channel:
        return None
    strides = []
    for index, along, k in zip(data.indices[1:3], (row, column), kernel, strict=True):
        linear = Linear.of(index)
        stride = linear.terms.get(along, 0)
        wanted = {v: c for v, c in ((along, stride), (k.var, 1))}
        if linear.constant or stride < 1 or linear.terms != wanted:
            return None
        strides.append(stride)
    size = (kernel[0].extent, kernel[1].extent)
    return Window(data.source, weights.source, size, (strides[0], strides[1]))


def _is_zero(index: Expr) -> bool:
    linear = Linear.of(index)
    return not linear.terms and linear.constant == 0


def _int8_read(side: Expr) -> Read | None:
    """The read of an int8 element that is widened to a factor."""
    if isinstance(side, Cast) and isinstance(side.value, Read) and side.value.dtype == "int8":
        return side.value
    return None


def _sources(expression: Expression, data: Tensor) -> Tensor | None:
    """The tensor behind what only moves elements of it or fills in others; None if there is none.

    Channels must stay where they are.
    """
    stage = expression.schedule.producer(data)
    while stage is not None:
        body = stage.bodies[0]
        reads = [n for n in post_order(body) if isinstance(n, Read)]
        if (
            stage.reduce_axis
            or len(stage.outputs) != 1
            or len(reads) != 1
            or len(reads[0].indices) != 4
            or reads[0].indices[3] is not stage.axis[3].var
            or not _moves(body)
        ):
            return None
        data = reads[0].source
        stage = expression.schedule.producer(data)
    return data if data.dtype == "int8" else None


def _moves(body: Expr) -> bool:
    """Whether the expression is a read, or one where a condition on indices holds."""
    return isinstance(body, Read) or (isinstance(body, Select) and _moves(body.on_true))


def _plain_image(expression: Expression, data: Tensor) -> bool:
    return _sources(expression, data) is not None


def _pixel_row(expression: Expression, data: Tensor) -> int:
    """Bytes between rows of the image in memory."""
    source = _sources(expression, data)
    assert source is not None
    return source.shape[2] * source.shape[3]


TEMPLATES = (
    Template(
        "dsp.depthwise_product",
        depthwise_product,
        frozenset({"dsp"}),
        {"columns": (6, 4, 8, 12), "scratch": (6144, 3072, 12288)},
    ),
)
