"""Multiplier and exponent of a real ratio."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from microtvm.graph.ir import Quant, TensorType
from microtvm.ops.quantize import channel_multipliers, channel_ratios, quantize_multiplier


@given(st.floats(2.0**-32, (2**31 - 1) / 2))
def test_nearest_multiplier(real: float) -> None:
    """q is the nearest of 31 bits, never 2^31; the claim in exact arithmetic."""
    q, e = quantize_multiplier(real)
    unit = Fraction(2) ** (e - 31)
    assert 1 << 30 <= q < 1 << 31
    assert abs(q * unit - Fraction(real)) * 2 <= unit


def test_ends() -> None:
    assert quantize_multiplier(0.0) == (0, 0)
    assert quantize_multiplier(2.0**-34) == (0, 0)
    assert quantize_multiplier(2.0**-32) == (1 << 30, -31)
    assert quantize_multiplier(1.0) == (1 << 30, 1)
    # The mantissa rounds up to 2^31, which is halved.
    assert quantize_multiplier(float(np.nextafter(1.0, 0.0))) == (1 << 30, 1)
    assert quantize_multiplier(2.0**31) == ((1 << 31) - 1, 30)


def test_ratios_are_products_in_double() -> None:
    x = TensorType((1, 2), "int8", Quant((0.1,), (0,)))
    w = TensorType((3, 2), "int8", Quant((0.1, 0.2, 0.3), (0, 0, 0), 0))
    y = TensorType((1, 3), "int8", Quant((0.7,), (0,)))
    ratios = channel_ratios(x, w, y, 3)
    s = [float(np.float32(v)) for v in (0.1, 0.2, 0.3, 0.7)]
    assert ratios.tolist() == [s[0] * s[i] / s[3] for i in range(3)]
    one = TensorType((3, 2), "int8", Quant((0.2,), (0,)))
    assert channel_ratios(x, one, y, 3).tolist() == [s[0] * s[1] / s[3]] * 3
    multipliers, exponents = channel_multipliers(ratios)
    pairs = [quantize_multiplier(float(r)) for r in ratios]
    assert list(zip(multipliers.tolist(), exponents.tolist(), strict=True)) == pairs
