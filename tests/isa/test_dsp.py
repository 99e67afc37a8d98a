"""Tiles of the DSP extension on emulated cores that have it, over shapes that don't fit them."""

from __future__ import annotations

from pathlib import Path

import pytest

from microtvm.isa.dsp_operand import FORMS
from microtvm.isa.dsp_tile import Tile
from microtvm.target import load_board
from tests.conftest import require_tool
from tests.isa.random_layers import RandomLayers, check_layers


@pytest.mark.qemu
@pytest.mark.parametrize("board", ["qemu-mps2-an386", "qemu-mps2-an505", "qemu-mps3-an547"])
@pytest.mark.parametrize("seed", range(4))
def test_odd_shapes(board: str, seed: int, tmp_path: Path) -> None:
    require_tool("qemu-system-arm")
    require_tool("arm-none-eabi-gcc")
    check_layers(RandomLayers(seed), board, load_board(board).cpu, tmp_path)


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
