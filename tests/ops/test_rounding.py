"""The oracle's rounding against its definition in rational numbers."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from microtvm.ops.rounding import divide_by_power, half_away, high_multiply, multiply

INT32 = 1 << 31


def half_up(x: Fraction) -> int:
    return math.floor(x + Fraction(1, 2))


def away(x: Fraction) -> int:
    return half_up(abs(x)) * (1 if x >= 0 else -1)


def integers(rng: np.random.Generator, count: int) -> list[int]:
    """int32 values of every magnitude, with the extremes."""
    bits = rng.integers(0, 32, count)
    values = [int(rng.integers(-(1 << b), 1 << b)) for b in bits]
    return [*values, 0, 1, -1, INT32 - 1, -INT32]


def test_high_multiply_rounds_ties_up() -> None:
    rng = np.random.default_rng(1)
    for b in (1 << 30, INT32 - 1, 3 << 20, -1010580540, 1):
        a = integers(rng, 200) + [k << 9 for k in range(-300, 300)]
        found = high_multiply(np.array(a, np.int64), b).tolist()
        assert found == [half_up(Fraction(v * b, INT32)) for v in a]


def test_divide_by_power_rounds_ties_away_from_zero() -> None:
    rng = np.random.default_rng(2)
    x = integers(rng, 200) + list(range(-40, 40))
    for exponent in range(33):
        found = divide_by_power(np.array(x, np.int64), exponent).tolist()
        assert found == [away(Fraction(v, 1 << exponent)) for v in x]


def test_multiply_rounds_twice() -> None:
    x = list(range(-3000, 3000))
    for multiplier, shift in ((1 << 30, 1), (1431655765, -3), (INT32 - 1, 5), (1 << 30, -31)):
        found = multiply(np.array(x, np.int64), multiplier, shift).tolist()
        once = [half_up(Fraction((v << max(shift, 0)) * multiplier, INT32)) for v in x]
        assert found == [away(Fraction(v, 1 << max(-shift, 0))) for v in once]


def test_half_away() -> None:
    for dtype in (np.float32, np.float64):
        ties = np.array([0.5, -0.5, 1.5, -1.5, 2.5, 1e6 + 0.5], dtype)
        x = np.concatenate([ties, np.nextafter(ties, dtype(0)), np.nextafter(ties, 2 * ties)])
        found = half_away(x)
        assert found.dtype == dtype
        assert found.tolist() == [away(Fraction(float(v))) for v in x]
