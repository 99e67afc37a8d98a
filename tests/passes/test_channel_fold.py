"""Constant channels are folded away: the same outputs, bit for bit, from fewer channels."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microtvm.frontend import load_model
from microtvm.graph.ir import Graph, Quant, TensorType, same_graph
from microtvm.graph.text import constant_table, parse_graph, print_graph
from microtvm.ops.base import NodeContext
from microtvm.ops.evaluate import evaluate_graph
from microtvm.ops.registry import find
from microtvm.ops.verify import verify
from microtvm.passes import FOLD_CHANNELS, PASSES, run_passes
from microtvm.passes.channel_fold import Folding, fold
from microtvm.util import Array
from tests.golden.mlperf import MODELS, goldens, model_file
from tests.ops.compiled import compiled, run_libraries
from tests.passes.dead_channels import Network, dead_network, extreme_inputs
from tests.passes.random_graph import Maker

BEFORE = PASSES[: PASSES.index(FOLD_CHANNELS)]
Q = Quant((0.1,), (-128,))


def check(folding: Folding, x: Array) -> None:
    """Every value that is left has the channels of the original that it says, and the outputs all.

    What is known of a value before it is folded holds.
    """
    before, after = folding.before, folding.after
    was, now = (evaluate_graph(g, {"x": x}) for g in (before, after))
    for value in (*after.inputs, *after.producers()):
        held = after.channels.get(value, slice(None))
        np.testing.assert_array_equal(now[value], was[value][..., held], value)
    for value, interval in folding.intervals.values.items():
        assert (was[value] >= interval.low).all(), value
        assert (was[value] <= interval.high).all(), value
    assert not set(after.outputs) & set(after.channels)


def check_form(folding: Folding, multiple: int) -> None:
    """The graph is sound, has a text form, has nothing more to fold, and even numbers of
    channels.
    """
    after = verify(folding.after)
    assert same_graph(parse_graph(print_graph(after), constant_table(after)), after)
    assert same_graph(fold(after, multiple).after, after)
    assert all(len(held) % multiple == 0 for held in after.channels.values())


@given(st.integers(0, 2**32), st.integers(0, 14), st.sampled_from([1, 2, 4]))
@settings(max_examples=150, deadline=None)
def test_random_networks_compute_the_same(seed: int, operators: int, multiple: int) -> None:
    graph = run_passes(dead_network(seed, operators), BEFORE)
    folding = fold(graph, multiple)
    check_form(folding, multiple)
    for x in extreme_inputs(np.random.default_rng(seed), graph.types["x"], 3):
        check(folding, x)


def test_channels_of_every_operator_are_found() -> None:
    """The networks above have what they are for: operators that lose channels, or go."""
    found: Counter[str] = Counter()
    for seed in range(80):
        folding = fold(run_passes(dead_network(seed, 8), BEFORE), 1)
        for node in folding.before.nodes:
            found[node.op] += not all(folding.keep[v].all() for v in node.outputs)
    operators = {
        "conv2d", "depthwise_conv2d", "add", "sub", "mul", "concat", "avg_pool2d", "max_pool2d",
        "pad", "relu", "relu6", "quantize", "logistic", "mean", "reshape",
    }  # fmt: skip
    assert {op for op, count in found.items() if count >= 3} >= operators


PAIRS = np.stack(np.meshgrid(np.arange(-128, 128), np.arange(-128, 128)), -1)


@given(st.integers(0, 2**32), st.sampled_from(["width", "channels", "rows"]))
@settings(max_examples=8, deadline=None)
def test_all_inputs_of_tiny_networks(seed: int, where: str) -> None:
    """Two elements of input: all 65,536 of them, as one batch."""
    rng = np.random.default_rng(seed)
    pixels = {"width": (1, 2, 1), "channels": (1, 1, 2), "rows": (2, 1, 1)}[where]
    net = Network(rng, (65536, *pixels))
    y = net.conv("x", 4)
    y = net.depthwise(y) if rng.random() < 0.7 else net.conv(y, 5, 3, 1)
    z = net.conv(y, 4)
    other = net.conv(y, 4)
    y = net.maker.add("add", (z, other), net.kind(z), activation="relu")
    y = net.maker.add("concat", (y, z), axis=3, activation="none") if rng.random() < 0.5 else y
    graph = run_passes(net.maker.graph(net.conv(y, 3, dead=0)), BEFORE)
    check(fold(graph, int(rng.integers(1, 3))), PAIRS.reshape(65536, *pixels).astype(np.int8))


def totals(graph: Graph) -> tuple[int, int]:
    """Products of weights, and bytes of the weights without biases."""
    weighted = [n for n in graph.nodes if find(n.op).macs(NodeContext.of(graph, n))]
    return (
        sum(find(n.op).macs(NodeContext.of(graph, n)) for n in weighted),
        sum(graph.types[n.inputs[1]].size_bytes for n in weighted),
    )


@pytest.mark.parametrize("name", MODELS)
def test_models(name: str) -> None:
    """Their goldens, and that of the MobileNet half the work and a seventh of the weights stay."""
    graph = run_passes(load_model(model_file(name)), BEFORE)
    folding = fold(graph)
    check_form(folding, 4)
    if name == "vww_int8":
        assert totals(graph) == (7_489_664, 208_112)
        assert totals(folding.after) == (3_766_476, 30_340)
        assert totals(fold(graph, 1).after) == (3_727_313, 29_066)
    else:
        assert same_graph(folding.after, graph)
    inputs, outputs = goldens(name)
    for x, y in zip(inputs, outputs, strict=True):
        was = evaluate_graph(graph, {graph.inputs[0]: x})
        for value, interval in folding.intervals.values.items():
            assert (was[value] >= interval.low).all(), value
            assert (was[value] <= interval.high).all(), value
        now = evaluate_graph(folding.after, {graph.inputs[0]: x})
        if name == "vww_int8":
            np.testing.assert_array_equal(now[graph.outputs[0]], y)
        for value in folding.after.producers():
            held = folding.after.channels.get(value, slice(None))
            np.testing.assert_array_equal(now[value], was[value][..., held], value)


def test_c_computes_the_same(tmp_path: Path) -> None:
    """Folded in the compiler's own pipeline, as C, against the meaning of the whole graph."""
    graphs = [dead_network(seed, 8) for seed in range(16)]
    data = [
        extreme_inputs(np.random.default_rng(i), graph.types["x"], 1)[-1]
        for i, graph in enumerate(graphs)
    ]
    made = [compiled(graph, f"m{i}") for i, graph in enumerate(graphs)]
    assert sum(bool(each.graph.channels) for each in made) >= 5
    for each in made:
        for tensor in each.library.metadata["tensors"]:
            held = each.graph.channels.get(tensor["name"])
            assert tensor["channels"] == (None if held is None else list(held))
    found = run_libraries([each.library for each in made], [[x] for x in data], tmp_path)
    for graph, x, outputs in zip(graphs, data, found, strict=True):
        expected = evaluate_graph(graph, {"x": x})
        for value, output in zip(graph.outputs, outputs, strict=True):
            np.testing.assert_array_equal(output, expected[value])


def image(channels: int = 2, size: int = 3) -> Maker:
    """A graph of an image [1, size, size, channels]."""
    return Maker((1, size, size, channels), "int8", Q)


def conv(
    maker: Maker,
    x: str,
    w: list[list[int]],
    bias: list[int] | None,
    size: int = 1,
    padding: int = 0,
    op: str = "conv2d",
    like: TensorType | None = None,
) -> str:
    """A convolution with a row of weights for each output channel (or, depthwise, one for all),
    the same at every cell.
    """
    rows = np.array(w, np.int8)
    array = np.broadcast_to(rows[:, None, None], (len(w), size, size, rows.shape[1]))
    rest = {"groups": 1} if op == "conv2d" else {"multiplier": 1}
    values = [x, maker.constant(np.ascontiguousarray(array), Quant((0.01,), (0,)))]
    if bias is not None:
        values.append(maker.constant(np.array(bias, np.int32)))
    return maker.add(
        op, tuple(values), like or TensorType((1,), "int8", Q), strides=(1, 1), dilation=(1, 1),
        padding=(padding,) * 4, activation="none", **rest,
    )  # fmt: skip


LOW, HIGH = -10_000_000, 10_000_000
"""Biases that make an output -128, the zero point, or 127."""


@pytest.mark.parametrize(
    ("bias", "padding", "stays"),
    [(LOW, 0, False), (HIGH, 0, False), (LOW, 1, False), (HIGH, 1, True)],
)
def test_padding_is_taken_into_account(bias: int, padding: int, stays: bool) -> None:
    """Only where padding adds what the constant adds is the constant a part of the bias."""
    maker = image()
    y = conv(maker, "x", [[1, 2], [3, 4], [5, 6]], [0, bias, 7])
    z = conv(maker, y, [[1, 2, 3], [4, 5, 6]], None, 3, padding)
    folding = fold(maker.graph(z), 1)
    assert folding.keep[y].tolist() == [True, stays, True]
    node = folding.after.nodes[1]
    assert len(node.inputs) == (3 if bias == HIGH and not stays else 2)
    check(folding, np.arange(18).astype(np.int8).reshape(1, 3, 3, 2))


def test_a_column_of_zeros_needs_no_constant() -> None:
    maker = image()
    y = conv(maker, "x", [[1, 2], [3, 4], [5, 6]], None)
    z = conv(maker, y, [[1, 0, 3], [4, 0, 6]], None, 3, 1)
    folding = fold(maker.graph(z), 1)
    assert folding.keep[y].tolist() == [True, False, True]
    assert [len(n.inputs) for n in folding.after.nodes] == [2, 2]


def test_a_depthwise_channel_is_constant_where_its_input_is_not() -> None:
    maker = image()
    y = conv(maker, "x", [[1, 2], [3, 4]], None)
    z = conv(maker, y, [[1, 2]], [LOW, 0], 3, 1, "depthwise_conv2d")
    folding = fold(maker.graph(conv(maker, z, [[1, 2]], None)), 1)
    assert folding.keep[y].tolist() == [False, True]
    assert [folding.after.types[n.outputs[0]].shape[3] for n in folding.after.nodes] == [1, 1, 1]


def test_a_depthwise_channel_varies_at_the_border() -> None:
    """127 inside the image, but -128 around it."""
    maker = image()
    y = conv(maker, "x", [[1, 2], [3, 4]], [HIGH, 0])
    wide = TensorType((1,), "int8", Quant((30.0,), (0,)))
    z = conv(maker, y, [[1, 2]], None, 3, 1, "depthwise_conv2d", wide)
    folding = fold(maker.graph(conv(maker, z, [[1, 2]], None)), 1)
    interval = folding.intervals.values[z]
    # 255 times four cells at a corner, times nine inside; all by 0.1 0.01 / 30.
    assert (interval.low[0], interval.high[0]) == (0, 0)
    maker = image()
    y = conv(maker, "x", [[1, 2], [3, 4]], [HIGH, 0])
    wide = TensorType((1,), "int8", Quant((0.1,), (0,)))
    z = conv(maker, y, [[1, 2]], None, 3, 1, "depthwise_conv2d", wide)
    folding = fold(maker.graph(conv(maker, z, [[1, 2]], None)), 1)
    interval = folding.intervals.values[z]
    assert (interval.low[0], interval.high[0]) == (round(2.55 * 4), round(2.55 * 9))
    assert folding.keep[z].all()


def test_an_addition_keeps_both_unless_both_are_constant() -> None:
    maker = image()
    a = conv(maker, "x", [[1, 2], [3, 4], [5, 6]], [LOW, LOW, 0])
    b = conv(maker, "x", [[6, 5], [4, 3], [2, 1]], [0, HIGH, 0])
    y = maker.add("add", (a, b), activation="none")
    folding = fold(maker.graph(conv(maker, y, [[1, 2, 3]], [4])), 1)
    assert [folding.keep[v].tolist() for v in (a, b, y)] == [[True, False, True]] * 3


def test_channels_go_only_where_every_reader_lets_them() -> None:
    """The second reader has padding, so that its constant stays, for the first one too."""
    maker = image()
    y = conv(maker, "x", [[1, 2], [3, 4]], [HIGH, 0])
    first, second = conv(maker, y, [[1, 2]], [3]), conv(maker, y, [[1, 2]], [3], 3, 1)
    folding = fold(maker.graph(first, second), 1)
    assert same_graph(folding.after, folding.before)


def test_a_part_of_a_concatenation_goes_whole() -> None:
    maker = image()
    a = conv(maker, "x", [[1, 2], [3, 4]], [LOW, HIGH])
    b = conv(maker, "x", [[6, 5], [4, 3]], None)
    y = maker.add("concat", (a, b), axis=3, activation="none")
    z = conv(maker, y, [[1, 2, 3, 4]], None)
    folding = fold(maker.graph(z), 1)
    assert [n.op for n in verify(folding.after).nodes] == ["conv2d", "conv2d"]
    assert folding.after.absorbed == {a: y, y: b}
    check(folding, np.arange(18).astype(np.int8).reshape(1, 3, 3, 2))


def test_a_layer_of_constants_keeps_an_input() -> None:
    """An output of the graph that is constant is computed, from as little as there can be."""
    maker = image()
    a = conv(maker, "x", [[1, 2], [3, 4], [5, 6]], [LOW, HIGH, 0])
    z = conv(maker, a, [[1, 2, 0]], [5])
    folding = fold(maker.graph(z), 1)
    assert folding.keep[a].tolist() == [True, False, False]
    check(folding, np.arange(18).astype(np.int8).reshape(1, 3, 3, 2))


def test_a_flattened_image_loses_a_channel_everywhere() -> None:
    maker = image()
    a = conv(maker, "x", [[1, 2], [3, 4], [5, 6]], [0, HIGH, 0])
    flat = maker.add("reshape", (a,), TensorType((1, 27), "int8", Q))
    w = maker.constant(np.arange(-27, 27).astype(np.int8).reshape(2, 27), Quant((0.01,), (0,)))
    folding = fold(
        maker.graph(maker.add("dense", (flat, w), activation="none", keep_dims=False)), 1
    )
    assert folding.after.types[flat].shape == (1, 18)
    assert folding.after.channels[flat] == tuple(c for c in range(27) if c % 3 != 1)
    check(folding, np.arange(18).astype(np.int8).reshape(1, 3, 3, 2))


def test_constants_shared_by_two_nodes_are_sliced_for_each() -> None:
    maker = image()
    a = conv(maker, "x", [[1, 2], [3, 4], [5, 6]], [LOW, 0, 1])
    b = conv(maker, "x", [[1, 2], [3, 4], [5, 6]], [0, 1, LOW])
    w = maker.constant(np.arange(9).astype(np.int8).reshape(3, 1, 1, 3), Quant((0.01,), (0,)))
    ends = [
        maker.add(
            "conv2d", (v, w), strides=(1, 1), dilation=(1, 1), padding=(0,) * 4, groups=1,
            activation="none",
        )
        for v in (a, b)
    ]  # fmt: skip
    folding = fold(maker.graph(*ends), 1)
    assert len({verify(folding.after).nodes[i].inputs[1] for i in (2, 3)}) == 2
    check(folding, np.arange(18).astype(np.int8).reshape(1, 3, 3, 2))


@pytest.mark.parametrize(("multiple", "left"), [(1, 1), (2, 2), (3, 3), (4, 4), (8, 6)])
def test_numbers_of_channels_are_rounded_up(multiple: int, left: int) -> None:
    """With constants, the first ones."""
    maker = image()
    a = conv(maker, "x", [[1, 2]] * 6, [LOW, HIGH, LOW, LOW, 0, LOW])
    folding = fold(maker.graph(conv(maker, a, [[1, 2, 3, 4, 5, 6]], None)), multiple)
    wanted = {1: [4], 2: [0, 4], 3: [0, 1, 4], 4: [0, 1, 2, 4], 8: [0, 1, 2, 3, 4, 5]}[multiple]
    assert np.flatnonzero(folding.keep[a]).tolist() == wanted
    assert len(wanted) == left


def test_floats_stay_whole() -> None:
    """0 times infinity is no zero."""
    maker = Maker((1, 3, 3, 2), "float32")
    w = maker.constant(np.zeros((2, 1, 1, 2), np.float32))
    y = maker.add(
        "conv2d", ("x", w), strides=(1, 1), dilation=(1, 1), padding=(0,) * 4, groups=1,
        activation="relu",
    )  # fmt: skip
    graph = maker.graph(y)
    assert same_graph(fold(graph).after, graph)
