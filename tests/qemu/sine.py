"""A sine regressor: one number in, its sine out, by a hidden layer of sixteen ReLUs, in int8.

The hidden units bend at fixed places; the last layer's weights are a least-squares fit.
"""

from __future__ import annotations

import numpy as np

from tests.reference import RELU, Operator, Tensor, build, constant, schema

UNITS = 16
SCALE_IN = 2 * np.pi / 255
SCALE_OUT = 2.2 / 255


def sine_model() -> bytes:
    """The .tflite file; `x` is 0 to 2 pi, `y` its sine."""
    bends = np.linspace(0, 2 * np.pi, UNITS, endpoint=False)
    x = np.linspace(0, 2 * np.pi, 500)
    hidden = np.maximum(0, x[:, np.newaxis] - bends)
    slopes = np.linalg.lstsq(hidden, np.sin(x), rcond=None)[0]
    scale_one, scale_hidden = 1 / 127, 2 * np.pi / 255
    scale_slope = float(np.abs(slopes).max()) / 127
    tensors = [
        Tensor("x", (1, 1), "int8", SCALE_IN, -128),
        constant("ones", np.full((UNITS, 1), 127, np.int8), scale_one),
        constant(
            "bends",
            np.round(-bends / (SCALE_IN * scale_one)).astype(np.int32),
            SCALE_IN * scale_one,
        ),
        Tensor("hidden", (1, UNITS), "int8", scale_hidden, -128),
        constant("slopes", np.round(slopes / scale_slope).astype(np.int8)[np.newaxis], scale_slope),
        constant("nothing", np.zeros(1, np.int32), scale_hidden * scale_slope),
        Tensor("y", (1, 1), "int8", SCALE_OUT, 0),
    ]
    relu = schema.FullyConnectedOptionsT(fusedActivationFunction=RELU)
    operators = [
        Operator("FULLY_CONNECTED", ("x", "ones", "bends"), ("hidden",), relu),
        Operator(
            "FULLY_CONNECTED",
            ("hidden", "slopes", "nothing"),
            ("y",),
            schema.FullyConnectedOptionsT(),
        ),
    ]
    return build(tensors, operators, ["x"], ["y"])
