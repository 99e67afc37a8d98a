"""The MLPerf Tiny models with their goldens, and how near an answer must be to one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tests import reference
from tests.conftest import shared_models

Array = np.ndarray[Any, Any]

MODELS = (
    "resnet8_fp32",
    "vww_int8",
    "resnet8_int8",
    "kws_int8",
    "ad01_fp32",
    "ad01_int8",
    "strww_int8",
)
"""Those that take longest first, so that workers who share the tests end together."""

FLOAT_TOLERANCE = 1e-5
"""Times the largest magnitude in the reference's tensor, or times 1 if that is larger."""


def model_file(name: str) -> Path:
    """The .tflite file of a model of MODELS."""
    return shared_models() / f"{name}.tflite"


def goldens(name: str) -> tuple[Array, Array]:
    """Inputs [n, *input shape] and the reference's outputs [n, *output shape]."""
    with np.load(shared_models() / f"{name}.npz") as found:
        return found["x"], found["y"]


def reference_tensors(name: str, x: Array) -> dict[str, Array]:
    """Every tensor of the reference's interpreter after a run, by its name in the model file."""
    return reference.run_all_tensors(model_file(name), [x])


def difference(found: Array, expected: Array) -> str:
    """How two tensors differ, empty if they don't: integers to the bit, floats to the tolerance."""
    if found.shape != expected.shape or found.dtype != expected.dtype:
        return f"{found.dtype}{list(found.shape)}, not {expected.dtype}{list(expected.shape)}"
    a, b = found.astype(np.float64), expected.astype(np.float64)
    allowed = 0.0
    if expected.dtype.kind == "f":
        allowed = FLOAT_TOLERANCE * max(1.0, float(np.max(np.abs(b), initial=0.0)))
    # Written so that a NaN is a difference.
    wrong = ~(np.abs(a - b) <= allowed)
    if not wrong.any():
        return ""
    first = tuple(int(i) for i in np.argwhere(wrong)[0])
    return (
        f"{int(wrong.sum())} of {wrong.size} elements differ, the first at {list(first)}: "
        f"{found[first]}, not {expected[first]}"
    )
