"""Short forms of requantisation: what is called proven, against every accumulator."""

from __future__ import annotations

import numpy as np
import pytest

from microtvm.ops.quantize import quantize_multiplier
from microtvm.ops.requantize import Reach, Rescale, RescaleOnce, round_half_away, steps_equal
from microtvm.ops.rounding import multiply
from microtvm.tir.intrinsic import scalar_function


def _reach(rng: np.random.Generator, ratio: float, relu: bool) -> Reach:
    """Accumulators that use the outputs -128..127, or with a ReLU 0..255, and a little more."""
    last = 255 if relu else 127
    first = 0 if relu else -128
    reach = int((last + 10) / ratio)
    low, high = np.array([-int(rng.integers(0, reach))]), np.array([reach])
    return Reach(low, high, first, last)


@pytest.mark.parametrize("relu", [True, False])
def test_two_roundings(relu: bool) -> None:
    """The form taken equals the reference: the shorter one where a ReLU hides negative ties."""
    rng = np.random.default_rng(int(relu))
    taken = set()
    for k in range(60):
        ratio = float(rng.uniform(0.002, 0.3)) if k % 3 else 2.0 ** -int(rng.integers(2, 9))
        reach = _reach(rng, ratio, relu)
        rescale = Rescale([ratio], "w", reach)
        acc = np.arange(reach.low[0], reach.high[0] + 1)
        wanted = multiply(acc, *quantize_multiplier(ratio)).clip(reach.first, reach.last)
        ((mult, shift),) = rescale.pairs
        meaning = scalar_function(rescale.function).evaluate
        found = np.array([meaning(int(a), mult, shift, 0) for a in acc])
        assert np.array_equal(found.clip(reach.first, reach.last), wanted), ratio
        taken.add(rescale.function)
    assert taken == ({"requantize_up"} if relu else {"requantize_narrow"})


def test_one_rounding() -> None:
    """FULLY_CONNECTED: the double product, rounded once."""
    rng = np.random.default_rng(0)
    taken = set()
    for k in range(60):
        ratio = float(rng.uniform(0.002, 0.3)) if k % 3 else 2.0 ** -int(rng.integers(2, 9))
        reach = _reach(rng, ratio, relu=False)
        once = RescaleOnce(np.array([ratio]), reach.low, reach.high, reach.first, reach.last, "w")
        acc = np.arange(reach.low[0], reach.high[0] + 1)
        wanted = round_half_away(acc * ratio).clip(reach.first, reach.last)
        taken.add(once.integer.function)
        if once.integer.function == "requantize_floor":
            ((mult, shift),) = once.integer.pairs
            meaning = scalar_function("requantize_floor").evaluate
            found = np.array([meaning(int(a), mult, shift, 0) for a in acc])
            assert np.array_equal(found.clip(reach.first, reach.last), wanted), ratio
    assert "requantize_floor" in taken


def test_a_step_that_is_one_off() -> None:
    reach = Reach(np.array([-1000]), np.array([1000]), -10, 10)
    assert steps_equal(lambda a: a // 50, lambda a: a // 50, reach)
    assert not steps_equal(lambda a: a // 50, lambda a: (a + 1) // 50, reach)
    assert not steps_equal(lambda a: a // 50, lambda a: (a - 1) // 50, reach)
    # Beyond the outputs that are clamped nothing is asked, nor where there is but one.
    assert steps_equal(lambda a: a // 50, lambda a: np.where(a > 510, a, a // 50), reach)
    assert steps_equal(lambda a: a // 50, lambda a: a, Reach(reach.low, reach.high, 3, 3))
