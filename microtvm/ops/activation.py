"""RELU, RELU6, RELU_N1_TO_1, LOGISTIC and TANH as operators of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from microtvm import te
from microtvm.ops import check
from microtvm.ops.base import NodeContext, Op, float_activation, quantised_range
from microtvm.ops.expression import centred_read, float_clamp, result, table_read
from microtvm.ops.interval import Interval, full
from microtvm.ops.linear_form import linear_form
from microtvm.ops.quantize import quantize_multiplier
from microtvm.ops.requantize import Rescale, saturate
from microtvm.ops.rounding import half_away, multiply
from microtvm.ops.tflite_import import Importer, TfliteNode
from microtvm.te.tensor import Tensor
from microtvm.tir.expr import Expr, FloatImm
from microtvm.util import Array

DTYPES = ("int8", "uint8", "float32")


class _Clamp(Op):
    """Clamps to the real bounds of the activation `name`; input and output may differ in scale."""

    elementwise: ClassVar[bool] = True
    monotone: ClassVar[bool] = True

    def infer(self, ctx: NodeContext) -> list[tuple[tuple[int, ...], str]]:
        check.input_count(ctx, 1)
        (x,) = ctx.inputs
        check.dtypes(ctx, ctx.inputs, DTYPES)
        if x.dtype != "float32":
            check.output_dtype(ctx, x.dtype)
            check.per_tensor(ctx, x, ctx.out)
            check.rescaling(ctx, quantize_multiplier(clamp_scale(ctx))[1], 255)
        return [(x.shape, x.dtype)]

    def evaluate(self, ctx: NodeContext, inputs: Sequence[Array]) -> list[Array]:
        (x,) = inputs
        if ctx.out.dtype == "float32":
            low, high = float_activation(self.name)
            return [np.clip(x, np.float32(low), np.float32(high))]
        return [self._quantised(ctx, x.astype(np.int64)).astype(ctx.out.dtype)]

    def _quantised(self, ctx: NodeContext, x: Array) -> Array:
        """Of int64 elements, as int64."""
        difference = x - ctx.inputs[0].zero
        scaled = multiply(difference, *quantize_multiplier(clamp_scale(ctx))) + ctx.out.zero
        limited: Array = np.clip(scaled, *quantised_range(ctx.out, self.name))
        return limited

    def compute(self, ctx: NodeContext, inputs: Sequence[Tensor]) -> list[Tensor]:
        (x,) = inputs
        out = ctx.out
        if out.dtype == "float32":
            return result(x.shape, lambda *i: float_clamp(x[i], self.name))
        low, high = quantised_range(out, self.name)
        ratio = clamp_scale(ctx)
        form = linear_form(lambda v: self._quantised(ctx, v), [ratio], [x.dtype], (low, high))
        if form is not None:
            return result(x.shape, lambda *i: form([x[i]], out.dtype))
        scale = Rescale([ratio], "x", 1 << 16)

        def element(*i: Expr) -> Expr:
            difference = centred_read(x[i], ctx.inputs[0].zero, "zero_in")
            return saturate(scale(difference, zero=out.zero), low, high, out.dtype)

        return result(x.shape, element)


class Relu(_Clamp):
    """max(x, 0)."""

    name: ClassVar[str] = "relu"


class Relu6(_Clamp):
    """min(max(x, 0), 6)."""

    name: ClassVar[str] = "relu6"


class ReluN1To1(_Clamp):
    """min(max(x, -1), 1)."""

    name: ClassVar[str] = "relu_n1_to_1"


def clamp_scale(ctx: NodeContext) -> float:
    """The ratio s_in / s_out of RELU and its relatives, in float32 as the reference computes it."""
    with np.errstate(over="ignore", invalid="ignore"):
        return float(np.float32(ctx.inputs[0].scale) / np.float32(ctx.out.scale))


class _Table(Op):
    """A function of one element: of 8 bits, a table of 256 entries."""

    elementwise: ClassVar[bool] = True

    def infer(self, ctx: NodeContext) -> list[tuple[tuple[int, ...], str]]:
        check.input_count(ctx, 1)
        (x,) = ctx.inputs
        check.dtypes(ctx, ctx.inputs, DTYPES)
        if x.dtype != "float32":
            check.output_dtype(ctx, x.dtype)
            check.per_tensor(ctx, x, ctx.out)
            self._check_output(ctx)
        return [(x.shape, x.dtype)]

    def evaluate(self, ctx: NodeContext, inputs: Sequence[Array]) -> list[Array]:
        (x,) = inputs
        if ctx.out.dtype == "float32":
            return [self._real(x)]
        return [self.table(ctx)[x.astype(np.int64) - np.iinfo(x.dtype).min]]

    def compute(self, ctx: NodeContext, inputs: Sequence[Tensor]) -> list[Tensor]:
        (x,) = inputs
        if ctx.out.dtype == "float32":
            return result(x.shape, lambda *i: self._element(x[i]))
        table = self.table(ctx)
        return result(x.shape, lambda *i: table_read(table, x[i]))

    def intervals(
        self, ctx: NodeContext, inputs: Sequence[Interval | None]
    ) -> list[Interval | None]:
        """By looking at every entry between: nothing is said about how exp and tanh round."""
        (x,) = inputs
        if x is None:
            return [full(ctx.out)]
        table = self.table(ctx).astype(np.int64)
        index = np.arange(len(table)) + np.iinfo(ctx.inputs[0].dtype).min
        inside = (index >= x.low[:, None]) & (index <= x.high[:, None])
        low = np.where(inside, table, table.max()).min(axis=1)
        return [Interval(low, np.where(inside, table, table.min()).max(axis=1))]

    def table(self, ctx: NodeContext) -> Array:
        """The quantised outputs of the 256 inputs, from the smallest input upwards."""
        x, y = ctx.inputs[0], ctx.out
        info = np.iinfo(x.dtype)
        q = np.arange(info.min, info.max + 1, dtype=np.int64)
        real = self._real(np.float32(x.scale) * (q - x.zero).astype(np.float32))
        scaled = half_away(real * (np.float32(1) / np.float32(y.scale)))
        return np.clip(scaled.astype(np.int64) + y.zero, info.min, info.max).astype(y.dtype)

    def _check_output(self, ctx: NodeContext) -> None:
        """Raises where the reference prescribes the output's quantisation."""

    def _real(self, x: Array) -> Array:
        """The function of float32 values, correctly rounded to float32 but for double rounding."""
        raise NotImplementedError

    def _element(self, x: Expr) -> Expr:
        """The function of one float32 value."""
        raise NotImplementedError


class Logistic(_Table):
    """1 / (1 + exp(-x)); of 8 bits the output's scale is 1/256."""

    name: ClassVar[str] = "logistic"

    def _check_output(self, ctx: NodeContext) -> None:
        if ctx.out.scale != 1 / 256:
            raise ctx.fail(
                f"the output's scale is {ctx.out.scale:g}, must be 1/256",
                hint="the reference refuses the model too: convert it again",
            )

    def _real(self, x: Array) -> Array:
        with np.errstate(over="ignore"):
            exponential = np.exp(-x.astype(np.float64))
        return (1 / (1 + exponential)).astype(np.float32)

    def _element(self, x: Expr) -> Expr:
        # By the exponential of -|x|, so that nothing overflows.
        power = te.call("exp", FloatImm(0.0) - te.call("abs", x))
        positive = FloatImm(1.0) / (FloatImm(1.0) + power)
        return te.select(x >= FloatImm(0.0), positive, power * positive)


class Tanh(_Table):
    """The hyperbolic tangent."""

    name: ClassVar[str] = "tanh"

    def _real(self, x: Array) -> Array:
        return np.tanh(x.astype(np.float64)).astype(np.float32)

    def _element(self, x: Expr) -> Expr:
        return te.call("tanh", x)


def _import(node: TfliteNode) -> None:
    node.add(node.builtin.lower(), node.operands(1), {})


OPS: tuple[Op, ...] = (Relu(), Relu6(), ReluN1To1(), Logistic(), Tanh())

TFLITE = {op.name.upper(): Importer(_import) for op in OPS}
