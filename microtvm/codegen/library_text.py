"""How a library's tables and comments spell tensors."""

from __future__ import annotations

import numpy as np

from microtvm.graph.ir import TensorType


def scale_zero(t: TensorType) -> tuple[float, int]:
    """Of the whole tensor; 0 and 0 where it has several or none."""
    if t.quant is None or len(t.quant.scale) != 1:
        return 0.0, 0
    return t.quant.scale[0], t.quant.zero[0]


def c_float(value: float) -> str:
    """A float constant."""
    return (
        f"{np.float32(value)!s}f"
        if "." in str(np.float32(value)) or "e" in str(np.float32(value))
        else f"{np.float32(value)!s}.0f"
    )


def describe_type(t: TensorType) -> str:
    """A type for a comment, with what its integers stand for."""
    text = f"{t.dtype}[{','.join(map(str, t.shape))}]"
    scale, zero = scale_zero(t)
    return f"{text}, real = {scale:.9g} * (q - {zero})" if scale else text


def in_comment(text: str) -> str:
    """Text that may stand inside a C comment."""
    return text.replace("*/", "* /").replace("/*", "/ *")
