"""Interval analysis against everything that can occur: all inputs of one or two elements."""

from __future__ import annotations

import numpy as np
import pytest

from microtvm.graph.ir import Attr, Quant, TensorType
from microtvm.ops.evaluate import evaluate_graph
from microtvm.ops.interval import Interval
from microtvm.passes.interval import Intervals, analyse
from microtvm.util import Array
from tests.passes.random_graph import Maker

Q = Quant((0.1,), (-7,))
ALL = np.arange(-128, 128).astype(np.int8)
PAIRS = np.stack(np.meshgrid(ALL, ALL), -1).reshape(65536, 2)
"""Every input of two elements, as the rows of a batch."""
VALID: dict[str, Attr] = {"padding": (0, 0, 0, 0), "strides": (1, 1)}


def check(maker: Maker, y: str, x: Array, *, exact: bool = True) -> Intervals:
    """The interval of every channel of `y` is exactly what `x`, which is all inputs, gives."""
    graph = maker.graph(y)
    found = analyse(graph)
    values = evaluate_graph(graph, {"x": x})
    for value, interval in found.values.items():
        seen = Interval.around(values[value])
        assert (interval.low <= seen.low).all(), value
        assert (interval.high >= seen.high).all(), value
    seen = Interval.around(values[y])
    if exact:
        np.testing.assert_array_equal(found.values[y].low, seen.low)
        np.testing.assert_array_equal(found.values[y].high, seen.high)
    return found


@pytest.mark.parametrize("scale", [0.03, 0.1, 7.0])
@pytest.mark.parametrize("op", ["relu", "relu6", "relu_n1_to_1", "quantize", "tanh", "copy"])
def test_one_operand(op: str, scale: float) -> None:
    """Of all of a byte's values, and of those that a clamp leaves."""
    maker = Maker((256, 1), "int8", Q)
    check(
        maker, maker.add(op, ("x",), TensorType((1,), "int8", Quant((scale,), (3,)))), ALL[:, None]
    )
    maker = Maker((256, 1), "int8", Q)
    clamped = maker.add("relu_n1_to_1", ("x",), TensorType((1,), "int8", Q))
    like = TensorType((1,), "int8", Quant((scale,), (3,)))
    check(maker, maker.add(op, (clamped,), like), ALL[:, None])


def test_logistic_and_bytes() -> None:
    maker = Maker((256, 1), "int8", Q)
    byte = maker.add("quantize", ("x",), TensorType((1,), "uint8", Quant((0.1,), (200,))))
    like = TensorType((1,), "uint8", Quant((1 / 256,), (0,)))
    check(maker, maker.add("logistic", (byte,), like), ALL[:, None])


@pytest.mark.parametrize("activation", ["none", "relu6"])
@pytest.mark.parametrize("op", ["add", "sub", "mul"])
def test_two_operands(op: str, activation: str) -> None:
    """One that varies and a row of constants; then two elements of the input."""
    like = TensorType((1,), "int8", Quant((0.2,), (5,)))
    maker = Maker((256, 1), "int8", Q)
    row = maker.constant(np.array([-128, -3, 0, 9, 127], np.int8), Quant((0.3,), (1,)))
    check(maker, maker.add(op, ("x", row), like, activation=activation), ALL[:, None])
    maker = Maker((65536, 1, 2), "int8", Q)
    parts = []
    for column in np.eye(2):
        w = maker.constant((10 * column[None]).astype(np.int8), Quant((0.1,), (0,)))
        parts.append(
            maker.add("dense", ("x", w), maker.types["x"], activation="none", keep_dims=True)
        )
    y = maker.add(op, tuple(parts), like, activation=activation)
    check(maker, y, PAIRS[:, None])


def test_what_depends_on_itself_is_not_seen() -> None:
    """x - x is 0, which an interval can't say."""
    maker = Maker((256, 1), "int8", Q)
    y = maker.add("sub", ("x", "x"), activation="none")
    found = check(maker, y, ALL[:, None], exact=False).values[y]
    assert found.low[0] < found.high[0]


@pytest.mark.parametrize("bias", [None, [3000, -4000, 90000]])
@pytest.mark.parametrize("activation", ["none", "relu"])
def test_dense(activation: str, bias: list[int] | None) -> None:
    """Accumulators too."""
    maker = Maker((65536, 2), "int8", Q)
    w = np.array([[5, -9], [0, 1], [-3, -100]], np.int8)
    inputs = ["x", maker.constant(w, Quant((0.01, 0.02, 0.003), (0,) * 3, 0))]
    if bias is not None:
        inputs.append(maker.constant(np.array(bias, np.int32)))
    like = TensorType((1,), "int8", Quant((0.2,), (5,)))
    y = maker.add("dense", tuple(inputs), like, activation=activation, keep_dims=False)
    found = check(maker, y, PAIRS).accumulators[y]
    seen = (PAIRS.astype(np.int64) + 7) @ w.T + np.array(bias or 0)
    np.testing.assert_array_equal(found.low, seen.min(axis=0))
    np.testing.assert_array_equal(found.high, seen.max(axis=0))


@pytest.mark.parametrize("keep_dims", [True, False])
def test_dense_on_rows_of_another_length(keep_dims: bool) -> None:
    """Two channels read as rows of one: each column is both."""
    maker = Maker((65536, 2), "int8", Q)
    w = np.array([[5], [-1]], np.int8) if not keep_dims else np.array([[5, 0], [-1, 2]], np.int8)
    inputs = ("x", maker.constant(w, Quant((0.01,), (0,))))
    y = maker.add("dense", inputs, activation="none", keep_dims=keep_dims)
    check(maker, y, PAIRS)


@pytest.mark.parametrize("padding", [(0, 0, 0, 0), (0, 0, 1, 0), (1, 1, 2, 2)])
@pytest.mark.parametrize("op", ["conv2d", "depthwise_conv2d"])
def test_convolution(op: str, padding: tuple[int, ...]) -> None:
    """Two pixels: where the window is over the border, only one of them counts."""
    maker = Maker((65536, 1, 2, 1), "int8", Q)
    height = 1 + padding[0]
    w = np.arange(-4, 4 * height)[: 3 * height * 2].astype(np.int8)
    w = np.resize(w, (3, height, 2, 1))
    inputs = ["x"]
    scales = (0.01, 0.02, 0.05)
    if op == "conv2d":
        inputs.append(maker.constant(w, Quant(scales, (0,) * 3, 0)))
    else:
        w = np.ascontiguousarray(w.transpose(3, 1, 2, 0))
        inputs.append(maker.constant(w, Quant(scales, (0,) * 3, 3)))
    inputs.append(maker.constant(np.array([100, 0, -700], np.int32)))
    rest = {"groups": 1} if op == "conv2d" else {"multiplier": 3}
    y = maker.add(
        op, tuple(inputs), strides=(1, 1), dilation=(1, 1), padding=padding, activation="none",
        **rest,
    )  # fmt: skip
    check(maker, y, PAIRS.reshape(65536, 1, 2, 1))


def test_strides_can_leave_padding_out() -> None:
    """With a stride of 2 no window reaches the padding on the right."""
    maker = Maker((65536, 1, 2, 1), "int8", Quant((0.1,), (100,)))
    w = maker.constant(np.ones((1, 1, 2, 1), np.int8), Quant((1.0,), (0,)))
    low = maker.add("relu_n1_to_1", ("x",), TensorType((1,), "int8", Quant((0.001,), (100,))))
    like = TensorType((1,), "int8", Quant((0.001,), (0,)))
    y = maker.add(
        "conv2d", (low, w), like, strides=(1, 2), dilation=(1, 1), padding=(0, 0, 0, 1), groups=1,
        activation="none",
    )  # fmt: skip
    check(maker, y, PAIRS.reshape(65536, 1, 2, 1))


def test_groups() -> None:
    maker = Maker((65536, 1, 1, 2), "int8", Q)
    w = maker.constant(np.array([1, 2, 3, -4], np.int8).reshape(4, 1, 1, 1), Quant((0.5,), (0,)))
    y = maker.add(
        "conv2d", ("x", w), maker.types["x"], dilation=(1, 1), groups=2, activation="none", **VALID
    )
    check(maker, y, PAIRS.reshape(65536, 1, 1, 2))


@pytest.mark.parametrize("op", ["avg_pool2d", "max_pool2d"])
@pytest.mark.parametrize("activation", ["none", "relu6"])
def test_pools(op: str, activation: str) -> None:
    """Padding counts nothing."""
    maker = Maker((65536, 1, 2, 1), "int8", Q)
    y = maker.add(
        op, ("x",), size=(1, 2), strides=(1, 1), padding=(0, 0, 1, 1), activation=activation
    )
    check(maker, y, PAIRS.reshape(65536, 1, 2, 1))


def test_what_moves_elements() -> None:
    """Padding is a value like others; a reshape takes each channel where its elements go."""
    maker = Maker((65536, 1, 2), "int8", Q)
    clamp = TensorType((1,), "int8", Quant((0.1,), (-128,)))
    a = maker.add("relu6", ("x",), clamp)
    b = maker.add("quantize", ("x",), clamp)
    both = maker.add("concat", (a, b), axis=2, activation="none")
    padded = maker.add("pad", (both,), before=(0, 0, 1), after=(0, 1, 0), value=127)
    flat = maker.add("reshape", (padded,), TensorType((65536, 10), "int8", clamp.quant))
    check(maker, flat, PAIRS[:, None], exact=False)
    found = analyse(maker.graph(flat)).values
    assert found[both].high.tolist() == [-68, -68, 6, 6]
    assert found[padded].low.tolist() == [127, -128, -128, -128, -128]
    assert found[padded].high.tolist() == [127] * 5
    assert found[flat].constant.tolist() == [True, False, False, False, False] * 2


@pytest.mark.parametrize(("axes", "keep_dims"), [((1,), False), ((2,), True), ((1, 2), True)])
def test_mean(axes: tuple[int, ...], keep_dims: bool) -> None:
    maker = Maker((65536, 1, 2), "int8", Q)
    like = TensorType((1,), "int8", Quant((0.04,), (9,)))
    check(maker, maker.add("mean", ("x",), like, axes=axes, keep_dims=keep_dims), PAIRS[:, None])


def test_what_is_not_known() -> None:
    """Floats have no interval; of softmax nothing is said but its type."""
    maker = Maker((256, 2), "int8", Q)
    like = TensorType((1,), "int8", Quant((1 / 256,), (-128,)))
    y = maker.add("softmax", ("x",), like, beta=1.0)
    real = maker.add("dequantize", (y,), TensorType((1,), "float32"))
    back = maker.add("quantize", (real,), like)
    table = maker.add("tanh", (real,), maker.types[real])
    found = analyse(maker.graph(back, table))
    assert real not in found.values
    assert table not in found.values
    for value in (y, back):
        assert (found.values[value].low.tolist(), found.values[value].high.tolist()) == (
            [-128, -128],
            [127, 127],
        )
    assert not found.accumulators


def test_a_scalar_has_one_channel() -> None:
    maker = Maker((), "int8", Q)
    y = maker.add("relu", ("x",), TensorType((), "int8", Q))
    assert analyse(maker.graph(y)).values[y].low.tolist() == [-7]
