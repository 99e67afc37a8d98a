"""Choosing a template: by the expression and the core, or by name with knobs."""

from __future__ import annotations

import pytest

from microtvm import te
from microtvm.errors import ScheduleError
from microtvm.isa.schedule import TEMPLATES, Choice, apply
from microtvm.target import load_cpu
from microtvm.te.schedule import Schedule


def product(dtype: str = "int8") -> Schedule:
    """Eight rows by four columns of sixteen products, as the last of two stages."""
    x = te.placeholder((8, 16), dtype, "x")
    w = te.placeholder((4, 16), dtype, "w")
    k = te.reduce_axis(16, "k")
    wide = "int32" if dtype == "int8" else dtype
    acc = te.compute(
        (8, 4), lambda i, j: te.sum(x[i, k.var].astype(wide) * w[j, k.var].astype(wide), axis=k)
    )
    return te.create_schedule([te.compute((8, 4), lambda i, j: acc[i, j] + acc[i, j], "y")])


def test_the_last_template_takes_anything_on_any_core() -> None:
    assert apply(product(), load_cpu("cortex-m0"), Choice()) == TEMPLATES[-1].name
    assert not TEMPLATES[-1].needs


def test_a_template_by_name() -> None:
    assert apply(product(), load_cpu("cortex-m4"), Choice("generic", {"unroll": 4})) == "generic"


def test_a_knob_that_is_not_there() -> None:
    with pytest.raises(ScheduleError, match=r"template generic has no knob colour$") as e:
        apply(product(), load_cpu("cortex-m4"), Choice("generic", {"colour": 3}))
    assert "unroll: 16, " in e.value.hint
    with pytest.raises(ScheduleError, match="template generic: knob unroll is 1000"):
        apply(product(), load_cpu("cortex-m4"), Choice("generic", {"unroll": 1000}))


@pytest.mark.parametrize(
    ("template", "cpu", "dtype"),
    [
        ("dsp.matrix_product", "cortex-m3", "int8"),
        ("dsp.matrix_product", "cortex-m4", "float32"),
        ("no such template", "cortex-m4", "int8"),
    ],
)
def test_a_template_that_does_not_take_it(template: str, cpu: str, dtype: str) -> None:
    with pytest.raises(ScheduleError, match="does not take this expression on") as e:
        apply(product(dtype), load_cpu(cpu), Choice(template))
    assert "generic" in e.value.hint
