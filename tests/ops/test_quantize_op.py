"""QUANTIZE and DEQUANTIZE."""

from __future__ import annotations

import numpy as np
import pytest

from microtvm.ops.quantize_op import PAIRS
from tests.ops.oracle import (
    agree_single,
    both_refuse,
    every_value,
    ours,
    scale_of,
    shape_of,
    tensor_of,
    values_of,
    we_refuse,
)
from tests.reference import Tensor, schema, single

REQUANTISATIONS = [(a, b) for a, made in PAIRS.items() if a != "float32" for b in made]


@pytest.mark.parametrize("dtype", PAIRS["float32"])
def test_near_ties_of_a_float(dtype: str) -> None:
    rng = np.random.default_rng(1)
    for _ in range(60):
        scale = np.float32(scale_of(rng))
        ties = ((np.arange(-300, 300) + 0.5) * scale).astype(np.float32)
        x = np.concatenate(
            [
                ties,
                np.nextafter(ties, np.float32(-np.inf)),
                np.nextafter(ties, np.float32(np.inf)),
                (rng.normal(size=300) * 100 * scale).astype(np.float32),
                np.array([0.0, -0.0, 1e-30, 3e5, -3e5], np.float32) * scale,
            ]
        )
        agree_single(
            "QUANTIZE",
            [Tensor("x", x.shape, "float32")],
            tensor_of(rng, "y", x.shape, dtype, float(scale)),
            [x],
            schema.QuantizeOptionsT(),
        )


@pytest.mark.parametrize(("source", "made"), REQUANTISATIONS)
def test_every_value_to_another_quantisation(source: str, made: str) -> None:
    rng = np.random.default_rng(2)
    x = every_value(source)
    for case in range(60 if source == "int16" else 200):
        scale = scale_of(rng)
        tie = (float(rng.integers(0, 120)) + 0.5) / float(rng.integers(1, 256))
        ratio = (tie, 1.0, 2.0, tie, 1 / 256, scale_of(rng, 1e-3, 100.0))[case % 6]
        agree_single(
            "QUANTIZE",
            [tensor_of(rng, "x", x.shape, source, scale)],
            tensor_of(rng, "y", x.shape, made, float(np.float32(scale / ratio))),
            [x],
            schema.QuantizeOptionsT(),
        )


def test_between_int8_and_uint8_of_one_scale() -> None:
    for a, b, zero in (("int8", "uint8", 128), ("uint8", "int8", -128)):
        x = every_value(a)
        agree_single(
            "QUANTIZE",
            [Tensor("x", x.shape, a, 0.3, 5)],
            Tensor("y", x.shape, b, 0.3, min(max(5 + zero, np.iinfo(b).min), np.iinfo(b).max)),
            [x],
            schema.QuantizeOptionsT(),
        )


def test_floats_that_no_integer_holds() -> None:
    # Undefined in the reference, whose x86-64 build gives the lowest for all of them.
    x = np.array([np.nan, np.inf, -np.inf, 1e30, -1e30], np.float32)
    built = single(
        "QUANTIZE",
        [Tensor("x", x.shape, "float32")],
        Tensor("y", x.shape, "int8", 0.5, 3),
        schema.QuantizeOptionsT(),
    )
    assert ours(built, x)[0].tolist() == [-128, 127, -128, 127, -128]


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16"])
def test_dequantize_every_value(dtype: str) -> None:
    rng = np.random.default_rng(3)
    x = every_value(dtype)
    for _ in range(50):
        agree_single(
            "DEQUANTIZE",
            [tensor_of(rng, "x", x.shape, dtype, scale_of(rng))],
            Tensor("y", x.shape, "float32"),
            [x],
            schema.DequantizeOptionsT(),
        )


def test_dequantize_is_exact() -> None:
    x = every_value("int8")
    built = single(
        "DEQUANTIZE",
        [Tensor("x", x.shape, "int8", 0.1, -7)],
        Tensor("y", x.shape, "float32"),
        schema.DequantizeOptionsT(),
    )
    (found,) = ours(built, x)
    expected = [np.float32(0.1) * np.float32(int(v) + 7) for v in x]
    assert found.tolist() == [float(v) for v in expected]


def test_dequantize_per_channel() -> None:
    rng = np.random.default_rng(4)
    for axis in range(3):
        shape = (3, 4, 5)
        scales = [scale_of(rng) for _ in range(shape[axis])]
        zeros = [int(z) for z in rng.integers(-128, 128, shape[axis])]
        agree_single(
            "DEQUANTIZE",
            [Tensor("x", shape, "int8", scales, zeros, axis)],
            Tensor("y", shape, "float32"),
            [values_of(rng, "int8", shape)],
            schema.DequantizeOptionsT(),
            version=5,
        )


def test_shapes() -> None:
    rng = np.random.default_rng(5)
    for _ in range(20):
        shape = shape_of(rng, 0)
        real, quantised = Tensor("x", shape, "float32"), tensor_of(rng, "y", shape, "int8", 0.1)
        data = values_of(rng, "float32", shape)
        agree_single("QUANTIZE", [real], quantised, [data], schema.QuantizeOptionsT())


def test_refused() -> None:
    def quantize(x: Tensor, y: Tensor) -> bytes:
        return single("QUANTIZE", [x], y, schema.QuantizeOptionsT())

    def tensor(name: str, dtype: str, scale: float | None = 0.5, zero: int = 0) -> Tensor:
        return Tensor(name, (3,), dtype, scale, zero)

    both_refuse(quantize(tensor("x", "int16"), tensor("y", "uint8")), "can't make uint8 of int16")
    both_refuse(
        quantize(tensor("x", "int16"), tensor("y", "int16", 0.5, 1)),
        "has zero point 1; int16 must have 0",
    )
    both_refuse(quantize(tensor("x", "float32", None), tensor("y", "int8", None)), "no scale")
    both_refuse(single("DEQUANTIZE", [tensor("x", "int32")], tensor("y", "float32", None)), "int32")
    we_refuse(
        quantize(tensor("x", "int8"), tensor("y", "int8", 1e-9)),
        "the output's scale 1e-09 is too small for inputs of scale 0.5",
    )
    we_refuse(
        single("DEQUANTIZE", [tensor("x", "int8", None)], tensor("y", "float32", None)),
        "has no scale and zero point",
    )
