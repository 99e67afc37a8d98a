"""Depthwise tiles of the DSP extension on an emulated core, over shapes that don't fit them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from microtvm.graph.ir import Graph, Node, Quant, TensorType
from microtvm.inference import run_project
from microtvm.npz import Inputs
from microtvm.ops.base import attributes
from microtvm.ops.evaluate import evaluate_graph
from microtvm.ops.verify import verify
from microtvm.pipeline import compile_graph
from microtvm.project import build_project, create_project
from microtvm.target import load_board
from microtvm.util import Array
from tests.conftest import require_tool

NODES = 8
"""In one image: as many inputs as the server takes."""

KERNELS = [(3, 3)] * 3 + [(5, 1), (10, 1), (15, 1), (1, 5), (5, 5), (2, 2), (3, 1), (4, 3), (1, 1)]


def _quant(rng: np.random.Generator, low: float, high: float) -> Quant:
    zero = int(rng.choice([-128, 127, rng.integers(-128, 128)]))
    return Quant((float(rng.uniform(low, high)),), (zero,))


def _layer(
    rng: np.random.Generator, k: int, types: dict[str, TensorType], constants: dict[str, Array]
) -> Node:
    """A depthwise convolution: any kernel, strides, padding, channels; a few dilated ones."""
    random = tuple(int(v) for v in rng.integers(1, 6, 2))
    kernel = random if rng.random() < 0.3 else KERNELS[int(rng.integers(len(KERNELS)))]
    strides = tuple(int(v) for v in rng.integers(1, 3, 2))
    dilation = (1, int(rng.integers(1, 3))) if rng.random() < 0.1 else (1, 1)
    padding = tuple(int(v) for v in rng.integers(0, 3, 4))
    spans = [(n - 1) * d + 1 for n, d in zip(kernel, dilation, strict=True)]
    least = [n - sum(padding[2 * i : 2 * i + 2]) for i, n in enumerate(spans)]
    height, width = (int(rng.integers(max(1, n), max(1, n) + 16)) for n in least)
    depth = int(rng.choice([1, 3, 4, 8, 11, 12, 20, 6]))
    multiplier = 2 if rng.random() < 0.1 else 1
    channels = depth * multiplier
    out_h = (height + padding[0] + padding[1] - spans[0]) // strides[0] + 1
    out_w = (width + padding[2] + padding[3] - spans[1]) // strides[1] + 1
    scales = tuple(float(s) for s in rng.uniform(0.002, 0.02, channels))
    types[f"x{k}"] = TensorType((1, height, width, depth), "int8", _quant(rng, 0.01, 0.2))
    types[f"w{k}"] = TensorType((1, *kernel, channels), "int8", Quant(scales, (0,) * channels, 3))
    types[f"b{k}"] = TensorType((channels,), "int32")
    types[f"y{k}"] = TensorType((1, out_h, out_w, channels), "int8", _quant(rng, 0.05, 0.5))
    constants[f"w{k}"] = rng.integers(-127, 128, (1, *kernel, channels)).astype(np.int8)
    constants[f"b{k}"] = rng.integers(-3000, 3000, channels).astype(np.int32)
    attrs = attributes(
        activation=str(rng.choice(["none", "relu", "relu6"])),
        strides=strides,
        dilation=dilation,
        padding=padding,
        multiplier=multiplier,
    )
    inputs = (f"x{k}", f"w{k}", f"b{k}")
    return Node(f"layer{k}", "depthwise_conv2d", inputs, (f"y{k}",), attrs)


def _graph(seed: int) -> Graph:
    """Layers that are not connected."""
    rng = np.random.default_rng(seed)
    types: dict[str, TensorType] = {}
    constants: dict[str, Array] = {}
    nodes = tuple(_layer(rng, k, types, constants) for k in range(NODES))
    inputs = tuple(n.inputs[0] for n in nodes)
    outputs = tuple(n.outputs[0] for n in nodes)
    return verify(Graph("random", inputs, outputs, nodes, types, constants))


@pytest.mark.qemu
@pytest.mark.parametrize(
    ("board", "seeds"), [("qemu-mps2-an386", range(8)), ("qemu-mps2-an505", range(8, 10))]
)
def test_odd_shapes(board: str, seeds: range, tmp_path: Path) -> None:
    """Equal to the numpy meaning, which other tests hold against LiteRT's reference kernels."""
    require_tool("qemu-system-arm")
    require_tool("arm-none-eabi-gcc")
    target = load_board(board)
    for seed in seeds:
        graph = _graph(seed)
        folder = tmp_path / str(seed)
        compile_graph(graph, target.cpu, prefix="odd").library.write(folder / "library")
        project = create_project(folder / "library", target, folder / "project")
        build_project(project)
        rng = np.random.default_rng(100 + seed)
        runs = tuple(
            {v: rng.integers(-128, 128, graph.types[v].shape).astype(np.int8) for v in graph.inputs}
            for _ in range(2)
        )
        outputs = run_project(project, Inputs(runs, stacked=True)).outputs
        for k, arrays in enumerate(runs):
            wanted = evaluate_graph(graph, arrays)
            for value in graph.outputs:
                np.testing.assert_array_equal(outputs[value][k], wanted[value], err_msg=value)
