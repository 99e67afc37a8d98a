"""Register tiles of matrix products: in the interpreter, in C, and on every core that has one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from microtvm import te
from microtvm.errors import ScheduleError
from microtvm.isa.float_tile import FloatTile
from microtvm.isa.helium_float import HeliumFloatTile
from microtvm.isa.mla_tile import MlaTile
from microtvm.isa.product_tile import ProductTile
from microtvm.isa.riscv_tile import RiscvSharedTile, RiscvTile
from microtvm.isa.schedule import Choice, apply
from microtvm.isa.thumb1_tile import Thumb1SharedTile, Thumb1Tile
from microtvm.target import load_board, load_cpu
from microtvm.te.intrin import COperand
from microtvm.tir.interpret import interpret
from tests.conftest import require_tool
from tests.isa.random_layers import RandomLayers, check_layers
from tests.project.image import require_board_tools

CORES = (
    ("qemu-mps2-an385", "int8", "mtvm_mla_"),
    ("qemu-mps2-an385-m0", "int8", "mtvm_muls_"),
    ("qemu-riscv32", "int8", "mtvm_mul_"),
    ("qemu-mps2-an386", "float32", "mtvm_vmul_"),
    ("qemu-mps3-an547", "float32", "mtvm_vfma_mve_"),
)
TILES: tuple[type[ProductTile], ...] = (
    MlaTile,
    Thumb1Tile,
    Thumb1SharedTile,
    RiscvTile,
    RiscvSharedTile,
    FloatTile,
    HeliumFloatTile,
)


@pytest.mark.qemu
@pytest.mark.parametrize(("board", "dtype", "tile"), CORES)
@pytest.mark.parametrize("seed", range(4))
def test_odd_shapes(board: str, dtype: str, tile: str, seed: int, tmp_path: Path) -> None:
    target = load_board(board)
    require_board_tools(target)
    source = check_layers(RandomLayers(seed, dtype), board, target.cpu, tmp_path)
    assert tile in source


@pytest.mark.parametrize(("board", "dtype", "tile"), CORES)
def test_odd_shapes_in_portable_c(board: str, dtype: str, tile: str, tmp_path: Path) -> None:
    require_tool("cc")
    cpu = replace(load_cpu("host"), features=load_board(board).cpu.features)
    assert tile in check_layers(RandomLayers(7, dtype), "host", cpu, tmp_path)


SHARED = (("qemu-mps2-an385-m0", "mtvm_muls_2x2_by4("), ("qemu-riscv32", "_by4_any("))
"""Cores with a tile that layers share which take little of a model, and its name."""


@pytest.mark.qemu
@pytest.mark.parametrize(("board", "tile"), SHARED)
@pytest.mark.parametrize("seed", range(4, 6))
def test_shared_tiles(
    board: str, tile: str, seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("microtvm.lower.kernel.SMALL", 2.0)
    target = load_board(board)
    require_board_tools(target)
    source = check_layers(RandomLayers(seed), board, target.cpu, tmp_path)
    assert tile in source


@pytest.mark.parametrize(("board", "tile"), SHARED)
def test_shared_tiles_in_portable_c(
    board: str, tile: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("microtvm.lower.kernel.SMALL", 2.0)
    require_tool("cc")
    cpu = replace(load_cpu("host"), features=load_board(board).cpu.features)
    assert tile in check_layers(RandomLayers(8), "host", cpu, tmp_path)


@pytest.mark.parametrize(
    ("cpu", "template"),
    [("cortex-m3", "mla"), ("cortex-m0", "thumb1"), ("rv32imc", "riscv")],
)
@pytest.mark.parametrize(("rows", "columns", "depth"), [(1, 9, 8), (4, 4, 12), (7, 5, 20)])
def test_the_meaning_in_the_interpreter(
    cpu: str, template: str, rows: int, columns: int, depth: int
) -> None:
    rng = np.random.default_rng(rows)
    values = rng.integers(-128, 128, (columns, depth)).astype(np.int8)
    data = rng.integers(-128, 128, (rows, depth)).astype(np.int8)
    x = te.placeholder((rows, depth), "int8", "x")
    w = te.constant(values, "w")
    k = te.reduce_axis(depth, "k")
    acc = te.compute(
        (rows, columns),
        lambda i, j: te.sum(x[i, k.var].astype("int32") * w[j, k.var].astype("int32"), axis=k),
        "acc",
    )
    y = te.compute((rows, columns), lambda i, j: acc[i, j] >> 3, "y")
    schedule = te.create_schedule([y])
    name = f"{template}.matrix_product"
    assert apply(schedule, load_cpu(cpu), Choice(name)) == name
    program = te.lower(schedule, [x, y])
    (found,) = interpret(program, {program.params[0]: data}).values()
    sums = data.astype(np.int64) @ values.T.astype(np.int64)
    np.testing.assert_array_equal(found, sums >> 3)


def _tiles(kind: type[ProductTile]) -> list[ProductTile]:
    tiles = [
        kind(rows, columns, run, runs, x_row, x_run)
        for rows, columns in ((1, 4), (2, 2), (2, 4), (4, 2), (4, 4), (3, 8))
        for run, runs in ((64, 1), (28, 1), (4, 10), (48, 3), (9, 3))
        for x_row in (4, 64)
        for x_run in (96, 128)
    ]
    return [t for t in tiles if t.fits]


@pytest.mark.parametrize("kind", TILES)
def test_names_tell_tiles_apart(kind: type[ProductTile]) -> None:
    """Two tiles of one name would be one function."""
    texts: dict[str, set[str]] = {}
    for tile in _tiles(kind):
        texts.setdefault(tile.name, set()).add(tile.source())
    assert texts
    assert all(len(found) == 1 for found in texts.values())


@pytest.mark.parametrize("kind", TILES)
def test_operands(kind: type[ProductTile]) -> None:
    tile = next(t for t in _tiles(kind) if t.rows > 1 and t.runs == 3 and t.run == 48)
    call = tile.intrinsic((3, 16)).call
    acc = COperand("acc", (), (tile.columns, 1))
    x = COperand("x", (), (tile.x_row, tile.x_run, 16, 1))
    w = COperand("w", (), (48 * tile.columns, 16 * tile.columns, tile.columns, 1))
    numbers = [COperand(str(n), (), ()) for _, n in tile.scalars]
    assert call([acc, x, w, *numbers]).startswith(f"{tile.name}(acc, x, w")
    with pytest.raises(ScheduleError, match="takes strides"):
        call([acc, COperand("x", (), (tile.x_row + 1, tile.x_run, 16, 1)), w, *numbers])
    with pytest.raises(ScheduleError, match="writes a tile in memory"):
        call([COperand("", ("a", "b"), (1, 1)), x, w, *numbers])
