"""Helium's schedule for sums over each channel's own window: depthwise convolutions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from microtvm.isa.helium import SMALL_IMAGE, Product, image_of, product_of, rows_of
from microtvm.isa.helium_map import inlined, vector_map
from microtvm.isa.helium_patch import ACCUMULATORS, PatchTile, turn
from microtvm.isa.helium_tile import LANES
from microtvm.isa.template import Expression, Knob, Template
from microtvm.tir.expr import IntImm
from microtvm.tir.simplify import Linear


@dataclass(frozen=True)
class _Window:
    """A depthwise convolution's geometry."""

    height: int
    width: int
    channels: int
    kernel_h: int
    kernel_w: int
    stride_h: int
    stride_w: int


def _window(found: Product) -> _Window | None:
    """The geometry of a sum over (kernel rows, columns) of each channel; None for others."""
    acc = found.acc
    if len(acc.axis) != 4 or len(acc.reduce_axis) != 2:
        return None
    b, h, v, c = (a.var for a in acc.axis)
    kh, kw = (a.var for a in acc.reduce_axis)
    if found.weights.indices != (IntImm(0), kh, kw, c) or found.weights.source.data is None:
        return None
    image, down, along, channel = found.data.indices
    rows, columns = Linear.of(down), Linear.of(along)
    if image is not b or channel is not c or rows.constant or columns.constant:
        return None
    if set(rows.terms) != {h, kh} or set(columns.terms) != {v, kw}:
        return None
    if rows.terms[kh] != 1 or columns.terms[kw] != 1:
        return None
    height, width, channels = (a.extent for a in acc.axis[1:])
    kernel_h, kernel_w = (a.extent for a in acc.reduce_axis)
    return _Window(height, width, channels, kernel_h, kernel_w, rows.terms[h], columns.terms[v])


def _tiles(w: _Window) -> list[PatchTile]:
    """Tiles that hold the window in their patches, those with the fewest instructions first."""
    found: list[tuple[float, int, PatchTile]] = []
    for rows in (4, 16):
        for down in range(1, min(w.height, len(ACCUMULATORS)) + 1):
            kernel_h = rows - (down - 1) * w.stride_h
            if kernel_h < w.kernel_h:
                continue
            for across in range(1, min(w.width, len(ACCUMULATORS) // down) + 1):
                tile = PatchTile(
                    rows, down, across, kernel_h, w.kernel_w, w.stride_h, w.stride_w, w.channels
                )
                if tile.fits:
                    found.append((_cost(w, tile), len(found), tile))
    return [tile for _, _, tile in sorted(found)]


def _cost(w: _Window, tile: PatchTile) -> float:
    """Instructions for all outputs of a channel, about.

    Two are each output's epilogue, one and a quarter what a tile's rows share of it; sixteen bytes
    are padded and turned by five. Twenty-five calls and pointers of a tile are for all channels.
    """
    outputs = tile.down * tile.across
    bands = math.ceil(w.height / tile.down)
    tiles = bands * math.ceil(w.width / tile.across)
    each = tile.cost + 2 * outputs + 1.25 + 50 / w.channels
    return tiles * each + bands * tile.rows * (w.width * w.stride_w + w.kernel_w) * 5 / LANES


def depthwise(expression: Expression, knobs: Mapping[str, Knob]) -> bool:
    """A sum over each channel's own window, a few rows of outputs at a time.

    The rows that they need are padded and turned. Returns False and changes nothing for other
    expressions, and for windows that no patch holds.
    """
    found = product_of(expression)
    window = None if found is None else _window(found)
    if found is None or window is None:
        return False
    s, acc, out = expression.schedule, found.acc, found.out
    body = inlined(out, found.behind)
    for tile in _tiles(window):
        rows = [(out.axis[1], tile.down), (out.axis[2], tile.across)]
        epilogue = vector_map(body, rows, out.axis[3], window.channels, {acc.outputs[0]})
        if epilogue is not None:
            break
    else:
        return False
    for stage in found.behind:
        stage.compute_inline()
    band, place, inner = out.axis[1], out.axis[2], []
    if tile.down > 1:
        band, row = out.split(out.axis[1], tile.down, shift=out.axis[1].extent >= tile.down)
        inner.append(row)
    if tile.across > 1:
        place, column = out.split(out.axis[2], tile.across, shift=out.axis[2].extent >= tile.across)
        inner.append(column)
    out.reorder(band, place, *inner, out.axis[3])
    out.tensorize([*inner, out.axis[3]][0], epilogue)

    channels = window.channels
    x = image_of(s, found)
    need = (window.width - tile.across) * window.stride_w + tile.reach
    columns = max(x.axis[2].extent, need)
    columns = -(-columns // (LANES // math.gcd(LANES, channels))) * (
        LANES // math.gcd(LANES, channels)
    )
    height = max(x.axis[1].extent, (window.height - tile.down) * window.stride_h + tile.rows)
    x.pad(x.axis[1], height, zero=True)
    x.pad(x.axis[2], columns, zero=True)
    rows_of(x, channels)
    if tile.down < window.height and height * columns * channels > SMALL_IMAGE:
        x.compute_at(out, band)
    t = s[s.cache_read(x.outputs[0], "arena", [acc.outputs[0]])]
    t.transform_layout(lambda b, h, f: [b, f, h])
    t.compute_whole(t.axis[1])
    t.compute_at(out, band)
    t.tensorize(t.axis[1], turn(tile.rows, columns * channels))

    kh, _kw = acc.reduce_axis
    w = s[s.cache_read(found.weights.source, "arena", [acc.outputs[0]])]
    w.pad(w.axis[1], tile.kernel_h, zero=True)
    w.pad(w.axis[2], tile.weight_columns, zero=True)
    w.pad(w.axis[3], channels + 1, zero=True)
    acc.pad_reduction(kh, tile.kernel_h)
    first = tile.shifts[-1]
    s.constant(s.evaluate(w.outputs[0])).transform_layout(
        lambda _, h, v, c: [c, first + v * tile.rows + h]
    )
    acc.transform_layout(lambda b, h, v, c: [b, c, h, v])
    acc.compute_at(out, place)
    acc.tensorize(acc.axis[1], tile.intrinsic())
    return True


TEMPLATES = (Template("helium.depthwise", depthwise, frozenset({"mve"})),)
