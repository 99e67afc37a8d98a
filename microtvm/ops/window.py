"""Sliding windows over NHWC images: shapes and numpy views that convolutions and pools share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from microtvm.ops.base import NodeContext
from microtvm.util import Array


@dataclass(frozen=True)
class Window:
    """Kernel, strides and dilation as (h, w); padding as (top, bottom, left, right)."""

    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilation: tuple[int, int]
    padding: tuple[int, int, int, int]

    @classmethod
    def of(cls, ctx: NodeContext, kernel: tuple[int, int]) -> Window:
        """The window of a node with attributes strides, padding and, where it has one, dilation."""
        dilation = ctx.attr_ints("dilation") if "dilation" in ctx.node.attrs else (1, 1)
        strides, padding = ctx.attr_ints("strides"), ctx.attr_ints("padding")
        if not (len(strides) == len(dilation) == 2 and len(padding) == 4):
            raise ctx.fail("strides and dilation are (h, w), padding is (top, bottom, left, right)")
        if min(*kernel, *strides, *dilation) < 1 or min(padding) < 0:
            raise ctx.fail(
                f"kernel {kernel}, strides {strides}, dilation {dilation}, padding {padding}: "
                "the first three must be at least 1, padding at least 0"
            )
        top, bottom, left, right = padding
        return cls(
            kernel, (strides[0], strides[1]), (dilation[0], dilation[1]), (top, bottom, left, right)
        )

    def output_size(self, ctx: NodeContext) -> tuple[int, int]:
        """Height and width of the output for the node's first input, an image NHWC."""
        shape = ctx.inputs[0].shape
        if len(shape) != 4:
            raise ctx.fail(f"input is of shape {list(shape)}, must be an image [N, H, W, C]")
        sizes = []
        for axis in (0, 1):
            extent = (self.kernel[axis] - 1) * self.dilation[axis] + 1
            room = shape[1 + axis] + sum(self.padding[2 * axis : 2 * axis + 2]) - extent
            if room < 0:
                raise ctx.fail(
                    f"a kernel that spans {extent} does not fit into an image of "
                    f"{'height' if axis == 0 else 'width'} {shape[1 + axis]}"
                )
            sizes.append(room // self.strides[axis] + 1)
        return sizes[0], sizes[1]

    def borders(self, height: int, width: int) -> Array:
        """The ways in which windows lie over the border of an image, each once.

        bool [ways, KH, KW]: which cells of the kernel lie inside the image.
        """
        inside = []
        for axis, extent in ((0, height), (1, width)):
            before, after = self.padding[2 * axis : 2 * axis + 2]
            cells = np.arange(self.kernel[axis]) * self.dilation[axis]
            last = extent + before + after - int(cells[-1]) - 1
            places = np.arange(0, last + 1, self.strides[axis])[:, None] - before + cells
            inside.append(np.unique((places >= 0) & (places < extent), axis=0))
        rows, columns = inside
        both: Array = rows[:, None, :, None] & columns[None, :, None, :]
        return both.reshape(-1, *self.kernel)

    def view(self, x: Array, fill: float) -> Array:
        """x [N, H, W, C] padded with `fill`, as windows [N, OH, OW, KH, KW, C]."""
        top, bottom, left, right = self.padding
        widths = ((0, 0), (top, bottom), (left, right), (0, 0))
        padded = np.pad(x, widths, constant_values=fill)
        spans = tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilation, strict=True))
        # sliding_window_view puts the window's axes last: N OH OW C KH KW.
        views = np.lib.stride_tricks.sliding_window_view(padded, spans, axis=(1, 2))
        views = views[
            :, :: self.strides[0], :: self.strides[1], :, :: self.dilation[0], :: self.dilation[1]
        ]
        return views.transpose(0, 1, 2, 4, 5, 3)
