"""dense against LiteRT's reference kernel of FULLY_CONNECTED."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.ops.oracle import agree_single, ours, scale_of, values_of, we_refuse, zero_of
from tests.ops.test_conv import float32_scales, near_thresholds
from tests.reference import ACTIVATIONS, Tensor, constant, schema, single


def options(activation: int = 0, keep: bool = False, **rest: Any) -> Any:
    """Options of FULLY_CONNECTED."""
    return schema.FullyConnectedOptionsT(
        fusedActivationFunction=activation, keepNumDims=keep, **rest
    )


@pytest.mark.parametrize("dtype", ["int8", "float32"])
def test_random(dtype: str) -> None:
    rng = np.random.default_rng(len(dtype))
    for _ in range(200):
        depth, outputs = int(rng.integers(1, 40)), int(rng.integers(1, 12))
        rank = int(rng.integers(1, 5))
        rows = tuple(int(n) for n in rng.integers(1, 4, rank - 1))
        keep = bool(rng.random() < 0.5)
        activation = ACTIVATIONS[str(rng.choice(list(ACTIVATIONS)))]
        x = values_of(rng, dtype, (*rows, depth))
        y_shape = (*rows, outputs) if keep else (int(np.prod(rows, dtype=int)), outputs)
        if dtype == "float32":
            inputs: list[Tensor | None] = [
                Tensor("x", x.shape, dtype),
                constant("w", rng.normal(size=(outputs, depth)).astype(np.float32)),
                constant("b", rng.normal(size=outputs).astype(np.float32)),
            ]
            y = Tensor("y", y_shape, dtype)
        else:
            s_x = scale_of(rng)
            s_w = float32_scales(rng, outputs if rng.random() < 0.5 else 1, 1e-3, 1e-1)
            unit = float(s_x * s_w.mean() * np.sqrt(depth) * 5000)
            s_y = scale_of(rng, unit / 2000, unit)
            w = rng.integers(-127, 128, (outputs, depth)).astype(np.int8)
            bias = rng.integers(-20000, 20000, outputs).astype(np.int32)
            inputs = [
                Tensor("x", x.shape, dtype, s_x, zero_of(rng, dtype)),
                constant("w", w, s_w),
                constant("b", bias, np.float32(s_x) * s_w),
            ]
            y = Tensor("y", y_shape, dtype, s_y, zero_of(rng, dtype))
        if rng.random() < 0.3:
            inputs[2] = None
        agree_single("FULLY_CONNECTED", inputs, y, [x], options(activation, keep))


@pytest.mark.parametrize("zero", [-128, 0, 5, 127])
@pytest.mark.parametrize("per_channel", [True, False])
def test_accumulators_next_to_thresholds(zero: int, per_channel: bool) -> None:
    rng = np.random.default_rng(zero + 200)
    for _ in range(16):
        ratios = np.exp(rng.uniform(np.log(1e-4), np.log(4.0), 1))
        bias = near_thresholds(ratios, zero).ravel().astype(np.int32)
        s_w = np.float32(ratios[0])
        scales = np.full(len(bias) if per_channel else 1, s_w)
        s_x = scale_of(rng)
        w = constant("w", np.zeros((len(bias), 1), np.int8), scales)
        # The bias' own scale is not read: the product of the other two is what counts.
        b = constant("b", bias, np.float32(s_x) * scales)
        x = Tensor("x", (1, 1), "int8", s_x, 0)
        y = Tensor("y", (1, len(bias)), "int8", s_x, zero)
        agree_single("FULLY_CONNECTED", [x, w, b], y, [np.ones((1, 1), np.int8)], options())


@pytest.mark.parametrize("exponent", range(-12, 3))
def test_exact_ties(exponent: int) -> None:
    bias = np.arange(-700, 700, dtype=np.int32) * max(1, 1 << max(-exponent - 2, 0))
    scale = 2.0**exponent
    w = constant("w", np.zeros((len(bias), 1), np.int8), scale)
    x = Tensor("x", (1, 1), "int8", 1.0, 0)
    y = Tensor("y", (1, len(bias)), "int8", 1.0, 0)
    inputs = [x, w, constant("b", bias, scale)]
    agree_single("FULLY_CONNECTED", inputs, y, [np.ones((1, 1), np.int8)], options())


def test_input_is_read_as_rows() -> None:
    """Without keep_dims an image can be a row."""
    rng = np.random.default_rng(3)
    x = values_of(rng, "int8", (2, 3, 4, 2))
    w = constant("w", rng.integers(-127, 128, (5, 24)).astype(np.int8), 0.01)
    inputs = [Tensor("x", x.shape, "int8", 0.1, 3), w]
    y = Tensor("y", (2, 5), "int8", 0.7, -9)
    agree_single("FULLY_CONNECTED", inputs, y, [x], options())


def layer(
    x: Tensor | None = None, w: Tensor | None = None, y: Tensor | None = None, opt: Any = None
) -> bytes:
    """A plain int8 layer with one thing changed."""
    x = x or Tensor("x", (2, 4), "int8", 0.5, 0)
    w = w or constant("w", np.ones((3, 4), np.int8), 0.5)
    y = y or Tensor("y", (2, 3), "int8", 0.5, 0)
    return single("FULLY_CONNECTED", [x, w], y, opt or options())


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (layer(Tensor("x", (2, 4), "float32"), y=Tensor("y", (2, 3), "float32")), "hybrid"),
        (
            layer(Tensor("x", (2, 4), "int16", 0.5), y=Tensor("y", (2, 3), "int16", 0.5)),
            "int16x8",
        ),
        (layer(opt=options(weightsFormat=1)), "shuffled weights"),
        (layer(Tensor("x", (2, 5), "int8", 0.5)), r"\[2, 5\] does not go with weights \[3, 4\]"),
        (layer(Tensor("x", (2, 2), "int8", 0.5), opt=options(keep=True)), "does not go with"),
        (layer(w=constant("w", np.ones((3, 4, 1), np.int8), 0.5)), "must have 2 dimensions"),
        (layer(w=constant("w", np.ones((3, 4), np.uint8), 0.5)), "inputs differ in type|uint8"),
    ],
)
def test_refused(model: bytes, message: str) -> None:
    we_refuse(model, message)


def test_weights_must_be_there() -> None:
    x, y = Tensor("x", (2, 4), "int8", 0.5), Tensor("y", (2, 3), "int8", 0.5)
    we_refuse(single("FULLY_CONNECTED", [x], y, options()), "takes 2 to 3 inputs, has 1 of 1")


def test_options_without_meaning_here_are_ignored() -> None:
    model = layer(opt=options(asymmetricQuantizeInputs=True))
    (found,) = ours(model, np.ones((2, 4), np.int8))
    np.testing.assert_array_equal(found, np.full((2, 3), 2, np.int8))
