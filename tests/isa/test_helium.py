"""Helium's templates on the emulated core that has it, over shapes that don't fit their tiles."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from microtvm import te
from microtvm.graph.ir import Graph
from microtvm.inference import run_project
from microtvm.isa.schedule import Choice, apply
from microtvm.npz import Inputs
from microtvm.ops.evaluate import evaluate_graph
from microtvm.pipeline import compile_graph
from microtvm.project import build_project, create_project
from microtvm.target import Board, load_board, load_cpu
from microtvm.te.schedule import Schedule
from tests.conftest import require_tool
from tests.isa.helium_layers import Layers

CPU = "cortex-m55"
BOARD = "qemu-mps3-an547"


def assert_exact(graph: Graph, board: Board, seed: int, folder: Path) -> None:
    """Equal to the numpy meaning, which other tests hold against LiteRT's reference kernels."""
    compile_graph(graph, board.cpu, prefix="odd").library.write(folder / "library")
    project = create_project(folder / "library", board, folder / "project")
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


@pytest.mark.qemu
@pytest.mark.parametrize("seed", range(8))
def test_odd_shapes(seed: int, tmp_path: Path) -> None:
    require_tool("qemu-system-arm")
    require_tool("arm-none-eabi-gcc")
    assert_exact(Layers(seed).graph(), load_board(BOARD), seed, tmp_path)


@pytest.mark.parametrize("seed", range(2))
def test_meanings_elsewhere(seed: int, tmp_path: Path) -> None:
    """Where there is no Helium, every intrinsic's meaning is compiled in its place."""
    require_tool("cc")
    board = load_board("host")
    pretended = replace(board, cpu=replace(board.cpu, features=board.cpu.features | {"mve"}))
    assert_exact(Layers(20 + seed).graph(), pretended, seed, tmp_path)


def product(rows: int, depth: int, columns: int, dtype: str = "int8") -> Schedule:
    """int8 rows by constant columns, requantised."""
    x = te.placeholder((rows, depth), dtype, "x")
    w = te.constant(np.ones((columns, depth), dtype), "w")
    k = te.reduce_axis(depth, "k")
    wide = "int32" if dtype == "int8" else dtype
    acc = te.compute(
        (rows, columns),
        lambda i, j: te.sum(x[i, k.var].astype(wide) * w[j, k.var].astype(wide), axis=k),
    )
    y = te.compute((rows, columns), lambda i, j: te.max(acc[i, j], 0), "y")
    return te.create_schedule([y])


@pytest.mark.parametrize(
    ("schedule", "cpu", "taken"),
    [
        (product(8, 16, 4), CPU, True),
        (product(1, 7, 1), CPU, True),
        (product(8, 16, 4, "float32"), CPU, False),
        (product(8, 16, 4), "cortex-m33", False),
    ],
)
def test_products_of_bytes_are_taken(schedule: Schedule, cpu: str, taken: bool) -> None:
    assert (apply(schedule, load_cpu(cpu), Choice()) == "helium.matrix_product") is taken
