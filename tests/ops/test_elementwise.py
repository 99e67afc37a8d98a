"""ADD, SUB and MUL."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.ops.oracle import (
    agree_single,
    both_refuse,
    every_value,
    scale_of,
    tensor_of,
    values_of,
    we_refuse,
    zero_of,
)
from tests.reference import ACTIVATIONS, Tensor, schema, single

CODES = ("ADD", "SUB", "MUL")
OPTIONS = {"ADD": schema.AddOptionsT, "SUB": schema.SubOptionsT, "MUL": schema.MulOptionsT}
ACTIVATION_NAMES = tuple(ACTIVATIONS)


def options(code: str, activation: str = "none", **more: Any) -> object:
    return OPTIONS[code](fusedActivationFunction=ACTIVATIONS[activation], **more)


def scales(rng: np.random.Generator, code: str, dtype: str) -> tuple[float, float, float]:
    """Scales of a, b and the output: most outputs are inside the range; ties are frequent."""
    a, b = scale_of(rng, 1e-3, 1.0), scale_of(rng, 1e-3, 1.0)
    if rng.random() < 0.3:
        b = a * 2.0 ** int(rng.integers(-3, 4))
    product = a * b * (16384 if dtype == "int16" else 64)
    typical = product if code == "MUL" else max(a, b)
    exact = 2.0 ** int(rng.integers(-2, 3))
    out = typical * (exact if rng.random() < 0.3 else scale_of(rng, 0.3, 10.0))
    return a, b, float(np.float32(out))


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("code", CODES)
def test_every_pair_of_values(code: str, dtype: str) -> None:
    rng = np.random.default_rng(1)
    a, b = np.meshgrid(every_value(dtype), every_value(dtype))
    for case in range(40):
        sa, sb, so = scales(rng, code, dtype)
        agree_single(
            code,
            [tensor_of(rng, "a", a.shape, dtype, sa), tensor_of(rng, "b", b.shape, dtype, sb)],
            tensor_of(rng, "y", a.shape, dtype, so),
            [a, b],
            options(code, ACTIVATION_NAMES[case % 4]),
        )


@pytest.mark.parametrize("code", CODES)
def test_int16(code: str) -> None:
    rng = np.random.default_rng(2)
    for case in range(60):
        sa, sb, so = scales(rng, code, "int16")
        more = {} if code == "MUL" else {"potScaleInt16": False}
        agree_single(
            code,
            [tensor_of(rng, n, (4000,), "int16", s) for n, s in (("a", sa), ("b", sb))],
            tensor_of(rng, "y", (4000,), "int16", so),
            [values_of(rng, "int16", (4000,)) for _ in range(2)],
            options(code, ACTIVATION_NAMES[case % 4], **more),
        )


def broadcast_shapes(rng: np.random.Generator) -> tuple[tuple[int, ...], tuple[int, ...]]:
    full = [int(n) for n in rng.integers(1, 5, rng.integers(0, 6))]
    pair = [[1 if rng.random() < 0.35 else n for n in full] for _ in range(2)]
    pair[rng.integers(2)] = pair[rng.integers(2)][int(rng.integers(0, len(full) + 1)) :]
    return tuple(pair[0]), tuple(pair[1])


@pytest.mark.parametrize("dtype", ["int8", "int16", "float32"])
@pytest.mark.parametrize("code", CODES)
def test_broadcast_and_constant_operands(code: str, dtype: str) -> None:
    rng = np.random.default_rng(3)
    more = {} if code == "MUL" else {"potScaleInt16": False}
    for case in range(120):
        shapes = broadcast_shapes(rng)
        data = [values_of(rng, dtype, shape) for shape in shapes]
        sa, sb, so = scales(rng, code, dtype)
        inputs = [
            tensor_of(rng, n, x.shape, dtype, s)
            for n, x, s in zip("ab", data, (sa, sb), strict=True)
        ]
        fixed = case % 3  # 0: none, 1: a, 2: b is a constant
        if fixed:
            t = inputs[fixed - 1]
            inputs[fixed - 1] = Tensor(
                t.name, t.shape, t.dtype, t.scale, t.zero, data=data[fixed - 1]
            )
        agree_single(
            code,
            inputs,
            tensor_of(rng, "y", tuple(np.broadcast_shapes(*shapes)), dtype, so),
            [x for i, x in enumerate(data) if i != fixed - 1],
            options(code, ACTIVATION_NAMES[case % 4], **more),
        )


def test_an_operand_used_twice() -> None:
    rng = np.random.default_rng(4)
    x = tensor_of(rng, "a", (256,), "int8", 0.1)
    for code in CODES:
        y = tensor_of(rng, "y", (256,), "int8", 0.3)
        agree_single(code, [x, x], y, [every_value("int8")], options(code))


def test_the_product_of_scales_is_taken_in_float32() -> None:
    # Scales for which the ratio in double gives another multiplier, and a product near a tie.
    rng = np.random.default_rng(5)
    found = 0
    a, b = np.meshgrid(every_value("int8"), every_value("int8"))
    for _ in range(20):
        product, half = int(rng.integers(1000, 16000)), int(rng.integers(20, 100)) + 0.5
        sa, sb = (np.float32(scale_of(rng, 1e-3, 1.0)) for _ in range(2))
        so = np.float32(float(sa) * float(sb) * product / half)
        found += float(sa * sb / so) != float(sa) * float(sb) / float(so)
        agree_single(
            "MUL",
            [Tensor("a", a.shape, "int8", float(sa)), Tensor("b", b.shape, "int8", float(sb))],
            Tensor("y", a.shape, "int8", float(so)),
            [a, b],
            options("MUL"),
        )
    assert found > 10


@pytest.mark.parametrize("code", CODES)
def test_float32_activations(code: str) -> None:
    rng = np.random.default_rng(6)
    for activation in ACTIVATIONS:
        data = [values_of(rng, "float32", (3, 50)) for _ in range(2)]
        t = [Tensor(n, (3, 50), "float32") for n in "aby"]
        agree_single(code, t[:2], t[2], data, options(code, activation))


def test_refused_by_the_reference_too() -> None:
    def pair(a: Tensor, b: Tensor, **more: Any) -> bytes:
        return single("ADD", [a, b], Tensor("y", a.shape, a.dtype, 0.5), options("ADD", **more))

    a = Tensor("a", (2, 3), "int8", 0.5)
    both_refuse(pair(a, Tensor("b", (4,), "int8", 0.5)), "do not broadcast to one shape")
    both_refuse(pair(a, Tensor("b", (3,), "uint8", 0.5)), "inputs differ in type")
    both_refuse(
        pair(Tensor("a", (3,), "int16", 0.3, 1), Tensor("b", (3,), "int16", 0.3)),
        "has zero point 1; int16 must have 0",
    )


def test_refused() -> None:
    def model(a: Tensor, b: Tensor, y: Tensor, code: str = "ADD", **more: Any) -> bytes:
        return single(code, [a, b], y, options(code, **more))

    a, b, y = (Tensor(n, (2, 3), "int8", 0.5) for n in "aby")
    plain = Tensor("b", (2, 3), "int8")
    we_refuse(model(a, plain, y), "has no scale and zero point")
    channels = Tensor("b", (2, 3), "int8", (0.1, 0.2, 0.3), axis=1)
    we_refuse(model(a, channels, y), "quantised per channel; the operator needs one scale")
    tiny = Tensor("y", (2, 3), "int8", 1e-8)
    we_refuse(model(a, b, tiny), "output's scale 1e-08 is too small for inputs of scale 0.5")
    we_refuse(model(a, b, tiny, "MUL"), "output's scale 1e-08 is too small")
    ints = [Tensor(n, (3,), "int32") for n in "aby"]
    we_refuse(model(*ints), "input 0 is int32.3.; supported: int8, uint8, int16, float32")
    pot = [Tensor(n, (3,), "int16", 2.0**-9) for n in "aby"]
    we_refuse(model(*pot), "scales that are all powers of two")
    nan = Tensor("b", (2, 3), "int8", float("nan"))
    we_refuse(model(a, nan, y), "scale")
    far = Tensor("b", (2, 3), "int8", 0.5, 200)
    we_refuse(model(a, far, y), "zero point")


def test_a_zero_point_at_each_end() -> None:
    rng = np.random.default_rng(7)
    a, b = np.meshgrid(every_value("int8"), every_value("int8"))
    for code in CODES:
        for za, zb, zy in ((-128, 127, -128), (127, 127, 127), (-128, -128, zero_of(rng, "int8"))):
            agree_single(
                code,
                [Tensor("a", a.shape, "int8", 0.02, za), Tensor("b", b.shape, "int8", 0.03, zb)],
                Tensor("y", a.shape, "int8", 0.05, zy),
                [a, b],
                options(code, "relu6"),
            )


def test_scales_that_are_far_apart() -> None:
    a, b = np.meshgrid(every_value("int8"), every_value("int8"))
    for code in CODES:
        for sa, sb, so in (
            (1e-12, 1.0, 1.0),
            (1.0, 3e-10, 0.7),
            (0.01, 0.02, 1e9),
            (1e-9, 1e-9, 1.0),
        ):
            agree_single(
                code,
                [Tensor("a", a.shape, "int8", sa, 9), Tensor("b", b.shape, "int8", sb, -9)],
                Tensor("y", a.shape, "int8", so, 1),
                [a, b],
                options(code),
            )
