"""SHAPE, STRIDED_SLICE and PACK where they compute a shape: they leave nothing but constants.

Converters write them before RESHAPE where a model's batch was unknown. All shapes are known here,
so that there is no operator of the graph for them.
"""

from __future__ import annotations

import numpy as np

from microtvm.ops.base import Op
from microtvm.ops.tflite_import import Importer, TfliteNode
from microtvm.util import Array

_OUT_TYPES = {2: np.int32, 4: np.int64}
"""Values of the schema's enum TensorType that SHAPE can make."""


def _import_shape(node: TfliteNode) -> None:
    (x,) = node.operands(1)
    code = node.option_int("OutType") if node.has_options else 2
    # The reader's default of the field is float32; the reference takes int32 for it.
    node.fold(np.array(node.type_of(x).shape, _OUT_TYPES.get(code, np.int32)))


def _import_strided_slice(node: TfliteNode) -> None:
    x = _constant(node, node.operands(4)[0])
    begin, end, strides = (node.constant_ints(i) for i in (1, 2, 3))
    if not len(begin) == len(end) == len(strides) <= x.ndim or min(strides, default=1) < 1:
        raise node.fail(f"slice {begin} to {end} by {strides} of {x.ndim} dimensions")
    begins, ends, drops = (
        node.option_int(name) for name in ("BeginMask", "EndMask", "ShrinkAxisMask")
    )
    index: list[int | slice] = []
    for axis, (first, last, step) in enumerate(zip(begin, end, strides, strict=True)):
        bit = 1 << axis
        if drops & bit:
            if not -x.shape[axis] <= first < x.shape[axis]:
                raise node.fail(f"element {first} of {x.shape[axis]}")
            index.append(first)
        else:
            index.append(slice(None if begins & bit else first, None if ends & bit else last, step))
    _fold(node, x[tuple(index)])


def _import_pack(node: TfliteNode) -> None:
    arrays = [_constant(node, v) for v in node.operands(1, 64)]
    axis = node.option_int("Axis")
    if node.option_int("ValuesCount") != len(arrays):
        raise node.fail(f"packs {node.option_int('ValuesCount')} values, has {len(arrays)}")
    same = all((a.shape, a.dtype) == (arrays[0].shape, arrays[0].dtype) for a in arrays)
    if not same or not -arrays[0].ndim - 1 <= axis <= arrays[0].ndim:
        raise node.fail(f"can't pack {[a.shape for a in arrays]} on axis {axis}")
    _fold(node, np.stack(arrays, axis))


def _constant(node: TfliteNode, value: str) -> Array:
    array = node.constant(value)
    if array is None or array.dtype.kind != "i" or array.dtype.itemsize < 4:
        raise node.fail("is supported only where it computes a shape, from constants")
    return array


def _fold(node: TfliteNode, array: Array) -> None:
    if array.size == 0:
        raise node.fail("makes an empty tensor")
    node.fold(np.array(array))


OPS: tuple[Op, ...] = ()

TFLITE = {
    "SHAPE": Importer(_import_shape, "ShapeOptions"),
    "STRIDED_SLICE": Importer(_import_strided_slice, "StridedSliceOptions"),
    "PACK": Importer(_import_pack, "PackOptions"),
}
