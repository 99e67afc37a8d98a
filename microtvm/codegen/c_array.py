"""Constant arrays as C99 initialisers."""

from __future__ import annotations

import numpy as np

from microtvm.codegen.c_type import (
    float_literal,
    integer_literal,
    storage_type,
    value_dtype,
)
from microtvm.tir.dtype import is_float
from microtvm.util import Array

COLUMNS = 100


def c_array(name: str, data: Array) -> str:
    """`MTVM_WEIGHTS static const T name[n] = {...};` with the elements in row-major order."""
    flat = np.ascontiguousarray(data).ravel()
    dtype = data.dtype.name
    if is_float(dtype):
        words = [float_literal(v, dtype) for v in flat.tolist()]
    else:
        words = [integer_literal(int(v), value_dtype(dtype)) for v in flat.tolist()]
    lines: list[str] = []
    line: list[str] = []
    width = 4
    for word in words:
        if width + len(word) + 2 > COLUMNS and line:
            lines.append("    " + ", ".join(line) + ",")
            line, width = [], 4
        line.append(word)
        width += len(word) + 2
    lines.append("    " + ", ".join(line))
    head = f"MTVM_WEIGHTS static const {storage_type(dtype)} {name}[{flat.size}] = {{"
    return "\n".join([head, *lines, "};", ""])
