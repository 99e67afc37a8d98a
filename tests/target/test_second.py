"""Every figure of every real board was compared with a second source, as it is now."""

from __future__ import annotations

import json

import pytest

from microtvm.target import data_folder, list_boards, load_board
from microtvm.target.second import FILE, FLASH_TOOLS, figures, load_record

REAL = [name for name in list_boards() if load_board(name).url]
RECORD = load_record()


@pytest.mark.parametrize("name", REAL)
def test_figures_are_those_that_were_compared(name: str) -> None:
    """Whoever changes one has to run the comparison again: benchmarks/compare_boards.py."""
    recorded = {chain: checked.value for chain, checked in RECORD.boards.get(name, {}).items()}
    assert recorded == figures(load_board(name))


def test_only_boards_that_are_there_are_recorded() -> None:
    assert sorted(RECORD.boards) == sorted(REAL)


def test_emulated_boards_have_no_figures() -> None:
    assert figures(load_board("qemu-mps2-an386")) == {}


def test_every_entry_names_its_source_and_file() -> None:
    raw = json.loads((data_folder("boards") / FILE).read_text())
    for table in (*RECORD.boards.values(), *RECORD.cpus.values()):
        for checked in table.values():
            assert checked.source in raw["sources"].values()
            assert checked.file
            assert str(checked).startswith(f"{checked.source} {checked.file}")


@pytest.mark.parametrize("name", REAL)
def test_flash_tools_are_told_the_chip_where_they_must_be(name: str) -> None:
    """What a tool is told of the chip or of its addresses is a figure; what is not, is in none."""
    board = load_board(name)
    assert board.flash_tools
    for tool in board.flash_tools:
        told = [word for word in tool.argv if "0x0" in word or "target/" in word]
        assert tool.name in FLASH_TOOLS or not told


def test_what_was_compared_has_the_form_of_a_board() -> None:
    found = RECORD.boards["nucleo_f411re"]["memory.flash.size_bytes"]
    assert found.value == 512 * 1024
    assert found.source.startswith("Zephyr 3.7")
    assert found.file == "dts/arm/st/f4/stm32f411Xe.dtsi"
