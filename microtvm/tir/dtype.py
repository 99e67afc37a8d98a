"""Element types: their names, sizes and ranges."""

from __future__ import annotations

import math
import struct

INT_BITS: dict[str, int] = {
    "bool": 1, "int8": 8, "int16": 16, "int32": 32, "int64": 64,
    "uint8": 8, "uint16": 16, "uint32": 32, "uint64": 64,
}  # fmt: skip
FLOAT_BITS: dict[str, int] = {"float32": 32, "float64": 64}


def is_int(dtype: str) -> bool:
    """Whether the dtype is an integer (bool is not)."""
    return dtype in INT_BITS and dtype != "bool"


def is_float(dtype: str) -> bool:
    """Whether the dtype is a floating point type."""
    return dtype in FLOAT_BITS


def dtype_range(dtype: str) -> tuple[int, int]:
    """Smallest and largest value of an integer dtype."""
    bits = INT_BITS[dtype]
    if dtype == "bool" or dtype.startswith("uint"):
        return 0, (1 << bits) - 1
    return -(1 << (bits - 1)), (1 << (bits - 1)) - 1


def round_to(dtype: str, value: float) -> float:
    """A Python float rounded to float32 or float64, to infinity where it is too large."""
    if dtype != "float32" or not math.isfinite(value):
        return value
    try:
        rounded: float = struct.unpack("<f", struct.pack("<f", value))[0]
    except OverflowError:
        return math.copysign(math.inf, value)
    return rounded
