"""RESHAPE (with SQUEEZE and EXPAND_DIMS) and the identity: the same elements in the same order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from microtvm.ops import check
from microtvm.ops.base import NodeContext, Op, Views
from microtvm.ops.expression import result
from microtvm.ops.tflite_import import Importer, TfliteNode
from microtvm.te.tensor import Tensor
from microtvm.util import Array


class Reshape(Op):
    """The output's shape is the graph's; elements are never rescaled, even where scales differ."""

    name: ClassVar[str] = "reshape"
    monotone: ClassVar[bool] = True

    def infer(self, ctx: NodeContext) -> list[tuple[tuple[int, ...], str]]:
        check.input_count(ctx, 1)
        (x,) = ctx.inputs
        if x.elements != ctx.out.elements:
            raise ctx.fail(
                f"{check.describe(x)} has {x.elements} elements, "
                f"{check.describe(ctx.out)} has {ctx.out.elements}"
            )
        return [(ctx.out.shape, x.dtype)]

    def evaluate(self, ctx: NodeContext, inputs: Sequence[Array]) -> list[Array]:
        return [inputs[0].reshape(ctx.out.shape)]

    def views(self, ctx: NodeContext) -> Views:
        return Views(((ctx.out.elements,),), ((ctx.out.elements,),))

    def compute(self, ctx: NodeContext, inputs: Sequence[Tensor]) -> list[Tensor]:
        (x,) = inputs
        return result(x.shape, lambda *i: x[i])


class Copy(Op):
    """The identity."""

    name: ClassVar[str] = "copy"
    elementwise: ClassVar[bool] = True
    monotone: ClassVar[bool] = True

    def infer(self, ctx: NodeContext) -> list[tuple[tuple[int, ...], str]]:
        check.input_count(ctx, 1)
        return [(ctx.inputs[0].shape, ctx.inputs[0].dtype)]

    def evaluate(self, ctx: NodeContext, inputs: Sequence[Array]) -> list[Array]:
        return [inputs[0].copy()]

    def compute(self, ctx: NodeContext, inputs: Sequence[Tensor]) -> list[Tensor]:
        (x,) = inputs
        return result(x.shape, lambda *i: x[i])


def _import_reshape(node: TfliteNode) -> None:
    x = node.operands(1, 2)[0]
    shape = _target_shape(node)
    known = math.prod(n for n in shape if n != -1)
    elements = node.type_of(x).elements
    if shape.count(-1) > 1 or any(n < 1 and n != -1 for n in shape) or elements % known:
        raise node.fail(f"can't give {list(shape)} to a tensor of {elements} elements")
    _add(node, x, tuple(elements // known if n == -1 else n for n in shape))


def _target_shape(node: TfliteNode) -> tuple[int, ...]:
    """The second input where it is a vector of int32, as the reference has it, else the option."""
    if len(node.operands(1, 2)) == 2:
        array = node.constant(node.operands(2)[1])
        if array is None or (array.dtype == np.int32 and array.ndim == 1):
            return node.constant_ints(1)
    shape = node.option_ints("NewShape")
    return () if shape == (0,) else shape  # the scalar of old converters


def _import_squeeze(node: TfliteNode) -> None:
    (x,) = node.operands(1)
    shape = node.type_of(x).shape
    axes = node.option_ints("SqueezeDims") if node.has_options else ()
    for axis in axes:
        if not -len(shape) <= axis < len(shape) or shape[axis] != 1:
            raise node.fail(f"can't drop axis {axis} of {list(shape)}: it is not a 1")
    dropped = {a % len(shape) for a in axes} or {i for i, n in enumerate(shape) if n == 1}
    _add(node, x, tuple(n for i, n in enumerate(shape) if i not in dropped))


def _import_expand_dims(node: TfliteNode) -> None:
    x = node.operands(2)[0]
    shape = node.type_of(x).shape
    axes = node.constant_ints(1)
    if len(axes) != 1 or not -len(shape) - 1 <= axes[0] <= len(shape):
        raise node.fail(f"can't insert axis {list(axes)} into {list(shape)}")
    at = axes[0] % (len(shape) + 1)
    _add(node, x, (*shape[:at], 1, *shape[at:]))


def _add(node: TfliteNode, x: str, shape: tuple[int, ...]) -> None:
    node.set_output_shape(shape)
    node.add("reshape", (x,), {})


OPS: tuple[Op, ...] = (Reshape(), Copy())

TFLITE = {
    "RESHAPE": Importer(_import_reshape, "ReshapeOptions", ignored=("NewShape",)),
    "SQUEEZE": Importer(_import_squeeze, "SqueezeOptions"),
    "EXPAND_DIMS": Importer(_import_expand_dims, "ExpandDimsOptions"),
}
