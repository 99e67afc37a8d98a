"""conv2d and depthwise_conv2d against LiteRT's reference kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.ops.oracle import (
    Array,
    agree_single,
    assert_equal,
    ours,
    scale_of,
    values_of,
    we_refuse,
    zero_of,
)
from tests.reference import ACTIVATIONS, SAME, VALID, Tensor, constant, run, schema, single


def conv_options(
    padding: int = VALID,
    strides: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1),
    activation: int = 0,
) -> Any:
    """Options of CONV_2D."""
    return schema.Conv2DOptionsT(
        padding=padding,
        strideH=strides[0],
        strideW=strides[1],
        dilationHFactor=dilation[0],
        dilationWFactor=dilation[1],
        fusedActivationFunction=activation,
    )


def depthwise_options(
    padding: int = VALID,
    strides: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1),
    activation: int = 0,
    multiplier: int = 1,
) -> Any:
    """Options of DEPTHWISE_CONV_2D."""
    return schema.DepthwiseConv2DOptionsT(
        padding=padding,
        strideH=strides[0],
        strideW=strides[1],
        dilationHFactor=dilation[0],
        dilationWFactor=dilation[1],
        fusedActivationFunction=activation,
        depthMultiplier=multiplier,
    )


def output_size(size: int, kernel: int, stride: int, dilation: int, padding: int) -> int:
    """One dimension of the output, as TFLite's documentation gives it."""
    if padding == SAME:
        return -(-size // stride)
    return -(-(size - (kernel - 1) * dilation) // stride)


def float32_scales(rng: np.random.Generator, count: int, low: float, high: float) -> Array:
    """Scales for `count` channels."""
    return np.exp(rng.uniform(np.log(low), np.log(high), count)).astype(np.float32)


def random_case(
    rng: np.random.Generator, dtype: str, depthwise: bool
) -> tuple[list[Tensor | None], Tensor, Array, Any]:
    """Inputs, output, data and options of a random convolution that the reference takes."""
    kernel = tuple(int(k) for k in rng.integers(1, 5, 2))
    strides = (int(rng.integers(1, 4)), int(rng.integers(1, 4)))
    dilation = (int(rng.integers(1, 4)), int(rng.integers(1, 4)))
    padding = int(rng.choice([SAME, VALID]))
    batch = int(rng.integers(1, 4))
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    size = tuple(int(s + rng.integers(0, 7)) for s in spans)
    if padding == SAME and rng.random() < 0.5:
        size = (int(rng.integers(1, 9)), int(rng.integers(1, 9)))
    groups = int(rng.choice([1, 1, 2, 3]))
    depth = int(rng.integers(1, 5))
    per_group = int(rng.integers(1, 4))
    if depthwise:
        channels, outputs = depth, depth * per_group
        w_shape = (1, *kernel, outputs)
    else:
        channels, outputs = groups * depth, groups * per_group
        w_shape = (outputs, *kernel, depth)
    out = [
        output_size(n, k, s, d, padding)
        for n, k, s, d in zip(size, kernel, strides, dilation, strict=True)
    ]
    activation = ACTIVATIONS[str(rng.choice(list(ACTIVATIONS)))]
    make = depthwise_options if depthwise else conv_options
    options = make(padding, strides, dilation, activation)
    if depthwise:
        options.depthMultiplier = per_group
    x_shape, y_shape = (batch, *size, channels), (batch, *out, outputs)
    x = values_of(rng, dtype, x_shape)
    if dtype == "float32":
        w = rng.normal(size=w_shape).astype(np.float32)
        bias = rng.normal(size=outputs).astype(np.float32)
        tensors = [Tensor("x", x_shape, dtype), constant("w", w), constant("b", bias)]
        y = Tensor("y", y_shape, dtype)
    else:
        w = rng.integers(-127, 128, w_shape).astype(np.int8)
        s_x = scale_of(rng)
        per_channel = bool(rng.random() < 0.8)
        s_w = float32_scales(rng, outputs if per_channel else 1, 1e-3, 1e-1)
        spread = np.sqrt(np.prod(kernel) * depth) * 5000
        s_y = scale_of(
            rng, float(s_x * s_w.mean() * spread / 200), float(s_x * s_w.mean() * spread)
        )
        bias = rng.integers(-20000, 20000, outputs).astype(np.int32)
        tensors = [
            Tensor("x", x_shape, dtype, s_x, zero_of(rng, dtype)),
            constant("w", w, s_w, axis=3 if depthwise else 0),
            constant("b", bias, (np.float32(s_x) * s_w)),
        ]
        y = Tensor("y", y_shape, dtype, s_y, zero_of(rng, dtype))
    present: list[Tensor | None] = [*tensors]
    # The reference's other kernels demand a bias.
    if rng.random() < 0.2 and dtype == "float32" and depthwise:
        present = present[:2]
    return present, y, x, options


@pytest.mark.parametrize("dtype", ["int8", "float32"])
@pytest.mark.parametrize("code", ["CONV_2D", "DEPTHWISE_CONV_2D"])
def test_random(code: str, dtype: str) -> None:
    rng = np.random.default_rng([len(code), len(dtype)])
    for _ in range(150):
        inputs, y, x, options = random_case(rng, dtype, depthwise=code != "CONV_2D")
        agree_single(code, inputs, y, [x], options)


@pytest.mark.parametrize("dtype", ["int8", "float32"])
@pytest.mark.parametrize("code", ["CONV_2D", "DEPTHWISE_CONV_2D"])
def test_without_bias(code: str, dtype: str) -> None:
    """No bias, given as absent or left out, is a bias of zeros."""
    rng = np.random.default_rng(7)
    for case in range(20):
        inputs, y, x, options = random_case(rng, dtype, depthwise=code != "CONV_2D")
        outputs = y.shape[3]
        zeros = constant("b", np.zeros(outputs, "int32" if dtype == "int8" else dtype), None)
        expected = run(single(code, [*inputs[:2], zeros], y, options), x)
        absent = [*inputs[:2], None] if case % 2 else inputs[:2]
        assert_equal(ours(single(code, absent, y, options), x), expected)


def near_thresholds(ratios: Array, zero: int) -> Array:
    """Accumulators [n, channels] next to where the output of a channel with a ratio steps."""
    levels = np.arange(-130, 130) - zero + 0.5
    offsets = np.arange(-2, 3)
    return np.stack(
        [np.rint(np.add.outer(levels / r, offsets)).astype(np.int64).ravel() for r in ratios], -1
    )


@pytest.mark.parametrize("zero", [-128, 0, 5, 127])
def test_accumulators_next_to_thresholds(zero: int) -> None:
    # Weights of zero leave the bias, so that every channel has the accumulator that is asked for.
    rng = np.random.default_rng(zero + 200)
    ratios = np.exp(rng.uniform(np.log(1e-4), np.log(4.0), 16))
    wanted = near_thresholds(ratios, zero)
    scales = np.repeat(ratios.astype(np.float32)[None], len(wanted), 0).ravel()
    bias = wanted.ravel().astype(np.int32)
    w = constant("w", np.zeros((len(bias), 1, 1, 1), np.int8), scales)
    b = constant("b", bias, scales)
    x = Tensor("x", (1, 1, 1, 1), "int8", 1.0, 0)
    y = Tensor("y", (1, 1, 1, len(bias)), "int8", 1.0, zero)
    agree_single("CONV_2D", [x, w, b], y, [np.ones((1, 1, 1, 1), np.int8)], conv_options())


@pytest.mark.parametrize("exponent", range(-12, 3))
def test_exact_ties(exponent: int) -> None:
    """Scales that are powers of two: half of the steps are ties; above 0 the multiplier shifts
    left.
    """
    bias = np.arange(-700, 700, dtype=np.int32) * max(1, 1 << max(-exponent - 2, 0))
    scales = np.full(len(bias), 2.0**exponent, np.float32)
    w = constant("w", np.zeros((1, 1, 1, len(bias)), np.int8), scales, axis=3)
    b = constant("b", bias, scales)
    x = Tensor("x", (1, 1, 1, 1), "int8", 1.0, 0)
    y = Tensor("y", (1, 1, 1, len(bias)), "int8", 1.0, 0)
    data = [np.ones((1, 1, 1, 1), np.int8)]
    options = depthwise_options(multiplier=len(bias))
    agree_single("DEPTHWISE_CONV_2D", [x, w, b], y, data, options)


def convolution(
    x: Tensor | None = None,
    w: Tensor | None = None,
    b: Tensor | None = None,
    y: Tensor | None = None,
    options: Any = None,
    code: str = "CONV_2D",
) -> bytes:
    """A plain int8 convolution with one thing changed."""
    x = x or Tensor("x", (1, 4, 4, 2), "int8", 0.5, 0)
    w = w or constant("w", np.ones((3, 2, 2, 2), np.int8), 0.5)
    y = y or Tensor("y", (1, 3, 3, 3), "int8", 0.5, 0)
    inputs = [x, w] if b is None else [x, w, b]
    return single(code, inputs, y, options or conv_options())


HYBRID = Tensor("x", (1, 4, 4, 2), "float32")
WIDE = Tensor("x", (1, 4, 4, 2), "int16", 0.5, 0)
FLOAT_OUT = Tensor("y", (1, 3, 3, 3), "float32")
WIDE_OUT = Tensor("y", (1, 3, 3, 3), "int16", 0.5, 0)
ONES = np.ones((3, 2, 2, 2), np.int8)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (convolution(HYBRID, y=FLOAT_OUT), "hybrid"),
        (convolution(WIDE, y=WIDE_OUT), "int16x8"),
        (convolution(w=Tensor("w", (3, 2, 2, 2), "int8", 0.5)), "the weights must be constant"),
        (convolution(b=Tensor("b", (3,), "int32", 0.25)), "the bias must be constant"),
        (convolution(b=constant("b", np.ones(2, np.int32), 0.25)), "bias is int32.*of 3 elements"),
        (convolution(b=constant("b", np.ones(3, np.float32))), "must be int32 of 3 elements"),
        (convolution(w=constant("w", ONES)), "the weights int8.* have no scale"),
        (convolution(w=constant("w", ONES, 0.5, zero=1)), "the weights' zero point is not 0"),
        (
            convolution(w=constant("w", ONES, [0.5, 0.5], axis=1)),
            "2 scales on axis 1 of the weights; supported: one, or 3 on axis 0",
        ),
        (convolution(Tensor("x", (1, 4, 4, 3), "int8", 0.5, 0)), "do not go with 3 input channels"),
        (convolution(Tensor("x", (4, 4, 2), "int8", 0.5, 0)), "must both have 4 dimensions"),
        (
            convolution(Tensor("x", (1, 1, 4, 2), "int8", 0.5, 0)),
            "does not fit into an image of hei",
        ),
        (convolution(options=conv_options(strides=(0, 1))), "must be at least 1"),
        (convolution(options=conv_options(padding=7)), "padding 7 is unknown"),
        (convolution(options=conv_options(activation=4)), "fused activation tanh"),
        (convolution(options=schema.AddOptionsT()), "its options are not Conv2DOptions"),
        (
            convolution(
                w=constant("w", ONES, 0.5),
                b=constant("b", np.full(3, 2**31 - 1, np.int32), 0.25),
            ),
            "the accumulator of channel 0 can exceed 32 bits",
        ),
        (convolution(y=Tensor("y", (1, 3, 3, 3), "float32")), "output is float32.*must be int8"),
        (convolution(y=Tensor("y", (1, 3, 3, 3), "int8")), "has no scale and zero point"),
        (
            convolution(
                w=constant("w", np.ones((2, 2, 2, 4), np.int8), 0.5),
                options=depthwise_options(),
                code="DEPTHWISE_CONV_2D",
            ),
            "with multiplier 2 do not go with 2 input channels",
        ),
    ],
)
def test_refused(model: bytes, message: str) -> None:
    we_refuse(model, message)


def test_missing_options_are_refused() -> None:
    model = single(
        "CONV_2D",
        [Tensor("x", (1, 4, 4, 2), "int8", 0.5, 0), constant("w", ONES, 0.5)],
        Tensor("y", (1, 3, 3, 3), "int8", 0.5, 0),
    )
    we_refuse(model, "has no Conv2DOptions")
