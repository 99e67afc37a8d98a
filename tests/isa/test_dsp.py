"""Tiles of the DSP extension on emulated cores that have it, over shapes that don't fit them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from microtvm.graph.ir import Graph, Node, Quant, TensorType
from microtvm.inference import run_project
from microtvm.isa.dsp_operand import FORMS
from microtvm.isa.dsp_tile import Tile
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


def _quant(rng: np.random.Generator, low: float, high: float) -> Quant:
    zero = int(rng.choice([-128, 127, rng.integers(-128, 128)]))
    return Quant((float(rng.uniform(low, high)),), (zero,))


class _Random:
    """A graph of unconnected layers."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
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
        weights = rng.integers(-127, 128, w).astype(np.int8)
        scales = tuple(float(s) for s in rng.uniform(0.002, 0.02, channels))
        self.types[f"x{k}"] = TensorType(x, "int8", _quant(rng, 0.01, 0.2))
        self.types[f"w{k}"] = TensorType(w, "int8", Quant(scales, (0,) * channels, 0))
        self.types[f"b{k}"] = TensorType((channels,), "int32")
        self.types[f"y{k}"] = TensorType(y, "int8", _quant(rng, 0.05, 0.5))
        self.constants[f"w{k}"] = weights
        self.constants[f"b{k}"] = rng.integers(-3000, 3000, channels).astype(np.int32)
        activation = str(rng.choice(["none", "relu"]))
        node = Node(
            f"layer{k}",
            op,
            (f"x{k}", f"w{k}", f"b{k}"),
            (f"y{k}",),
            attributes(activation=activation, **attrs),  # type: ignore[arg-type]
        )
        self.nodes.append(node)

    def conv(self, k: int) -> None:
        """Any kernel, stride, padding; channels that are and are not multiples of four."""
        rng = self.rng
        kernel = tuple(int(v) for v in rng.integers(1, 4, 2))
        strides = tuple(int(v) for v in rng.integers(1, 3, 2))
        padding = tuple(int(v) for v in rng.integers(0, 2, 4))
        height, width = (int(v) for v in rng.integers(3, 12, 2))
        depth, channels = int(rng.choice([1, 3, 4, 8, 12, 20])), int(rng.integers(1, 10))
        out_h = (height + padding[0] + padding[1] - kernel[0]) // strides[0] + 1
        out_w = (width + padding[2] + padding[3] - kernel[1]) // strides[1] + 1
        shapes = (
            (1, height, width, depth),
            (channels, *kernel, depth),
            (1, out_h, out_w, channels),
        )
        self._layer(
            k, "conv2d", shapes, strides=strides, dilation=(1, 1), padding=padding, groups=1
        )

    def dense(self, k: int) -> None:
        """A few rows, any number of channels, depths of a multiple of four and others."""
        rng = self.rng
        rows, channels = int(rng.choice([1, 2, 5])), int(rng.integers(1, 12))
        depth = int(rng.choice([4, 8, 12, 20, 64, 7]))
        shapes = ((rows, depth), (channels, depth), (rows, channels))
        self._layer(k, "dense", shapes, keep_dims=False)


@pytest.mark.qemu
@pytest.mark.parametrize("board", ["qemu-mps2-an386", "qemu-mps2-an505", "qemu-mps3-an547"])
@pytest.mark.parametrize("seed", range(4))
def test_odd_shapes(board: str, seed: int, tmp_path: Path) -> None:
    """Equal to the numpy meaning, which other tests hold against LiteRT's reference kernels."""
    require_tool("qemu-system-arm")
    require_tool("arm-none-eabi-gcc")
    graph = verify(_Random(seed).graph())
    target = load_board(board)
    compile_graph(graph, target.cpu, prefix="odd").library.write(tmp_path / "library")
    project = create_project(tmp_path / "library", target, tmp_path / "project")
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


def test_tile_names_tell_tiles_apart() -> None:
    """Two tiles of one name would be one function."""
    tiles = [
        Tile(form, rows, columns, groups, 4, half, 32, counted=counted, fresh=fresh)
        for form in FORMS
        for rows, columns in ((4, 2), (1, 4), (3, 2))
        for groups in (2, 3, 5, 8)
        for half in (8, 16)
        for counted in (True, False)
        for fresh in (True, False)
    ]
    texts: dict[str, set[str]] = {}
    for tile in tiles:
        texts.setdefault(tile.name, set()).add(tile.source())
    assert all(len(found) == 1 for found in texts.values())
