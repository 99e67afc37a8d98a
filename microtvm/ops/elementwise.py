"""ADD, SUB and MUL of two tensors that broadcast to one shape, with a fused activation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np

from microtvm.ops import check
from microtvm.ops.base import NodeContext, Op, activation_range, attributes, float_activation
from microtvm.ops.expression import broadcast_read, centred_read, float_clamp, result
from microtvm.ops.interval import Interval, ends, full
from microtvm.ops.linear_form import LinearForm, linear_form
from microtvm.ops.quantize import quantize_multiplier
from microtvm.ops.requantize import Rescale, saturate
from microtvm.ops.rounding import multiply
from microtvm.ops.tflite_import import Importer, TfliteNode
from microtvm.te.tensor import Tensor
from microtvm.tir.expr import Expr
from microtvm.util import Array

DTYPES = ("int8", "uint8", "int16", "float32")


class _Elementwise(Op):
    """Inputs a and b of one dtype, any rank, shapes that broadcast as in numpy."""

    elementwise: ClassVar[bool] = True

    def infer(self, ctx: NodeContext) -> list[tuple[tuple[int, ...], str]]:
        check.input_count(ctx, 2)
        check.dtypes(ctx, ctx.inputs, DTYPES)
        check.activation(ctx)
        a, b = ctx.inputs
        try:
            shape = np.broadcast_shapes(a.shape, b.shape)
        except ValueError:
            raise ctx.fail(
                f"{check.describe(a)} and {check.describe(b)} do not broadcast to one shape"
            ) from None
        if a.dtype != "float32":
            check.output_dtype(ctx, a.dtype)
            check.per_tensor(ctx, a, b, ctx.out)
            check.no_zero_point(ctx, a, b, ctx.out)
            self._check_scales(ctx)
        return [(shape, a.dtype)]

    def evaluate(self, ctx: NodeContext, inputs: Sequence[Array]) -> list[Array]:
        a, b = inputs
        if ctx.out.dtype == "float32":
            low, high = float_activation(ctx.attr_str("activation"))
            return [np.clip(self._real(a, b), np.float32(low), np.float32(high))]
        return [self._elements(ctx, a, b).astype(ctx.out.dtype)]

    def intervals(
        self, ctx: NodeContext, inputs: Sequence[Interval | None]
    ) -> list[Interval | None]:
        """From both ends of both operands: the result is monotone in each, given the other."""
        at = ends(ctx.inputs, inputs, ctx.constants)
        if at is None or ctx.out.dtype == "float32":
            return [full(ctx.out)]
        corners = [self.evaluate(ctx, [a[0], b[1]])[0] for a in at for b in at]
        return [Interval.around(*corners)]

    def compute(self, ctx: NodeContext, inputs: Sequence[Tensor]) -> list[Tensor]:
        a, b = inputs
        shape = np.broadcast_shapes(a.shape, b.shape)
        if ctx.out.dtype == "float32":

            def real(*i: Expr) -> Expr:
                value = self._combine(broadcast_read(a, i), broadcast_read(b, i))
                return float_clamp(value, ctx.attr_str("activation"))

            return result(shape, real)
        form = self._linear(ctx)
        if form is not None:
            scalar = self._scalars(ctx)
            read = [t for k, t in enumerate(inputs) if k not in scalar]

            def linear(*i: Expr) -> Expr:
                return form([broadcast_read(t, i) for t in read], ctx.out.dtype)

            return result(shape, linear)
        low, high = activation_range(ctx)
        rescaled = self._rescaled_expression(ctx)

        def quantised(*i: Expr) -> Expr:
            x = centred_read(broadcast_read(a, i), ctx.inputs[0].zero, "zero_a")
            y = centred_read(broadcast_read(b, i), ctx.inputs[1].zero, "zero_b")
            return saturate(rescaled(x, y), low, high, ctx.out.dtype)

        return result(shape, quantised)

    def _elements(self, ctx: NodeContext, a: Array, b: Array) -> Array:
        """The quantised result as int64, within the activation's range."""
        left = a.astype(np.int64) - ctx.inputs[0].zero
        right = b.astype(np.int64) - ctx.inputs[1].zero
        value = self._quantised(ctx, left, right) + ctx.out.zero
        clipped: Array = np.clip(value, *activation_range(ctx))
        return clipped

    def _linear(self, ctx: NodeContext) -> LinearForm | None:
        """One multiply-add for each operand that varies, where it is proven equal."""
        scalars = self._scalars(ctx)
        slopes = self._slopes(ctx, scalars)
        if ctx.out.dtype not in ("int8", "uint8") or slopes is None or len(scalars) == 2:
            return None
        varying = [k for k in (0, 1) if k not in scalars]

        def reference(*operands: Array) -> Array:
            values = scalars | dict(zip(varying, operands, strict=True))
            return self._elements(ctx, values[0], values[1])

        return linear_form(
            reference,
            [slopes[k] for k in varying],
            [ctx.inputs[k].dtype for k in varying],
            activation_range(ctx),
        )

    def _scalars(self, ctx: NodeContext) -> dict[int, Array]:
        """Operands that are one constant element: position to value."""
        return {k: c.reshape(-1) for k, c in ctx.constants.items() if c.size == 1}

    def _slopes(self, ctx: NodeContext, scalars: dict[int, Array]) -> tuple[float, float] | None:
        """What a quantised result changes by with each operand; None where that is no constant."""
        raise NotImplementedError

    def _check_scales(self, ctx: NodeContext) -> None:
        raise NotImplementedError

    def _real(self, a: Array, b: Array) -> Array:
        raise NotImplementedError

    def _quantised(self, ctx: NodeContext, a: Array, b: Array) -> Array:
        """The result without its zero point, of operands without theirs."""
        raise NotImplementedError

    def _combine(self, a: Expr, b: Expr) -> Expr:
        """The operation on two elements of one scale."""
        raise NotImplementedError

    def _rescaled_expression(self, ctx: NodeContext) -> Callable[[Expr, Expr], Expr]:
        """As `_quantised`, of two elements, plus the zero point."""
        raise NotImplementedError


class _Sum(_Elementwise):
    """Both operands are first brought to the scale 2 max(s_a, s_b) / 2^20."""

    def _check_scales(self, ctx: NodeContext) -> None:
        # The reference's multiplier of the sum must be below 1.
        if sum_scales(ctx)[3] >= 1:
            raise check.scale_error(ctx)

    def _aligned(self, ctx: NodeContext, a: Array, b: Array) -> tuple[Array, Array]:
        left, ratio_a, ratio_b, _ = sum_scales(ctx)
        return (
            multiply(a << left, *quantize_multiplier(ratio_a)),
            multiply(b << left, *quantize_multiplier(ratio_b)),
        )

    def _rescaled(self, ctx: NodeContext, x: Array) -> Array:
        return multiply(x, *quantize_multiplier(sum_scales(ctx)[3]))

    def _rescaled_expression(self, ctx: NodeContext) -> Callable[[Expr, Expr], Expr]:
        left, ratio_a, ratio_b, ratio_out = sum_scales(ctx)
        info = np.iinfo(ctx.out.dtype)
        reach = (int(info.max) - int(info.min)) << left

        def aligned(ratio: float, name: str) -> Callable[[Expr], Expr]:
            if ratio == 0.5:
                # The operand of the larger scale: half of an even number is exact.
                return lambda x: x << (left - 1)
            scale = Rescale([ratio], name, reach)
            return lambda x: scale(x << left)

        scale_a, scale_b = aligned(ratio_a, "a"), aligned(ratio_b, "b")
        scale_out = Rescale([ratio_out], "sum", 2 * reach)
        return lambda a, b: scale_out(self._combine(scale_a(a), scale_b(b)), zero=ctx.out.zero)


class Add(_Sum):
    """a + b."""

    name: ClassVar[str] = "add"

    def _slopes(self, ctx: NodeContext, scalars: dict[int, Array]) -> tuple[float, float] | None:
        a, b = (t.scale / ctx.out.scale for t in ctx.inputs)
        return a, b

    def _real(self, a: Array, b: Array) -> Array:
        return a + b

    def _combine(self, a: Expr, b: Expr) -> Expr:
        return a + b

    def _quantised(self, ctx: NodeContext, a: Array, b: Array) -> Array:
        x, y = self._aligned(ctx, a, b)
        return self._rescaled(ctx, x + y)


class Sub(_Sum):
    """a - b."""

    name: ClassVar[str] = "sub"

    def _slopes(self, ctx: NodeContext, scalars: dict[int, Array]) -> tuple[float, float] | None:
        a, b = (t.scale / ctx.out.scale for t in ctx.inputs)
        return a, -b

    def _real(self, a: Array, b: Array) -> Array:
        return a - b

    def _combine(self, a: Expr, b: Expr) -> Expr:
        return a - b

    def _quantised(self, ctx: NodeContext, a: Array, b: Array) -> Array:
        x, y = self._aligned(ctx, a, b)
        return self._rescaled(ctx, x - y)


class Mul(_Elementwise):
    """a * b."""

    name: ClassVar[str] = "mul"

    def _slopes(self, ctx: NodeContext, scalars: dict[int, Array]) -> tuple[float, float] | None:
        if not scalars:
            return None
        slopes = [0.0, 0.0]
        for k, value in scalars.items():
            slopes[1 - k] = product_scale(ctx) * float(value[0] - np.int64(ctx.inputs[k].zero))
        return slopes[0], slopes[1]

    def _check_scales(self, ctx: NodeContext) -> None:
        check.rescaling(ctx, quantize_multiplier(product_scale(ctx))[1], _largest_product(ctx))

    def _real(self, a: Array, b: Array) -> Array:
        return a * b

    def _combine(self, a: Expr, b: Expr) -> Expr:
        return a * b

    def _quantised(self, ctx: NodeContext, a: Array, b: Array) -> Array:
        return multiply(a * b, *quantize_multiplier(product_scale(ctx)))

    def _rescaled_expression(self, ctx: NodeContext) -> Callable[[Expr, Expr], Expr]:
        scale = Rescale([product_scale(ctx)], "product", _largest_product(ctx))
        return lambda a, b: scale(self._combine(a, b), zero=ctx.out.zero)


def _largest_product(ctx: NodeContext) -> int:
    """Of two elements less their zero points."""
    span = (1 << 15) if ctx.out.dtype == "int16" else 255
    return span * span


def sum_scales(ctx: NodeContext) -> tuple[int, float, float, float]:
    """Of ADD and SUB: the left shift of both operands, the ratios of a, of b and of the result."""
    left = 15 if ctx.out.dtype == "int16" else 20
    a, b = (t.scale for t in ctx.inputs)
    common = 2 * max(a, b)
    return left, a / common, b / common, common / ((1 << left) * ctx.out.scale)


def product_scale(ctx: NodeContext) -> float:
    """The ratio s_a s_b / s_out of MUL, in float32 as the reference computes it."""
    a, b = (np.float32(t.scale) for t in ctx.inputs)
    with np.errstate(over="ignore", invalid="ignore"):
        return float(a * b / np.float32(ctx.out.scale))


def _import(node: TfliteNode) -> None:
    a, b = node.operands(2)
    activation = node.activation() if node.has_options else "none"
    if node.has_options and node.builtin in ("ADD", "SUB") and node.option_bool("PotScaleInt16"):
        types = [node.type_of(v) for v in (a, b, node.outputs[0])]
        if all(t.dtype == "int16" and t.quant and _is_power(t.quant.scale[0]) for t in types):
            node.report(
                "int16 with scales that are all powers of two, in the arithmetic of old converters",
                hint="convert the model again with a current converter",
            )
    node.add(node.builtin.lower(), (a, b), attributes(activation=activation))


def _is_power(scale: float) -> bool:
    return math.frexp(scale)[0] == 0.5


OPS: tuple[Op, ...] = (Add(), Sub(), Mul())

TFLITE = {
    "ADD": Importer(_import, "AddOptions"),
    "SUB": Importer(_import, "SubOptions"),
    "MUL": Importer(_import, "MulOptions"),
}
