"""Intervals: the smallest and largest value that each channel of a tensor can have.

A channel is an index of a tensor's last axis; a scalar has one. Intervals exist for integers only:
`None` stands for what is not known of floats. They say what can occur for any input of the model
or less sharply, never too little.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from microtvm.graph.ir import TensorType
from microtvm.util import Array


@dataclass(frozen=True)
class Interval:
    """`low` and `high`, int64 [channels], both of which count as possible."""

    low: Array
    high: Array

    @property
    def constant(self) -> Array:
        """Which channels have one value for every input, bool [channels]."""
        same: Array = self.low == self.high
        return same

    @classmethod
    def around(cls, *arrays: Array) -> Interval:
        """The smallest that holds what all arrays have; they have equal numbers of channels."""
        rows = np.concatenate([by_channel(a).astype(np.int64) for a in arrays])
        return cls(rows.min(axis=0), rows.max(axis=0))


def channel_count(shape: Sequence[int]) -> int:
    """How many channels a tensor of this shape has."""
    return shape[-1] if shape else 1


def by_channel(array: Array) -> Array:
    """The array as rows of channels."""
    return array.reshape(-1, channel_count(array.shape))


def full(t: TensorType) -> Interval | None:
    """All that the type can hold; None where it is not of integers."""
    if t.dtype in ("float32", "bool"):
        return None
    info, channels = np.iinfo(t.dtype), channel_count(t.shape)
    return Interval(np.full(channels, info.min, np.int64), np.full(channels, info.max, np.int64))


def ends(
    types: Sequence[TensorType],
    inputs: Sequence[Interval | None],
    constants: Mapping[int, Array],
) -> tuple[list[Array], list[Array]] | None:
    """Two arrays for each input, of its shape: all channels at their lowest, and at their highest.

    For a constant input, the constant twice. None where an interval is None.
    """
    lows, highs = [], []
    for position, (t, interval) in enumerate(zip(types, inputs, strict=True)):
        if position in constants:
            lows.append(constants[position])
            highs.append(constants[position])
            continue
        if interval is None:
            return None
        for bound, arrays in ((interval.low, lows), (interval.high, highs)):
            row = bound if t.shape else bound.reshape(())
            arrays.append(np.broadcast_to(row, t.shape).astype(t.dtype))
    return lows, highs
