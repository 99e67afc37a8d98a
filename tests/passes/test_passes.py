"""Passes keep what a graph computes, bit for bit, and do what each is for."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from microtvm.errors import IRError
from microtvm.graph.ir import Graph, Quant, TensorType, same_graph
from microtvm.graph.text import constant_table, parse_graph, print_graph
from microtvm.ops.evaluate import evaluate_graph
from microtvm.ops.verify import verify
from microtvm.passes import PASSES, Pass, canonicalise, fold_constants, remove_dead, run_passes
from tests.passes.random_graph import Maker, random_graph, random_input

IMAGE = (1, 4, 4, 2)
Q = Quant((0.1,), (-128,))


def ops(graph: Graph) -> list[str]:
    """The operators of a graph, in order."""
    return [n.op for n in graph.nodes]


@pytest.mark.parametrize("seed", range(8))
def test_random_graphs_compute_the_same(seed: int) -> None:
    """Outputs and all other values that are still there under their names are equal."""
    rng = np.random.default_rng(seed)
    removed: Counter[str] = Counter()
    for _ in range(25):
        graph = verify(random_graph(rng))
        after = run_passes(graph, PASSES)
        assert (after.inputs, after.outputs) == (graph.inputs, graph.outputs)
        inputs = random_input(rng, graph)
        before, now = evaluate_graph(graph, inputs), evaluate_graph(after, inputs)
        for value in after.producers():
            held = after.channels.get(value, slice(None))
            assert value in after.channels or after.types[value] == graph.types[value]
            np.testing.assert_array_equal(now[value], before[value][..., held], value)
            assert after.sources[value] == f"source/{value}"
        removed.update(Counter(ops(graph)) - Counter(ops(after)))
        assert same_graph(run_passes(after, PASSES), after)
        assert same_graph(parse_graph(print_graph(after), constant_table(after)), after)
    # What the generator makes for the passes to find was found.
    assert set(removed) >= {"copy", "reshape", "pad", "relu", "quantize", "concat", "add", "conv2d"}


def test_constants_are_folded() -> None:
    maker = Maker((1, 2), "float32")
    c = maker.constant(np.array([[1, 2]], np.float32))
    twice = maker.add("add", (c, c), activation="none")
    y = maker.add("add", ("x", twice), activation="none")
    graph = run_passes(maker.graph(y), PASSES)
    assert ops(graph) == ["add"]
    np.testing.assert_array_equal(graph.const(twice), [[2, 4]])


def test_a_constant_output_is_a_copy() -> None:
    maker = Maker((1, 2), "float32")
    c = maker.constant(np.array([[1, 2]], np.float32))
    twice = maker.add("add", (c, c), activation="none")
    graph = verify(fold_constants(maker.graph(twice)))
    assert ops(graph) == ["copy"]
    assert graph.outputs == (twice,)
    found = evaluate_graph(graph, {"x": np.zeros((1, 2), np.float32)})
    np.testing.assert_array_equal(found[twice], [[2, 4]])
    assert same_graph(run_passes(graph, PASSES), graph)


def test_dead_nodes_go_and_inputs_stay() -> None:
    maker = Maker((1, 2), "float32")
    dead = maker.add("relu", ("x",))
    maker.add("relu6", (dead,))
    c = maker.constant(np.ones((1, 2), np.float32))
    y = maker.add("copy", (c,))
    graph = replace(maker.graph(y), absorbed={"was_dead": dead, "was_y": y})
    graph = verify(remove_dead(graph))
    assert (ops(graph), graph.inputs, set(graph.types)) == (["copy"], ("x",), {"x", c, y})
    assert graph.absorbed == {"was_y": y}


def test_reshapes_become_one() -> None:
    maker = Maker((1, 4), "int8", Q)
    a = maker.add("reshape", ("x",), TensorType((2, 2), "int8", Q))
    b = maker.add("reshape", (a,), TensorType((4, 1), "int8", Quant((0.2,), (0,))))
    y = maker.add("reshape", (b,), TensorType((4,), "int8", Q))
    graph = verify(canonicalise(maker.graph(y)))
    assert [(n.op, n.inputs) for n in graph.nodes] == [("reshape", ("x",))]
    assert graph.absorbed == {a: b, b: y}


def test_a_reshape_to_another_scale_stays() -> None:
    maker = Maker((4,), "int8", Q)
    y = maker.add("reshape", ("x",), TensorType((4,), "int8", Quant((0.2,), (0,))))
    assert ops(canonicalise(maker.graph(y))) == ["reshape"]


def test_a_copy_that_an_output_needs_stays() -> None:
    maker = Maker((4,), "int8", Q)
    a = maker.add("copy", ("x",))
    b = maker.add("relu6", (a,))
    c = maker.add("copy", (b,))
    graph = verify(canonicalise(maker.graph(a, b, c)))
    assert [(n.op, n.inputs) for n in graph.nodes] == [
        ("copy", ("x",)),
        ("relu6", ("x",)),
        ("copy", (b,)),
    ]


@pytest.mark.parametrize("scale", [0.1, 0.1000001])
def test_requantisation_goes_only_where_it_is_exact(scale: float) -> None:
    maker = Maker((4,), "int8", Quant((0.1,), (3,)))
    y = maker.add("quantize", ("x",), TensorType((4,), "int8", Quant((scale,), (3,))))
    z = maker.add("logistic", (y,), TensorType((4,), "int8", Quant((1 / 256,), (-128,))))
    same = np.float32(scale) == np.float32(0.1)
    assert ops(canonicalise(maker.graph(z))) == (["logistic"] if same else ["quantize", "logistic"])


def test_there_and_back() -> None:
    """int8 to float32 and to uint8, and back to the same scale."""
    maker = Maker((4,), "int8", Quant((0.3,), (3,)))
    kind = maker.types["x"]
    a = maker.add("dequantize", ("x",), TensorType((4,), "float32"))
    b = maker.add("quantize", (a,), kind)
    c = maker.add("quantize", (b,), TensorType((4,), "uint8", Quant((0.3,), (131,))))
    d = maker.add("quantize", (c,), kind)
    y = maker.add("tanh", (d,), TensorType((4,), "int8", Quant((1 / 128,), (0,))))
    assert ops(run_passes(maker.graph(y), PASSES)) == ["tanh"]


def test_a_narrow_way_there_and_back_stays() -> None:
    maker = Maker((4,), "int8", Quant((0.3,), (0,)))
    a = maker.add("quantize", ("x",), TensorType((4,), "int8", Quant((0.6,), (0,))))
    b = maker.add("quantize", (a,), maker.types["x"])
    assert ops(run_passes(maker.graph(b), PASSES)) == ["quantize", "quantize"]


def conv(maker: Maker, x: str, activation: str = "none", padding: int = 0) -> str:
    """A convolution of 3 x 3 that keeps the channels."""
    channels = maker.types[x].shape[3]
    w = maker.constant(np.ones((channels, 3, 3, channels), np.int8), Quant((0.01,), (0,)))
    return maker.add(
        "conv2d", (x, w), strides=(1, 1), dilation=(1, 1), groups=1, activation=activation,
        padding=(padding,) * 4,
    )  # fmt: skip


def pad(maker: Maker, x: str, value: int, *widths: int) -> str:
    """A border of `value`: top, bottom, left, right."""
    top, bottom, left, right = widths
    return maker.add(
        "pad", (x,), before=(0, top, left, 0), after=(0, bottom, right, 0), value=value
    )


def test_padding_joins_the_convolution() -> None:
    maker = Maker(IMAGE, "int8", Q)
    a = pad(maker, "x", -128, 1, 0, 0, 2)
    b = pad(maker, a, -128, 0, 1, 1, 0)
    y = conv(maker, b, padding=1)
    graph = verify(canonicalise(maker.graph(y)))
    (node,) = graph.nodes
    assert node.attrs["padding"] == (2, 2, 2, 3)
    assert graph.absorbed == {a: b, b: y}


@pytest.mark.parametrize("why", ["value", "channels", "scale"])
def test_padding_that_the_convolution_does_not_do_stays(why: str) -> None:
    maker = Maker(IMAGE, "int8", Q)
    if why == "value":
        a = pad(maker, "x", 0, 1, 1, 1, 1)
    elif why == "channels":
        a = maker.add("pad", ("x",), before=(0, 1, 1, 1), after=(0, 1, 1, 1), value=-128)
    else:
        other = TensorType(IMAGE, "int8", Quant((0.3,), (-128,)))
        a = maker.add("pad", ("x",), other, before=(0, 1, 1, 0), after=(0, 1, 1, 0), value=-128)
    y = conv(maker, a)
    assert ops(canonicalise(maker.graph(y))) == ["pad", "conv2d"]


def test_padding_that_is_an_output_stays() -> None:
    maker = Maker(IMAGE, "int8", Q)
    a = pad(maker, "x", -128, 1, 1, 1, 1)
    y = conv(maker, a)
    graph = verify(run_passes(maker.graph(y, a), PASSES))
    assert [n.inputs[0] for n in graph.nodes] == ["x", "x"]


@pytest.mark.parametrize(("width", "joined"), [(1, True), (2, False)])
def test_padding_joins_the_maximum(width: int, joined: bool) -> None:
    """The least value changes no maximum, as long as every window has a cell of the image."""
    maker = Maker(IMAGE, "int8", Q)
    a = pad(maker, "x", -128, width, 0, 0, 0)
    y = maker.add(
        "max_pool2d", (a,), size=(2, 2), strides=(2, 2), padding=(0, 0, 0, 0), activation="none"
    )
    found = ops(verify(canonicalise(maker.graph(y))))
    assert found == (["max_pool2d"] if joined else ["pad", "max_pool2d"])


@pytest.mark.parametrize(
    ("first", "second", "both"),
    [
        ("none", "relu", "relu"),
        ("relu", "relu6", "relu6"),
        ("relu6", "relu", "relu6"),
        ("relu6", "relu_n1_to_1", None),
    ],
)
def test_activations_join_what_they_follow(first: str, second: str, both: str | None) -> None:
    maker = Maker(IMAGE, "int8", Quant((0.1,), (0,)))
    a = conv(maker, "x", first)
    y = maker.add(second, (a,))
    graph = verify(canonicalise(maker.graph(y)))
    if both is None:
        assert ops(graph) == ["conv2d", second]
        return
    (node,) = graph.nodes
    assert (node.attrs["activation"], node.outputs) == (both, (y,))
    assert graph.absorbed == {a: y}


def test_an_activation_stays_where_others_read_its_input() -> None:
    maker = Maker(IMAGE, "int8", Quant((0.1,), (0,)))
    a = conv(maker, "x")
    y = maker.add("relu", (a,))
    z = maker.add("add", (a, y), activation="none")
    assert ops(canonicalise(maker.graph(z))) == ["conv2d", "relu", "add"]
    assert ops(canonicalise(maker.graph(y, a))) == ["conv2d", "relu"]


def test_one_channel_a_group_is_depthwise() -> None:
    maker = Maker(IMAGE, "int8", Q)
    rng = np.random.default_rng(0)
    quant = Quant((0.01, 0.02, 0.03, 0.04), (0,) * 4, 0)
    w = maker.constant(rng.integers(-127, 128, (4, 3, 2, 1)).astype(np.int8), quant)
    y = maker.add(
        "conv2d", ("x", w), strides=(1, 1), dilation=(1, 1), groups=2, activation="none",
        padding=(0, 0, 0, 0),
    )  # fmt: skip
    before = maker.graph(y)
    after = verify(canonicalise(before))
    (node,) = after.nodes
    assert (node.op, node.attrs["multiplier"]) == ("depthwise_conv2d", 2)
    x = random_input(rng, before)
    np.testing.assert_array_equal(evaluate_graph(after, x)[y], evaluate_graph(before, x)[y])


def test_a_pass_that_breaks_a_graph_is_caught() -> None:
    maker = Maker((4,), "int8", Q)
    graph = maker.graph(maker.add("copy", ("x",)))
    broken = Pass("broken", lambda g: replace(g, outputs=()))
    with pytest.raises(IRError, match="no outputs"):
        run_passes(graph, [broken])
