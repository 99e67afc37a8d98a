"""Random layers of the kinds that Helium has templates for, as graphs of unconnected nodes."""

from __future__ import annotations

import numpy as np

from microtvm.graph.ir import Graph, Node, Quant, TensorType
from microtvm.ops.base import attributes
from microtvm.ops.verify import verify
from microtvm.util import Array

NODES = 8
"""In one image: as many inputs as the server takes."""


class Layers:
    """Layers of random shapes, scales and zero points."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.types: dict[str, TensorType] = {}
        self.constants: dict[str, Array] = {}
        self.nodes: list[Node] = []

    def graph(self) -> Graph:
        """One layer of each kind in turn."""
        kinds = (self.dense, self.pointwise, self.conv, self.depthwise)
        for k in range(NODES - 2):
            kinds[k % len(kinds)](k)
        self.add(NODES - 2)
        inputs = tuple(v for n in self.nodes for v in n.inputs if v not in self.constants)
        outputs = tuple(n.outputs[0] for n in self.nodes)
        nodes = tuple(self.nodes)
        return verify(Graph("random", inputs, outputs, nodes, self.types, self.constants))

    def _quant(self, low: float, high: float) -> Quant:
        zero = int(self.rng.choice([-128, 127, self.rng.integers(-128, 128)]))
        return Quant((float(self.rng.uniform(low, high)),), (zero,))

    def _layer(
        self, k: int, op: str, shapes: tuple[tuple[int, ...], ...], axis: int, **attrs: object
    ) -> None:
        rng, (x, w, y) = self.rng, shapes
        channels = w[axis]
        scales = tuple(float(s) for s in rng.uniform(0.002, 0.02, channels))
        self.types[f"x{k}"] = TensorType(x, "int8", self._quant(0.01, 0.2))
        self.types[f"w{k}"] = TensorType(w, "int8", Quant(scales, (0,) * channels, axis))
        self.types[f"b{k}"] = TensorType((channels,), "int32")
        self.types[f"y{k}"] = TensorType(y, "int8", self._quant(0.05, 0.5))
        self.constants[f"w{k}"] = rng.integers(-127, 128, w).astype(np.int8)
        self.constants[f"b{k}"] = rng.integers(-3000, 3000, channels).astype(np.int32)
        activation = str(rng.choice(["none", "relu", "relu6"]))
        attributes_ = attributes(activation=activation, **attrs)  # type: ignore[arg-type]
        inputs = (f"x{k}", f"w{k}", f"b{k}")
        self.nodes.append(Node(f"layer{k}", op, inputs, (f"y{k}",), attributes_))

    def dense(self, k: int) -> None:
        """One or a few rows; depths below, at and above what a tile writes out, whole or not."""
        rng = self.rng
        rows, channels = int(rng.choice([1, 1, 2, 5])), int(rng.integers(1, 40))
        depth = int(rng.choice([1, 3, 16, 40, 128, 144, 150, 320, 340]))
        shapes = ((rows, depth), (channels, depth), (rows, channels))
        self._layer(k, "dense", shapes, 0, keep_dims=False)

    def pointwise(self, k: int) -> None:
        """A convolution of single pixels, at strides of one and two."""
        stride = int(self.rng.integers(1, 3))
        depth = int(self.rng.choice([8, 16, 19, 32, 64]))
        self._conv(k, (1, 1), (stride, stride), (0, 0, 0, 0), depth)

    def conv(self, k: int) -> None:
        """Any kernel, stride and padding; rows of taps that fill vectors, and that don't."""
        rng = self.rng
        kernel = tuple(int(v) for v in rng.integers(1, 5, 2))
        strides = tuple(int(v) for v in rng.integers(1, 3, 2))
        padding = tuple(int(v) for v in rng.integers(0, 2, 4))
        self._conv(k, kernel, strides, padding, int(rng.choice([1, 2, 3, 8, 16, 24, 64])))

    def _conv(
        self,
        k: int,
        kernel: tuple[int, ...],
        strides: tuple[int, ...],
        padding: tuple[int, ...],
        depth: int,
    ) -> None:
        channels = int(self.rng.integers(1, 24))
        height, width, out = self._image(kernel, strides, padding)
        shapes = ((1, height, width, depth), (channels, *kernel, depth), (1, *out, channels))
        self._layer(
            k, "conv2d", shapes, 0, strides=strides, dilation=(1, 1), padding=padding, groups=1
        )

    def depthwise(self, k: int) -> None:
        """Kernels that fit into a patch of four columns, of one column, and that don't fit."""
        rng = self.rng
        kernel = tuple(int(v) for v in rng.choice([[3, 3], [2, 3], [4, 4], [1, 2], [7, 1], [5, 5]]))
        strides = tuple(int(v) for v in rng.integers(1, 3, 2))
        padding = tuple(int(v) for v in rng.integers(0, 2, 4))
        channels = int(rng.choice([1, 3, 8, 16, 20, 40]))
        height, width, out = self._image(kernel, strides, padding)
        shapes = ((1, height, width, channels), (1, *kernel, channels), (1, *out, channels))
        self._layer(
            k, "depthwise_conv2d", shapes, 3,
            strides=strides, dilation=(1, 1), padding=padding, multiplier=1,
        )  # fmt: skip

    def _image(
        self, kernel: tuple[int, ...], strides: tuple[int, ...], padding: tuple[int, ...]
    ) -> tuple[int, int, tuple[int, int]]:
        height, width = (int(v) for v in self.rng.integers(7, 14, 2))
        out_h = (height + padding[0] + padding[1] - kernel[0]) // strides[0] + 1
        out_w = (width + padding[2] + padding[3] - kernel[1]) // strides[1] + 1
        return height, width, (out_h, out_w)

    def add(self, k: int) -> None:
        """Two tensors of one shape, of any number of elements."""
        shape = (1, *(int(v) for v in self.rng.integers(1, 9, 3)))
        for name in (f"x{k}", f"z{k}", f"y{k}"):
            self.types[name] = TensorType(shape, "int8", self._quant(0.05, 0.2))
        node = Node(
            f"layer{k}", "add", (f"x{k}", f"z{k}"), (f"y{k}",), attributes(activation="none")
        )
        self.nodes.append(node)
