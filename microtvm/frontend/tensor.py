"""From the file's tensors to the graph's types, and what can't be a type."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from microtvm.frontend.file import FileTensor
from microtvm.graph.ir import DTYPES, Quant, TensorType

MAX_COMPUTED_RANK = 5
"""Dimensions of a tensor that a device describes."""

MAX_DIMENSION = 65535
"""Of such a tensor: its shape is stored in 16 bits."""

MAX_COMPUTED_BYTES = 1 << 26
"""Of such a tensor: more than a microcontroller's RAM, and as much as can be compiled in seconds,
since layouts are checked element by element."""


@dataclass(frozen=True)
class Problem:
    """One thing of a model that can't be compiled."""

    where: str
    """Operator or tensor, with its number or name in the file."""
    message: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"


def tensor_problems(tensor: FileTensor, *, is_input: bool) -> list[Problem]:
    """Everything that keeps a tensor from being compiled."""
    found: list[tuple[str, str]] = []
    if tensor.dtype not in DTYPES:
        found.append(
            (
                f"type {tensor.dtype} is not supported; known: {', '.join(DTYPES)}",
                "convert the model to float32 or to full int8 quantisation",
            )
        )
    if tensor.sparse:
        found.append(("sparse tensors are not supported", "convert the model without sparsity"))
    if tensor.variable:
        found.append(("variables, which live from one run to the next, are not supported", ""))
    if is_input:
        found += _unknown_dimensions(tensor)
    if not found and not tensor.constant:
        found += [(message, "") for message in shape_problems(tensor.shape, tensor.dtype)]
    if not found and tensor.dtype not in ("float32", "bool"):
        found += _quantization(tensor)
    return [Problem(f"tensor {tensor.name!r}", message, hint) for message, hint in found]


def shape_problems(shape: tuple[int, ...], dtype: str) -> list[str]:
    """Everything that keeps a tensor of the device from having a shape."""
    found = []
    if len(shape) > MAX_COMPUTED_RANK:
        found.append(f"{len(shape)} dimensions, supported: {MAX_COMPUTED_RANK}")
    if max(shape, default=1) > MAX_DIMENSION:
        found.append(f"a dimension of {max(shape)}, supported: {MAX_DIMENSION}")
    # Unknown dimensions, of -1, count as 1.
    size_bytes = math.prod(max(dimension, 1) for dimension in shape) * DTYPES[dtype]
    if not found and size_bytes > MAX_COMPUTED_BYTES:
        found.append(f"{size_bytes} bytes, supported: {MAX_COMPUTED_BYTES}")
    return found


def tensor_type(tensor: FileTensor) -> TensorType | None:
    """The type of a tensor without problems; None for a constant that has no elements.

    A leading dimension that is unknown is 1. Other unknown dimensions of what an operator makes are
    1 until its shape is inferred.
    """
    if 0 in tensor.shape and tensor.constant:
        return None
    shape = tuple(max(d, 1) for d in tensor.shape)
    return TensorType(shape, tensor.dtype, _quant(tensor))


def _unknown_dimensions(tensor: FileTensor) -> list[tuple[str, str]]:
    signature = tensor.signature
    if len(signature) != len(tensor.shape):
        signature = tensor.shape
    return [
        (
            f"dimension {axis} of input {list(signature)} is unknown",
            "give the model fixed input dimensions when it is converted",
        )
        for axis, (known, said) in enumerate(zip(tensor.shape, signature, strict=True))
        if axis > 0 and (known < 1 or said < 1)
    ]


def _quantization(tensor: FileTensor) -> list[tuple[str, str]]:
    found = []
    scales, zeros = tensor.scales, tensor.zeros
    if tensor.custom_quantization:
        found.append(("custom quantisation is not supported", ""))
    if not scales:
        return found
    if not all(np.isfinite(s) and s > 0 for s in scales):
        # The scale of an int32 tensor is the product of two others, and nothing reads it.
        if tensor.dtype in ("int32", "int64"):
            return found
        found.append(("a scale is not positive and finite", "convert the model again"))
    info = np.iinfo(tensor.dtype)
    if any(not info.min <= z <= info.max for z in zeros):
        found.append((f"a zero point is outside {tensor.dtype}", "convert the model again"))
    if len(zeros) not in (0, 1, len(scales)):
        found.append((f"{len(scales)} scales and {len(zeros)} zero points", ""))
    if len(scales) > 1:
        rank = len(tensor.shape)
        if not 0 <= tensor.axis < rank or tensor.shape[tensor.axis] != len(scales):
            found.append(
                (f"{len(scales)} scales for axis {tensor.axis} of shape {list(tensor.shape)}", "")
            )
    return found


def _quant(tensor: FileTensor) -> Quant | None:
    scales = tensor.scales
    if tensor.dtype in ("float32", "bool") or not scales:
        return None
    if not all(np.isfinite(s) and s > 0 for s in scales):
        return None
    zeros = tensor.zeros or (0,)
    if len(zeros) != len(scales):
        zeros = zeros * len(scales)
    return Quant(scales, zeros, tensor.axis if len(scales) > 1 else None)
