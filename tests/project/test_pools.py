"""Where the arena lives on boards with several memories."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from microtvm.errors import FitError
from microtvm.project import Demand, arena_pool, check_fit, contents, create_project, read_library
from microtvm.project.zephyr import Zephyr, zephyr_board
from microtvm.target import Board, list_boards, load_board
from tests.project.image import TINY

LIBRARY = read_library(TINY)
ZEPHYR = Zephyr()


def chosen(board: Board, arena: int) -> str:
    """The devicetree label that a model of so large an arena gets."""
    library = dataclasses.replace(LIBRARY, arena_bytes=arena)
    context = ZEPHYR.context(board, library, {"arena": "", "weights": "", "console": False})
    zephyr = context["zephyr"]
    assert isinstance(zephyr, dict)
    return str(zephyr["arena"])


@pytest.mark.parametrize(
    ("name", "arena", "label"),
    [
        ("mimxrt1060_evk", 128 * 1024, "dtcm"),
        ("mimxrt1060_evk", 128 * 1024 + 1, "ocram2"),
        ("mimxrt1060_evk", 600 * 1024, ""),
        ("teensy41", 250 * 1024, ""),
        ("teensy41", 300 * 1024, "ocram2"),
        ("nucleo_h743zi", 100 * 1024, "dtcm"),
        ("nucleo_h743zi", 200 * 1024, ""),
        ("nucleo_f746zg", 64 * 1024, "dtcm"),
        ("stm32f4_disco", 64 * 1024, ""),
        ("nucleo_f303re", 70 * 1024, ""),
        ("nucleo_h563zi", 300 * 1024, "sram3"),
        ("nucleo_f411re", 10 * 1024, ""),
        # A board that names the region itself keeps it.
        ("qemu-mps3-an547", 1024, ""),
    ],
)
def test_fastest_memory_that_holds_the_arena(name: str, arena: int, label: str) -> None:
    assert chosen(load_board(name), arena) == label


def test_users_choice_comes_first() -> None:
    options = {"arena": "ocram", "weights": "", "console": False}
    context = ZEPHYR.context(load_board("mimxrt1060_evk"), LIBRARY, options)
    assert isinstance(context["zephyr"], dict)
    assert context["zephyr"]["arena"] == "ocram"


def test_project_names_the_region(tmp_path: Path) -> None:
    board = load_board("nucleo_h743zi")
    create_project(TINY, board, tmp_path / "p", platform="zephyr")
    overlay = tmp_path / "p" / "boards" / f"{zephyr_board(board).file}.overlay"
    assert "microtvm,arena = &dtcm;" in overlay.read_text()


def test_other_platforms_leave_it_in_the_ram() -> None:
    board = load_board("nucleo_h743zi")
    demand = Demand(arena=1000, weights=0, code=0, static=10, stack=100)
    assert {memory.name for memory in contents(board, demand)} == {"ram", "flash"}
    placed = contents(board, demand, ZEPHYR.arena_pools(board))
    assert {memory.name: parts for memory, parts in placed.items()}["dtcm"] == [("arena", 1000)]


def test_variables_count_where_they_share_the_pool() -> None:
    board = load_board("nucleo_f411re")
    demand = Demand(arena=128 * 1024, weights=0, code=0, static=1, stack=0)
    assert arena_pool(board, demand, ZEPHYR.arena_pools(board)).name == "ram"
    with pytest.raises(FitError, match="memory ram has 131,072 bytes, at least 1 too few"):
        check_fit(board, demand, ZEPHYR.arena_pools(board))


def test_roomiest_pool_is_named_where_none_is_large_enough() -> None:
    board = load_board("teensy41")
    demand = Demand(arena=600 * 1024, weights=0, code=0, static=0, stack=0)
    with pytest.raises(FitError, match="its memory ocram2 has 524,288 bytes"):
        check_fit(board, demand, ZEPHYR.arena_pools(board))


@pytest.mark.parametrize("name", list_boards())
def test_pools_can_be_reached(name: str) -> None:
    """A pool beside the variables' needs a label: platforms place the arena there by it."""
    board = load_board(name)
    for pool in board.arena_pools:
        assert pool.label or pool in (board.memory("data"), board.memory("arena"))
    assert not board.memories or board.memory("arena") in board.arena_pools
