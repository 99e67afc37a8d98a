"""Which nodes become one kernel: operators of two tensors join the later of the two."""

from __future__ import annotations

import numpy as np
import pytest

from microtvm.graph.ir import Quant, TensorType
from microtvm.ops.verify import verify
from microtvm.passes.fuse import Group, fuse
from tests.passes.random_graph import Maker

Q = Quant((0.1,), (-128,))


def image() -> Maker:
    return Maker((1, 4, 4, 2), "int8", Q)


def conv(maker: Maker, x: str) -> str:
    """A convolution of 3 x 3 that keeps the shape."""
    channels = maker.types[x].shape[3]
    w = maker.constant(np.ones((channels, 3, 3, channels), np.int8), Quant((0.01,), (0,)))
    return maker.add(
        "conv2d", (x, w), strides=(1, 1), dilation=(1, 1), groups=1, activation="none",
        padding=(1, 1, 1, 1),
    )  # fmt: skip


def add(maker: Maker, a: str, b: str) -> str:
    return maker.add("add", (a, b), activation="none")


def groups(maker: Maker, *outputs: str) -> list[str]:
    """The operators of each group, after its name's own."""
    return [" ".join(n.op for n in g.nodes) for g in of(maker, *outputs)]


def of(maker: Maker, *outputs: str) -> tuple[Group, ...]:
    return fuse(verify(maker.graph(*outputs))).groups


@pytest.mark.parametrize("swapped", [False, True])
def test_the_later_of_two_convolutions_takes_the_sum(swapped: bool) -> None:
    maker = image()
    first, second = conv(maker, "x"), conv(maker, "x")
    y = add(maker, *((second, first) if swapped else (first, second)))
    z = maker.add("relu", (y,))
    a, b = of(maker, z)
    assert [n.op for n in a.nodes] == ["conv2d"]
    assert [n.op for n in b.nodes] == ["conv2d", "add", "relu"]
    assert (b.name, b.inputs, b.outputs) == ("n1_conv2d", ("x", first), (z,))
    assert set(b.internal) == {second, y}


def test_a_shortcut_around_two_convolutions() -> None:
    maker = image()
    x = conv(maker, "x")
    y = add(maker, x, conv(maker, conv(maker, x)))
    assert groups(maker, y) == ["conv2d", "conv2d", "conv2d add"]


def test_a_shortcut_around_one() -> None:
    maker = image()
    y = add(maker, "x", conv(maker, "x"))
    (group,) = of(maker, y)
    assert group.inputs == ("x",)
    assert [n.op for n in group.nodes] == ["conv2d", "add"]


def test_a_sum_of_one_value_twice() -> None:
    maker = image()
    x = conv(maker, "x")
    assert groups(maker, add(maker, x, x)) == ["conv2d add"]


def test_several_sums() -> None:
    maker = image()
    x = conv(maker, "x")
    y = add(maker, add(maker, conv(maker, x), x), "x")
    assert groups(maker, y) == ["conv2d", "conv2d add add"]


def test_a_value_that_others_need_stays() -> None:
    """The later convolution's output is read twice, or is an output: then nothing can join it.

    Nor can the sum join the earlier one: the other operand is not there yet.
    """
    maker = image()
    first, second = conv(maker, "x"), conv(maker, "x")
    y = add(maker, first, second)
    assert groups(maker, second, y) == ["conv2d", "conv2d", "add"]
    z = maker.add("relu6", (second,))
    assert groups(maker, y, z) == ["conv2d", "conv2d", "add", "relu6"]


def test_an_operand_that_a_reshape_names() -> None:
    """What it names is made by a later group, or by an earlier one."""
    maker = image()
    flat = TensorType((1, 4, 4, 2), "int8", Q)
    first = conv(maker, "x")
    wide = maker.add("reshape", (first,), TensorType((32,), "int8", Q))
    again = maker.add("reshape", (wide,), flat)
    second = conv(maker, "x")
    assert groups(maker, add(maker, again, second)) == ["conv2d", "conv2d add"]
    maker = image()
    first, second = conv(maker, "x"), conv(maker, "x")
    wide = maker.add("reshape", (second,), TensorType((32,), "int8", Q))
    again = maker.add("reshape", (wide,), flat)
    assert groups(maker, add(maker, again, first)) == ["conv2d", "conv2d", "add"]


def test_operands_that_broadcast() -> None:
    """One element joins; a row would need the elements' indices."""
    maker = image()
    one = maker.constant(np.array([3], np.int8), Q)
    row = maker.constant(np.array([3, 4], np.int8), Q)
    y = add(maker, add(maker, conv(maker, "x"), one), row)
    assert groups(maker, y) == ["conv2d add", "add"]


def test_a_result_that_broadcasts_is_computed_once() -> None:
    maker = Maker((1, 1, 1, 2), "int8", Q)
    full = maker.constant(np.ones((1, 4, 4, 2), np.int8), Q)
    y = add(maker, conv(maker, "x"), full)
    assert groups(maker, y) == ["conv2d", "add"]
