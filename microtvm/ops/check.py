"""What several operators demand of their inputs. Every function raises the context's ModelError."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from microtvm.errors import ModelError
from microtvm.graph.ir import DTYPES, TensorType
from microtvm.ops.base import NodeContext
from microtvm.ops.quantize import INT32_MAX

QUANTISED = ("int8", "uint8", "int16")
"""Element types that can carry scale and zero point through arithmetic."""
ACTIVATIONS = ("none", "relu", "relu6", "relu_n1_to_1")


def describe(t: TensorType) -> str:
    """A type in a message: int8[1, 4]."""
    return f"{t.dtype}{list(t.shape)}"


def input_count(ctx: NodeContext, low: int, high: int | None = None) -> None:
    """The node has `low` to `high` inputs (exactly `low` without `high`) and one output."""
    high = low if high is None else high
    if not low <= len(ctx.inputs) <= high:
        wanted = f"{low}" if low == high else f"{low} to {high}"
        raise ctx.fail(f"takes {wanted} inputs, has {len(ctx.inputs)}")
    if len(ctx.outputs) != 1:
        raise ctx.fail(f"has one output, the node names {len(ctx.outputs)}")


def dtypes(ctx: NodeContext, types: Sequence[TensorType], allowed: Sequence[str]) -> None:
    """Every type's dtype is one of `allowed`, and all are the same."""
    for i, t in enumerate(types):
        if t.dtype not in allowed:
            raise ctx.fail(
                f"input {i} is {describe(t)}; supported: {', '.join(allowed)}",
                hint="convert the model to float32 or to full int8 quantisation",
            )
        if t.dtype != types[0].dtype:
            raise ctx.fail(
                f"inputs differ in type: {describe(types[0])} and {describe(t)}",
                hint="quantise the whole model, or insert QUANTIZE before the operator",
            )


def per_tensor(ctx: NodeContext, *types: TensorType) -> None:
    """Every type has one scale, finite and positive, and one zero point that its dtype can hold."""
    for t in types:
        if t.quant is None:
            raise ctx.fail(
                f"{describe(t)} has no scale and zero point",
                hint="convert the model with a representative data set",
            )
        if t.quant.axis is not None or len(t.quant.scale) != 1:
            raise ctx.fail(
                f"{describe(t)} is quantised per channel; the operator needs one scale",
            )
        if not (np.isfinite(t.scale) and t.scale > 0):
            raise ctx.fail(f"{describe(t)} has scale {t.scale}; it must be positive and finite")
        info = np.iinfo(t.dtype)
        if not info.min <= t.zero <= info.max:
            raise ctx.fail(f"{describe(t)} has zero point {t.zero}, outside its type")


def no_zero_point(ctx: NodeContext, *types: TensorType) -> None:
    """Types of 16 bits are symmetric."""
    for t in types:
        if t.dtype == "int16" and t.zero != 0:
            raise ctx.fail(f"{describe(t)} has zero point {t.zero}; int16 must have 0")


def output_dtype(ctx: NodeContext, dtype: str) -> None:
    """The output's dtype is `dtype`."""
    if ctx.out.dtype != dtype:
        raise ctx.fail(f"output is {describe(ctx.out)}, must be {dtype}")


def activation(ctx: NodeContext) -> None:
    """The fused activation is a known one."""
    name = ctx.attr_str("activation")
    if name not in ACTIVATIONS:
        raise ctx.fail(f"activation {name!r} is unknown; known: {', '.join(ACTIVATIONS)}")


def rescaling(ctx: NodeContext, exponent: int, largest: int) -> None:
    """Magnitudes up to `largest`, shifted left by a multiplier's exponent, stay inside int32."""
    if largest << max(exponent, 0) > INT32_MAX:
        raise scale_error(ctx)


def scale_error(ctx: NodeContext) -> ModelError:
    """The error where an output's scale is so small that int32 would overflow."""
    scales = " and ".join(f"{t.scale:g}" for t in ctx.inputs)
    return ctx.fail(
        f"the output's scale {ctx.out.scale:g} is too small for inputs of scale {scales}",
        hint="the quantisation parameters are damaged: convert the model again",
    )


def axis(ctx: NodeContext, value: int, rank: int) -> None:
    """An axis counts from the front and lies inside the rank."""
    if not 0 <= value < rank:
        raise ctx.fail(f"axis {value} is outside a tensor of rank {rank}")


def data_types() -> tuple[str, ...]:
    """Every dtype that can be moved without being computed with."""
    return tuple(DTYPES)
