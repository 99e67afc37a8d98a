"""Tensor expressions and schedules, with TVM's names: `from microtvm import te`."""

from microtvm.te.intrin import declare as decl_tensor_intrin
from microtvm.te.lower import lower
from microtvm.te.schedule import Schedule, create_schedule
from microtvm.te.stage import Stage
from microtvm.te.tensor import (
    IterVar,
    Tensor,
    all,  # noqa: A004 - TVM's name
    any,  # noqa: A004 - TVM's name
    clip,
    compute,
    constant,
    equal,
    floordiv,
    max,  # noqa: A004 - TVM's name
    min,  # noqa: A004 - TVM's name
    not_,
    placeholder,
    reduce_axis,
    select,
    sum,  # noqa: A004 - TVM's name
    truncdiv,
)
from microtvm.tir.expr import Expr
from microtvm.tir.intrinsic import call

__all__ = [
    "Expr",
    "IterVar",
    "Schedule",
    "Stage",
    "Tensor",
    "all",
    "any",
    "call",
    "clip",
    "compute",
    "constant",
    "create_schedule",
    "decl_tensor_intrin",
    "equal",
    "floordiv",
    "lower",
    "max",
    "min",
    "not_",
    "placeholder",
    "reduce_axis",
    "select",
    "sum",
    "truncdiv",
]
