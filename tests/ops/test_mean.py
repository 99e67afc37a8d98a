"""MEAN."""

from __future__ import annotations

import numpy as np
import pytest

from tests.ops.oracle import (
    agree_single,
    both_refuse,
    scale_of,
    shape_of,
    tensor_of,
    values_of,
    we_refuse,
)
from tests.reference import Tensor, constant, schema, single


@pytest.mark.parametrize("dtype", ["int8", "uint8", "float32"])
def test_axes_shapes_and_scales(dtype: str) -> None:
    rng = np.random.default_rng(1)
    for case in range(300):
        shape = shape_of(rng, 0)
        rank = len(shape)
        axes = [i for i in range(rank) if rng.random() < 0.5]
        named = [i - rank if rng.random() < 0.5 else i for i in rng.permutation(axes)]
        keep = case % 2 == 0
        count = int(np.prod([shape[i] for i in axes], initial=1))
        x = values_of(rng, dtype, shape)
        if case % 5 == 0:  # the largest sums
            x = np.full(shape, x.flat[0])
        scale = scale_of(rng)
        out = scale * float(rng.choice([1.0, 2.0, 0.5, 1.5, count / 1.5, 0.01, 100.0]))
        reduced = np.mean(np.zeros(shape), axis=tuple(axes), keepdims=keep).shape
        agree_single(
            "MEAN",
            [
                tensor_of(rng, "x", shape, dtype, scale),
                constant("axes", np.array(named, np.int32)),
            ],
            tensor_of(rng, "y", reduced, dtype, float(np.float32(out))),
            [x],
            schema.ReducerOptionsT(keepDims=keep),
        )


def test_many_elements() -> None:
    rng = np.random.default_rng(2)
    for shape in ((1, 49, 10, 64), (1, 7, 7, 320), (2, 3, 1000), (1, 96, 96, 3), (1, 65535)):
        axes = np.arange(1, len(shape) - 1 if len(shape) > 2 else 2).astype(np.int32)
        kept = tuple(1 if i in axes else n for i, n in enumerate(shape))
        for _ in range(10):
            scale = scale_of(rng)
            agree_single(
                "MEAN",
                [tensor_of(rng, "x", shape, "int8", scale), constant("axes", axes)],
                tensor_of(rng, "y", kept, "int8", scale * scale_of(rng, 0.1, 1.0)),
                [values_of(rng, "int8", shape)],
                schema.ReducerOptionsT(keepDims=True),
            )


def test_refused() -> None:
    x, y = Tensor("x", (2, 3), "int8", 0.5), Tensor("y", (2,), "int8", 0.5)

    def model(t: Tensor, axis: int, out: Tensor = y) -> bytes:
        axes = constant("axes", np.array([axis], np.int32))
        return single("MEAN", [t, axes], out, schema.ReducerOptionsT())

    both_refuse(model(x, 2), "axis 2 is outside a tensor of rank 2")
    both_refuse(model(x, -3), "axis -3 is outside a tensor of rank 2")
    we_refuse(model(Tensor("x", (2, 3), "int32"), 1), "input 0 is int32.2, 3.; supported: int8")
    we_refuse(model(x, 1, Tensor("y", (2,), "int8", 1e-9)), "output's scale 1e-09 is too small")
    vast = [Tensor("x", (1, 4096, 2048), "int8", 0.5), constant("axes", np.array([1, 2], np.int32))]
    mean = single("MEAN", vast, Tensor("y", (1,), "int8", 0.5), schema.ReducerOptionsT())
    we_refuse(mean, "averages 8388608 elements")
    dynamic = single("MEAN", [x, Tensor("axes", (1,), "int32")], y, schema.ReducerOptionsT())
    we_refuse(dynamic, "input 1 must be a constant integer tensor")
