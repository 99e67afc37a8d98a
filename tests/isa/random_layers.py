"""Layers of odd shapes, to compile for a core and compare with their numpy meaning."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from microtvm.graph.ir import Graph, Node, Quant, TensorType
from microtvm.inference import run_project
from microtvm.npz import Inputs
from microtvm.ops.base import attributes
from microtvm.ops.evaluate import evaluate_graph
from microtvm.ops.verify import verify
from microtvm.pipeline import compile_graph
from microtvm.project import build_project, create_project
from microtvm.target import Cpu, load_board
from microtvm.util import Array

NODES = 8
"""In one image: as many inputs as the server takes."""


def _quant(rng: np.random.Generator, low: float, high: float) -> Quant:
    zero = int(rng.choice([-128, 127, rng.integers(-128, 128)]))
    return Quant((float(rng.uniform(low, high)),), (zero,))


class RandomLayers:
    """A graph of unconnected layers, of int8 or float32."""

    def __init__(self, seed: int, dtype: str = "int8") -> None:
        self.rng = np.random.default_rng(seed)
        self.dtype = dtype
        self.types: dict[str, TensorType] = {}
        self.constants: dict[str, Array] = {}
        self.nodes: list[Node] = []

    def graph(self) -> Graph:
        """Half convolutions, half dense layers."""
        for k in range(NODES):
            (self.conv if k % 2 else self.dense)(k)
        return Graph(
            "random",
            tuple(n.inputs[0] for n in self.nodes),
            tuple(n.outputs[0] for n in self.nodes),
            tuple(self.nodes),
            self.types,
            self.constants,
        )

    def _layer(self, k: int, op: str, shapes: tuple[tuple[int, ...], ...], **attrs: object) -> None:
        rng, (x, w, y) = self.rng, shapes
        channels = w[0]
        if self.dtype == "float32":
            for name, shape in ((f"x{k}", x), (f"w{k}", w), (f"b{k}", (channels,)), (f"y{k}", y)):
                self.types[name] = TensorType(shape, "float32")
            self.constants[f"w{k}"] = rng.normal(size=w).astype(np.float32)
            self.constants[f"b{k}"] = rng.normal(size=channels).astype(np.float32)
        else:
            self._quantised(k, shapes)
        activation = str(rng.choice(["none", "relu"]))
        node = Node(
            f"layer{k}",
            op,
            (f"x{k}", f"w{k}", f"b{k}"),
            (f"y{k}",),
            attributes(activation=activation, **attrs),  # type: ignore[arg-type]
        )
        self.nodes.append(node)

    def _quantised(self, k: int, shapes: tuple[tuple[int, ...], ...]) -> None:
        rng, (x, w, y) = self.rng, shapes
        channels = w[0]
        weights = rng.integers(-127, 128, w).astype(np.int8)
        scales = tuple(float(s) for s in rng.uniform(0.002, 0.02, channels))
        self.types[f"x{k}"] = TensorType(x, "int8", _quant(rng, 0.01, 0.2))
        self.types[f"w{k}"] = TensorType(w, "int8", Quant(scales, (0,) * channels, 0))
        self.types[f"b{k}"] = TensorType((channels,), "int32")
        self.types[f"y{k}"] = TensorType(y, "int8", _quant(rng, 0.05, 0.5))
        self.constants[f"w{k}"] = weights
        self.constants[f"b{k}"] = rng.integers(-3000, 3000, channels).astype(np.int32)

    def conv(self, k: int) -> None:
        """Any kernel, stride, padding, dilation of rows; numbers of channels even and odd."""
        rng = self.rng
        kernel = tuple(int(v) for v in rng.integers(1, 4, 2))
        strides = tuple(int(v) for v in rng.integers(1, 3, 2))
        padding = tuple(int(v) for v in rng.integers(0, 2, 4))
        dilation = (int(rng.choice([1, 1, 2])), 1)
        height, width = (int(v) for v in rng.integers(5, 12, 2))
        depth, channels = int(rng.choice([1, 3, 4, 8, 12, 20])), int(rng.integers(1, 10))
        reach = (kernel[0] - 1) * dilation[0] + 1
        out_h = (height + padding[0] + padding[1] - reach) // strides[0] + 1
        out_w = (width + padding[2] + padding[3] - kernel[1]) // strides[1] + 1
        shapes = (
            (1, height, width, depth),
            (channels, *kernel, depth),
            (1, out_h, out_w, channels),
        )
        self._layer(
            k, "conv2d", shapes, strides=strides, dilation=dilation, padding=padding, groups=1
        )

    def dense(self, k: int) -> None:
        """A few rows, any number of channels, depths of a multiple of four and others."""
        rng = self.rng
        rows, channels = int(rng.choice([1, 2, 5])), int(rng.integers(1, 12))
        depth = int(rng.choice([4, 8, 12, 20, 64, 7]))
        shapes = ((rows, depth), (channels, depth), (rows, channels))
        self._layer(k, "dense", shapes, keep_dims=False)

    def data(self, shape: tuple[int, ...]) -> Array:
        """An input, of all values that its type has."""
        if self.dtype == "float32":
            return self.rng.normal(size=shape).astype(np.float32)
        return self.rng.integers(-128, 128, shape).astype(np.int8)


def check_layers(layers: RandomLayers, board: str, cpu: Cpu, folder: Path) -> str:
    """Compile for the core, run on the board, compare with the numpy meaning; returns the C.

    Other tests hold the numpy meaning against LiteRT's reference kernels.
    """
    graph = verify(layers.graph())
    library = compile_graph(graph, cpu, prefix="odd").library
    library.write(folder / "library")
    project = create_project(folder / "library", load_board(board), folder / "project")
    build_project(project)
    runs = tuple({v: layers.data(graph.types[v].shape) for v in graph.inputs} for _ in range(2))
    outputs = run_project(project, Inputs(runs, stacked=True)).outputs
    for k, arrays in enumerate(runs):
        wanted = evaluate_graph(graph, arrays)
        for value in graph.outputs:
            if layers.dtype == "int8":
                np.testing.assert_array_equal(outputs[value][k], wanted[value], err_msg=value)
                continue
            most = 1e-5 * max(1.0, float(np.max(np.abs(wanted[value]))))
            found = outputs[value][k]
            np.testing.assert_allclose(found, wanted[value], rtol=0, atol=most, err_msg=value)
    return library.files["odd.c"]
