"""Sums that are a convolution's epilogue, under every core's schedules, on emulated cores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from microtvm.graph.ir import Attr, Graph, Quant, TensorType
from microtvm.inference import run_project
from microtvm.npz import Inputs
from microtvm.ops.evaluate import evaluate_graph
from microtvm.ops.verify import verify
from microtvm.pipeline import compile_graph
from microtvm.project import build_project, create_project
from microtvm.target import load_board
from tests.passes.random_graph import Maker
from tests.project.image import require_board_tools

CHANNELS = 8
BOARDS = (
    "qemu-riscv32",
    "qemu-mps2-an385",
    "qemu-mps2-an386",
    "qemu-mps3-an547",
)


class _Residuals:
    """Sums of an image and what a layer makes of it; scales at which few results saturate."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.maker = Maker((1, 5, 7, CHANNELS), "int8", self.quant(0.05, 0.1))

    def quant(self, low: float, high: float) -> Quant:
        scale = float(np.float32(self.rng.uniform(low, high)))
        return Quant((scale,), (int(self.rng.integers(-40, 40)),))

    def like(self, quant: Quant) -> TensorType:
        return TensorType((1, 5, 7, CHANNELS), "int8", quant)

    def layer(self, x: str, size: int, *, depthwise: bool = False) -> str:
        """A convolution that keeps the shape."""
        one, many = (1, CHANNELS) if depthwise else (CHANNELS, CHANNELS)
        shape = (one, size, size, many)
        scales = tuple(float(s) for s in self.rng.uniform(0.002, 0.004, CHANNELS))
        quant = Quant(scales, (0,) * CHANNELS, 3 if depthwise else 0)
        w = self.maker.constant(self.rng.integers(-127, 128, shape).astype(np.int8), quant)
        b = self.maker.constant(self.rng.integers(-2000, 2000, CHANNELS).astype(np.int32))
        kind: dict[str, Attr] = {"multiplier": 1} if depthwise else {"groups": 1}
        return self.maker.add(
            "depthwise_conv2d" if depthwise else "conv2d", (x, w, b),
            self.like(self.quant(0.04, 0.08)), strides=(1, 1), dilation=(1, 1),
            padding=(size // 2,) * 4, activation="none", **kind,
        )  # fmt: skip

    def sum(self, a: str, b: str, op: str = "add") -> str:
        activation = str(self.rng.choice(["none", "relu"]))
        like = self.like(self.quant(0.08, 0.15))
        return self.maker.add(op, (a, b), like, activation=activation)

    def graph(self) -> Graph:
        shortcut = self.layer("x", 3)
        outputs = [
            self.sum("x", self.layer("x", 3)),
            self.sum(self.layer("x", 1), "x"),
            self.sum(self.layer("x", 3, depthwise=True), "x", "sub"),
            self.sum(self.layer("x", 1), self.layer("x", 3)),
            self.sum(self.layer(self.layer(shortcut, 3), 3), shortcut),
            self.sum("x", self.layer("x", 1), "mul"),
        ]
        return verify(self.maker.graph(*outputs))


@pytest.mark.qemu
@pytest.mark.parametrize("board", BOARDS)
def test_residuals(board: str, tmp_path: Path) -> None:
    """Equal to the numpy meaning; no sum has a kernel of its own, and one is in place."""
    target = load_board(board)
    require_board_tools(target)
    graph = _Residuals(3).graph()
    compiled = compile_graph(graph, target.cpu, prefix="sums")
    kinds = [" ".join(n.op for n in g.nodes) for g in compiled.fused.groups]
    assert not set(kinds) & {"add", "sub", "mul"}
    assert any(len(k.group.inputs) == 2 and k.in_place for k in compiled.kernels)
    compiled.library.write(tmp_path / "library")
    project = create_project(tmp_path / "library", target, tmp_path / "project")
    build_project(project)
    rng = np.random.default_rng(100)
    shape = graph.types["x"].shape
    runs = tuple({"x": rng.integers(-128, 128, shape).astype(np.int8)} for _ in range(2))
    outputs = run_project(project, Inputs(runs, stacked=True)).outputs
    for k, arrays in enumerate(runs):
        wanted = evaluate_graph(graph, arrays)
        for value in graph.outputs:
            assert len(np.unique(wanted[value])) > 30
            np.testing.assert_array_equal(outputs[value][k], wanted[value], err_msg=value)
