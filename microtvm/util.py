"""What every layer may use: array types and small pure functions."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
"""Any numpy array; what its dtype must be is said where it is used."""


def array_digest(array: Array) -> str:
    """SHA-256 of dtype, shape and little-endian content, as 64 hex digits.

    Equal arrays have equal digests.
    """
    data = np.ascontiguousarray(array)
    if data.dtype.byteorder == ">":
        data = data.astype(data.dtype.newbyteorder("<"))
    head = f"{data.dtype.name}{list(array.shape)}".encode()
    return hashlib.sha256(head + data.tobytes()).hexdigest()


def round_up(value: int, multiple: int) -> int:
    """The smallest multiple of `multiple` that is at least `value`."""
    return -(-value // multiple) * multiple
