"""The list of all operators: the one place that names every file of operators.

Each listed module has `OPS`, a tuple of `Op` instances, and `TFLITE`, a dict from a builtin
operator of TFLite to its `Importer` (see `ops/tflite_import.py`).
"""

from __future__ import annotations

from collections.abc import Mapping

from microtvm.errors import IRError
from microtvm.ops import (
    activation,
    concat,
    conv,
    dense,
    elementwise,
    mean,
    pad,
    pool,
    quantize_op,
    reshape,
    shape,
    softmax,
)
from microtvm.ops.base import Op
from microtvm.ops.tflite_import import Importer

OPS: Mapping[str, Op] = {
    op.name: op
    for op in (
        *activation.OPS,
        *concat.OPS,
        *conv.OPS,
        *dense.OPS,
        *elementwise.OPS,
        *mean.OPS,
        *pad.OPS,
        *pool.OPS,
        *quantize_op.OPS,
        *reshape.OPS,
        *shape.OPS,
        *softmax.OPS,
    )
}
"""Every operator by its name in the graph."""

TFLITE: Mapping[str, Importer] = {
    **activation.TFLITE,
    **concat.TFLITE,
    **conv.TFLITE,
    **dense.TFLITE,
    **elementwise.TFLITE,
    **mean.TFLITE,
    **pad.TFLITE,
    **pool.TFLITE,
    **quantize_op.TFLITE,
    **reshape.TFLITE,
    **shape.TFLITE,
    **softmax.TFLITE,
}
"""Every importer by the name of its builtin operator."""


def find(name: str) -> Op:
    """The operator of that name; IRError where there is none."""
    if name not in OPS:
        raise IRError(f"unknown operator {name!r}; known: {', '.join(sorted(OPS))}")
    return OPS[name]
