"""Several operators in one model, from the file to C: fusion, memory reuse, inputs, outputs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from microtvm.codegen import layout
from tests.ops.compiled import Case, check, compiled, interpreted, run_libraries
from tests.ops.network import Network, random_layer, random_network
from tests.ops.oracle import assert_equal, imported
from tests.ops.test_conv import conv_options
from tests.reference import ACTIVATIONS, SAME, VALID, Operator, Tensor, build, run

Build = Callable[[Network], list[Tensor]]


def conv_relu_quantize(net: Network) -> list[Tensor]:
    return [
        net.unary("QUANTIZE", net.unary("RELU6", net.conv(net.input((2, 5, 4, 3)), 6)), "uint8")
    ]


def conv_with_two_readers(net: Network) -> list[Tensor]:
    y = net.conv(net.input((1, 4, 4, 3)), 4)
    return [net.unary("RELU", y), net.unary("TANH", y)]


def conv_that_is_an_output_too(net: Network) -> list[Tensor]:
    y = net.conv(net.input((1, 4, 4, 3)), 4)
    return [y, net.unary("RELU6", y)]


def pad_then_conv(net: Network) -> list[Tensor]:
    return [net.conv(net.pad(net.input((2, 4, 5, 3)), 77), 5, 3, VALID)]


def pad_then_pointwise_then_tanh(net: Network) -> list[Tensor]:
    return [net.unary("TANH", net.conv(net.pad(net.input((1, 3, 4, 3)), -100), 5, 1, VALID))]


def pad_then_depthwise(net: Network) -> list[Tensor]:
    return [net.depthwise(net.pad(net.input((1, 4, 4, 3)), 9), 2)]


def pad_of_the_zero_point(net: Network) -> list[Tensor]:
    return [net.conv(net.pad(net.input((1, 4, 4, 3))), 2, 3, VALID)]


def pad_that_is_an_output_too(net: Network) -> list[Tensor]:
    y = net.pad(net.input((1, 4, 4, 2)), 3)
    return [y, net.conv(y, 2, 3, VALID)]


def activation_then_pad_then_conv(net: Network) -> list[Tensor]:
    x = net.unary("LOGISTIC", net.input((1, 4, 4, 2)))
    return [net.conv(net.pad(x, 5), 4, 3, VALID)]


def float_in_and_out(net: Network) -> list[Tensor]:
    x = net.unary("QUANTIZE", net.input((1, 4, 4, 2), "float32"))
    return [net.unary("DEQUANTIZE", net.conv(x, 3), "float32")]


def softmax_then_dequantize(net: Network) -> list[Tensor]:
    y = net.unary("SOFTMAX", net.reshape(net.conv(net.input((1, 2, 2, 3)), 5), (4, 5)))
    return [net.unary("DEQUANTIZE", y, "float32")]


def mean_then_relu(net: Network) -> list[Tensor]:
    return [net.unary("RELU", net.mean(net.input((2, 3, 5, 7))))]


def concat_then_quantize(net: Network) -> list[Tensor]:
    x = net.input((2, 3, 3, 2))
    y = net.pool("MAX_POOL_2D", x)
    return [net.unary("QUANTIZE", net.concat([x, y, x], 1), "int16")]


def pool_chain(net: Network) -> list[Tensor]:
    y = net.unary("RELU_N1_TO_1", net.pool("AVERAGE_POOL_2D", net.input((1, 5, 5, 3))))
    return [net.unary("LOGISTIC", y)]


def head_of_a_classifier(net: Network) -> list[Tensor]:
    y = net.conv(net.input((1, 6, 6, 3)), 8, activation="relu")
    y = net.reshape(net.mean(net.depthwise(y)), (1, 8))
    return [net.unary("SOFTMAX", net.dense(y, 10))]


def sum_of_one(net: Network) -> list[Tensor]:
    x = net.unary("RELU", net.input((1, 3, 4, 2)))
    return [net.binary("ADD", x, x), net.binary("MUL", x, x)]


def residual(net: Network) -> list[Tensor]:
    x = net.unary("QUANTIZE", net.input((1, 4, 4, 4)))
    y = net.conv(net.conv(x, 4), 4)
    return [net.unary("RELU", net.binary("ADD", x, y))]


def residual_around_one(net: Network) -> list[Tensor]:
    x = net.input((1, 5, 4, 6))
    y = net.binary("SUB", x, net.conv(x, 6, 1))
    return [net.unary("TANH", net.binary("ADD", net.depthwise(y), y))]


def residual_in_place(net: Network) -> list[Tensor]:
    x = net.conv(net.input((1, 6, 5, 3)), 8)
    x = net.binary("ADD", net.conv(net.conv(x, 8), 8), x)
    short = net.conv(x, 12, 1, stride=2)
    y = net.binary("ADD", short, net.conv(net.conv(x, 12, 3, stride=2), 12))
    return [net.binary("MUL", net.unary("LOGISTIC", y), y)]


def sum_with_a_scalar(net: Network) -> list[Tensor]:
    one = net.constant(np.array([[[[50]]]], np.int8), 0.05, zero=-3)
    y = net.binary("MUL", net.conv(net.input((1, 3, 3, 4)), 4, 1), one)
    return [net.binary("SUB", net.constant(np.array(7, np.int8), 0.3, zero=5), y)]


def sum_of_a_pool_and_a_softmax(net: Network) -> list[Tensor]:
    x = net.input((1, 4, 4, 3))
    pooled = net.binary("ADD", x, net.pool("AVERAGE_POOL_2D", x))
    return [net.binary("ADD", pooled, net.unary("SOFTMAX", x))]


def sum_of_a_concat(net: Network) -> list[Tensor]:
    x, y = net.input((1, 2, 3, 4)), net.input((1, 2, 3, 8))
    return [net.binary("ADD", y, net.concat([x, x], 3))]


def sum_of_a_dense_layer(net: Network) -> list[Tensor]:
    x = net.input((1, 12))
    return [net.binary("ADD", net.dense(x, 12), x)]


def sum_with_a_large_constant(net: Network) -> list[Tensor]:
    y = net.conv(net.input((1, 3, 3, 4)), 4, 1)
    full = net.constant(np.arange(-18, 18).astype(np.int8).reshape(1, 3, 3, 4), 0.3, zero=5)
    return [net.binary("ADD", y, full)]


def broadcast_of_an_input(net: Network) -> list[Tensor]:
    x, y = net.input((1, 4, 4, 3)), net.input((1, 1, 1, 3))
    scaled = net.binary("MUL", net.unary("TANH", x), net.unary("LOGISTIC", y))
    return [net.binary("SUB", y, scaled), net.binary("ADD", scaled, x)]


def constant_operand(net: Network) -> list[Tensor]:
    y = net.conv(net.input((1, 4, 4, 3)), 4)
    other = net.constant(np.arange(-8, 8).astype(np.int8).reshape(1, 4, 1, 4), 0.3, zero=5)
    return [net.binary("ADD", y, other)]


def reshape_of_an_input(net: Network) -> list[Tensor]:
    x = net.input((2, 6))
    return [net.reshape(x, (3, 4))]


def reshape_and_overwrite(net: Network) -> list[Tensor]:
    x = net.input((1, 2, 3, 2))
    return [net.reshape(x, (4, 3)), net.unary("RELU", x), net.unary("TANH", net.reshape(x, (12,)))]


def unused_input(net: Network) -> list[Tensor]:
    net.input((3, 3))
    return [net.unary("TANH", net.input((4, 2)))]


def dead_branch(net: Network) -> list[Tensor]:
    x = net.input((1, 4, 4, 2))
    net.conv(net.unary("TANH", x), 3)
    return [net.pool("MAX_POOL_2D", x)]


GRAPHS: dict[Build, list[str]] = {
    conv_relu_quantize: ["conv2d relu6 quantize"],
    conv_with_two_readers: ["conv2d", "relu", "tanh"],
    conv_that_is_an_output_too: ["conv2d", "relu6"],
    pad_then_conv: ["pad conv2d"],
    pad_then_pointwise_then_tanh: ["pad conv2d tanh"],
    pad_then_depthwise: ["pad depthwise_conv2d"],
    pad_of_the_zero_point: ["conv2d"],
    pad_that_is_an_output_too: ["pad", "conv2d"],
    activation_then_pad_then_conv: ["logistic", "pad conv2d"],
    float_in_and_out: ["quantize", "conv2d dequantize"],
    softmax_then_dequantize: ["conv2d", "softmax dequantize"],
    mean_then_relu: ["mean relu"],
    concat_then_quantize: ["max_pool2d", "concat quantize"],
    pool_chain: ["avg_pool2d relu_n1_to_1 logistic"],
    head_of_a_classifier: ["conv2d", "depthwise_conv2d", "mean", "dense", "softmax"],
    sum_of_one: ["relu", "add", "mul"],
    residual: ["quantize", "conv2d", "conv2d add relu"],
    residual_around_one: ["conv2d sub", "depthwise_conv2d add tanh"],
    residual_in_place: [
        *["conv2d", "conv2d", "conv2d add"],
        *["conv2d", "conv2d", "conv2d add", "logistic mul"],
    ],
    sum_with_a_scalar: ["conv2d mul sub"],
    sum_of_a_pool_and_a_softmax: ["avg_pool2d add", "softmax add"],
    sum_of_a_concat: ["concat add"],
    sum_of_a_dense_layer: ["dense add"],
    sum_with_a_large_constant: ["conv2d add"],
    broadcast_of_an_input: ["tanh", "logistic", "mul", "sub", "add"],
    constant_operand: ["conv2d", "add"],
    reshape_of_an_input: ["reshape"],
    reshape_and_overwrite: ["reshape", "relu", "tanh"],
    unused_input: ["tanh"],
    dead_branch: ["max_pool2d"],
}
"""Each with the operators of every kernel, in order."""


def cases(seeds: range = range(2)) -> list[Case]:
    made = []
    for write in GRAPHS:
        for seed in seeds:
            net = Network(np.random.default_rng(seed))
            model = net.model(*write(net))
            made.append(Case(f"{write.__name__}, seed {seed}", model, net.data()))
    return made


def test_outputs_equal_the_reference(tmp_path: Path) -> None:
    check(cases(), tmp_path)


@pytest.mark.parametrize("write", GRAPHS, ids=lambda write: write.__name__)
def test_kernels(write: Build) -> None:
    net = Network(np.random.default_rng(0))
    groups = compiled(imported(net.model(*write(net)))).fused.groups
    assert [" ".join(n.op for n in group.nodes) for group in groups] == GRAPHS[write]


def test_loop_programs_give_the_same() -> None:
    for case in cases(range(1)):
        made = compiled(imported(case.model))
        assert_equal(interpreted(made, case.inputs), case.reference())


@pytest.mark.parametrize("operators", [6, 20])
def test_random_networks(operators: int, tmp_path: Path) -> None:
    made = []
    for seed in range(300 // (operators + 4)):
        model, data = random_network(np.random.default_rng([operators, seed]), operators)
        made.append(Case(f"{operators} operators, seed {seed}", model, data))
    check(made, tmp_path)


def test_outputs_overlap_wherever_they_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not only where that makes the arena smaller."""
    monkeypatch.setattr(layout, "_needed", lambda requests, total_bytes: list(requests))
    made = []
    for seed in range(16):
        model, data = random_network(np.random.default_rng([77, seed]), 8)
        made.append(Case(f"seed {seed}", model, data))
    overlaps = sum(
        r.ahead is not None for c in made for r in compiled(imported(c.model)).layout.requests
    )
    assert overlaps > len(made)
    check(made, tmp_path)


def test_an_output_that_is_an_input_and_one_that_is_a_constant(tmp_path: Path) -> None:
    x = Tensor("x", (2, 3), "int8", 0.5, 1)
    y = Tensor("y", (2, 3), "int8", 0.25, 1)
    c = Tensor("c", (4,), "int8", 0.5, data=np.array([1, -2, 127, -128], np.int8))
    relu = [Operator("RELU", ("x",), ("y",))]
    data = np.array([[-128, -1, 0], [1, 2, 127]], np.int8)
    library = compiled(imported(build([x, y, c], relu, ["x"], ["x", "y", "c"]))).library
    (found,) = run_libraries([library], [[data]], tmp_path)
    (expected,) = run(build([x, y], relu, ["x"], ["y"]), data)
    assert c.data is not None
    assert_equal(found, [data, expected, c.data])


def test_layers_of_sizes_that_schedules_tell_apart(tmp_path: Path) -> None:
    made = []
    for seed in range(40):
        model, data = random_layer(np.random.default_rng([3, seed]))
        made.append(Case(f"seed {seed}", model, data))
    check(made, tmp_path)


def test_one_value_that_is_two_outputs(tmp_path: Path) -> None:
    net = Network(np.random.default_rng(0))
    y = net.unary("TANH", net.input((2, 3)))
    check([Case("", net.model(y, y), net.data())], tmp_path)


@pytest.mark.parametrize("kernel", [1, 3])
def test_one_value_that_a_kernel_reads_in_two_shapes(kernel: int, tmp_path: Path) -> None:
    """It may not be written over through one of them while windows of the other are read."""
    net = Network(np.random.default_rng(kernel))
    x = net.unary("TANH", net.input((1, 4, 8, 4)))
    weights = net._weights((8, kernel, kernel, 4))
    options = conv_options(SAME, (1, 2), activation=ACTIVATIONS["none"])
    y = net._weighted("CONV_2D", x, weights, 0, (1, 4, 4, 8), options)
    total = net.binary("ADD", y, net.reshape(x, (1, 4, 4, 8)))
    check([Case("", net.model(total), net.data())], tmp_path)
