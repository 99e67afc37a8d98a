"""Schedules of a convolution with its padding: nothing is tested or divided inside the loops."""

from __future__ import annotations

import numpy as np
import pytest

from microtvm import te
from microtvm.te import Tensor
from microtvm.tir.expr import IntImm, Read, Select
from microtvm.tir.stmt import For, Program, statement_expressions, walk
from microtvm.tir.traversal import post_order
from microtvm.util import Array
from tests.te.oracle import check, conditions, divisions, loops

RNG = np.random.default_rng(11)


def ints(*shape: int, dtype: str = "int8") -> Array:
    return RNG.integers(-100, 101, shape).astype(dtype)


def convolution(pad: int = 1, stride: int = 1) -> tuple[dict[Tensor, Array], Tensor, Tensor]:
    height, width, channels, filters = 6, 7, 4, 8
    x = te.placeholder((height, width, channels), "int8", "x")
    w = te.constant(ints(filters, 3, 3, channels), "w")
    padded = te.compute(
        (height + 2 * pad, width + 2 * pad, channels),
        lambda h, v, c: te.select(
            te.all(h >= pad, h < height + pad, v >= pad, v < width + pad),
            x[h - pad, v - pad, c],
            -3,
        ),
        "padded",
    )
    kh, kw, c = te.reduce_axis(3, "kh"), te.reduce_axis(3, "kw"), te.reduce_axis(channels, "c")
    out = ((height + 2 * pad - 3) // stride + 1, (width + 2 * pad - 3) // stride + 1, filters)
    y = te.compute(
        out,
        lambda h, v, o: te.sum(
            padded[h * stride + kh, v * stride + kw, c].astype("int32")
            * w[o, kh, kw, c].astype("int32"),
            axis=[kh, kw, c],
        ),
        "y",
    )
    return {x: ints(height, width, channels)}, padded, y


def decisions(program: Program, loop: For) -> list[object]:
    """Conditional statements and selects inside a loop."""
    found: list[object] = [s for s in conditions(program) if s in list(walk(loop))]
    for stmt in walk(loop.body):
        for expr in statement_expressions(stmt):
            found += [n for n in post_order(expr) if isinstance(n, Select)]
    return found


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("place", ["root", "inline", "at"])
def test_convolution_tests_nothing_in_its_loops(place: str, stride: int) -> None:
    """Padding and tails are other loops and no index is divided, wherever padding is computed."""
    inputs, padded, y = convolution(stride=stride)
    s = te.create_schedule(y)
    h, v, o = y.op.axis
    s[y].split(o, factor=4)
    s[y].reorder(h, v, *s[y].leaf[2:])
    if place == "inline":
        s[padded].compute_inline()
    elif place == "at":
        s[padded].compute_at(s[y], h)
    program = check(s, inputs)
    assert divisions(program) == []
    innermost = [p for p in loops(program) if not any(isinstance(q, For) for q in walk(p.body))]
    assert innermost
    for loop in innermost:
        assert decisions(program, loop) == []


def test_fused_pixels_with_packed_weights_divide_only_outside() -> None:
    """One division for a row of the loops, none in the reduction."""
    inputs, padded, y = convolution(pad=0)
    s = te.create_schedule(y)
    s[padded].compute_inline()
    h, v, o = y.op.axis
    s[y].fuse(h, v)
    constant = next(t for t in s[y].outputs[0].op.inputs() if t.data is not None)
    s.constant(constant).transform_layout(
        lambda o, kh, kw, c: [o // 4, kh, kw, c // 4, o % 4, c % 4]
    )
    _, oi = s[y].split(o, factor=4)
    kh, kw, c = y.op.reduce_axis
    _, ci = s[y].split(c, factor=4)
    s[y].reorder(kh, kw, s[y].leaf[-2], oi, ci)
    program = check(s, inputs)
    for node in divisions(program):
        reads = [n for n in post_order(node) if isinstance(n, Read)]
        assert reads == []
        assert isinstance(node.b, IntImm)
        assert node.b.value == 5
