"""What each column of a node's weights adds to its accumulators, and which of it is constant."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from microtvm.ops.base import NodeContext
from microtvm.ops.interval import Interval
from microtvm.ops.window import Window
from microtvm.util import Array


@dataclass(frozen=True)
class Products:
    """Of a dense layer, or a convolution in one group: arrays [output channels, columns]."""

    known: Array
    """int64, what a column adds for every input and at every place; 0 where it `varies`."""
    varies: Array
    """bool: what it adds depends on the model's input, or on where the window is: padding is the
    zero point, so that a channel that is constant but another value adds less at the border."""

    @classmethod
    def of(cls, ctx: NodeContext, x: Interval) -> Products:
        """For an input, the node's first, whose channels are within `x`."""
        w, kind = ctx.constants[1].astype(np.int64), ctx.inputs[0]
        low, high = (
            np.broadcast_to(bound, kind.shape).reshape(-1, w.shape[-1]) - kind.zero
            for bound in (x.low, x.high)
        )
        value = low.min(axis=0)
        inside: Array = np.ones((1, 1, 1), np.int64)
        if w.ndim == 4:
            window = Window.of(ctx, (w.shape[1], w.shape[2]))
            inside = window.borders(*kind.shape[1:3]).astype(np.int64)
        cells = w.reshape(w.shape[0], -1, w.shape[-1])
        # What is added at each place of the window: [places, output channels, columns].
        added = np.einsum("pk,okc->poc", inside.reshape(len(inside), -1), cells) * value
        used = cells.any(axis=1)
        steady = (value == high.max(axis=0)) & (added == added[0]).all(axis=0)
        return cls(np.where(used & steady, added[0], 0), used & ~steady)

    def needed(self, outputs: Array) -> Array:
        """Which columns must stay for the chosen output channels (bool), as bool [columns]."""
        return np.asarray(self.varies[outputs].any(axis=0))

    def bias(self, outputs: Array, gone: Array) -> Array:
        """What the columns that are gone (bool) add to each chosen output channel, int64."""
        return np.asarray(self.known[np.ix_(outputs, gone)].sum(axis=1))
