"""Rounding in numpy, as the oracle of every integer operator needs it.

All functions on integers take and return int64 arrays that hold int32 values; nothing wraps or
saturates, so `infer` must refuse what could leave int32. The meanings are those of gemmlowp
(fixedpoint/fixedpoint.h) as TensorFlow Lite uses it.
"""

from __future__ import annotations

import numpy as np

from microtvm.util import Array


def high_multiply(a: Array, b: Array | int) -> Array:
    """a * b / 2^31, ties rounded up: SaturatingRoundingDoublingHighMul, which also saturates."""
    product: Array = a.astype(np.int64) * b
    rounded: Array = (product + (1 << 30)) >> 31
    return rounded


def divide_by_power(x: Array, exponent: int | Array) -> Array:
    """x / 2^exponent, ties rounded away from zero (RoundingDivideByPOT); exponent 0..32."""
    mask = (np.int64(1) << exponent) - 1
    threshold = (mask >> 1) + (x < 0)
    rounded: Array = (x >> exponent) + ((x & mask) > threshold)
    return rounded


def multiply(x: Array, multiplier: int, shift: int) -> Array:
    """x * multiplier * 2^(shift - 31) with two roundings: MultiplyByQuantizedMultiplier."""
    return divide_by_power(high_multiply(x << max(shift, 0), multiplier), max(-shift, 0))


def half_away(x: Array) -> Array:
    """The nearest integer, ties away from zero, as a float array of the same dtype: C's round()."""
    truncated = np.trunc(x)
    away: Array = np.where(np.abs(x - truncated) >= 0.5, np.sign(x), 0).astype(x.dtype)
    rounded: Array = truncated + away
    return rounded
