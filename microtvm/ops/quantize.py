"""Quantisation constants: the only thing that an operator's two meanings share.

Everything here is evaluated at compile time, in double precision, as TensorFlow Lite's `Prepare`
functions do.
"""

from __future__ import annotations

import math

import numpy as np

from microtvm.graph.ir import TensorType
from microtvm.util import Array

INT32_MAX = (1 << 31) - 1


def quantize_multiplier(real: float) -> tuple[int, int]:
    """(q, e) with real = q * 2^(e - 31): 2^30 <= q < 2^31, or (0, 0) for ratios below 2^-32.

    QuantizeMultiplier of TFLite (kernels/internal/quantization_util.cc). `real` is finite and not
    negative. Ratios of 2^30 and more give the largest that the form can hold, (2^31 - 1, 30).
    """
    if real == 0:
        return 0, 0
    if not math.isfinite(real):
        return INT32_MAX, 30
    mantissa, exponent = math.frexp(real)
    multiplier = math.floor(mantissa * (1 << 31) + 0.5)
    if multiplier == 1 << 31:
        multiplier, exponent = multiplier >> 1, exponent + 1
    if exponent < -31:
        return 0, 0
    return (INT32_MAX, 30) if exponent > 30 else (multiplier, exponent)


def channel_ratios(x: TensorType, w: TensorType, out: TensorType, channels: int) -> Array:
    """s_x * s_w / s_out of every output channel, as doubles [channels].

    The product is taken in double: in float32 some near ties round to the other side.
    """
    assert w.quant is not None
    scales = np.broadcast_to(np.array(w.quant.scale, np.float64), (channels,))
    return np.float64(x.scale) * scales / np.float64(out.scale)


def channel_multipliers(ratios: Array) -> tuple[Array, Array]:
    """`quantize_multiplier` of every ratio: int64 arrays of multipliers and exponents."""
    pairs = [quantize_multiplier(float(r)) for r in ratios]
    return np.array([m for m, _ in pairs], np.int64), np.array([e for _, e in pairs], np.int64)
