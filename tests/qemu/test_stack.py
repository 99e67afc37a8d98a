"""The painted stack tells the deepest word that was written, and no other."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from microtvm.device import open_emulator
from microtvm.project import build_project, create_project
from microtvm.target import load_board
from tests.project.image import TINY, require_board_tools

DIG = """
static __attribute__((noinline)) void dig(int32_t *sum)
{
    volatile uint32_t hole[WORDS];

    hole[0] = 1;
    *sum = (int32_t)(uintptr_t)&hole[0];
}

static void product(uint8_t *arena)
{
    dig((int32_t *)(void *)(arena + SUMS_AT));
}

static inline void unused(uint8_t *arena)
"""


def library_that_digs(folder: Path, words: int) -> Path:
    """The hand-written library; its first operator writes so far down and returns where."""
    shutil.copytree(TINY, folder)
    source = folder / "tiny.c"
    text = source.read_text()
    head = "static void product(uint8_t *arena)\n"
    assert text.count(head) == 1
    source.write_text(text.replace(head, DIG.replace("WORDS", str(words)).lstrip()))
    return folder


def address(elf: Path, symbol: str) -> int:
    with elf.open("rb") as stream:
        tables = [s for s in ELFFile(stream).iter_sections() if isinstance(s, SymbolTableSection)]
        (found,) = tables[0].get_symbol_by_name(symbol)
        return int(found["st_value"])


@pytest.mark.qemu
@pytest.mark.parametrize("words", [270, 271, 300])
@pytest.mark.parametrize(
    "board_name", ["qemu-microbit", "qemu-mps2-an386", "qemu-mps3-an547", "qemu-riscv32"]
)
def test_peak_is_exact_to_a_word(board_name: str, words: int, tmp_path: Path) -> None:
    board = load_board(board_name)
    require_board_tools(board)
    library = library_that_digs(tmp_path / "library", words)
    project = create_project(library, board, tmp_path / "p")
    elf = build_project(project, strict=True).elf
    assert board.emulator is not None
    argv = board.emulator.command(elf, "{serial}")
    with open_emulator(argv, project.library.metadata) as session:
        before = session.stack_peak()
        session.run_through("product", {"x": np.zeros((1, 16), np.int8)})
        deepest = int(session.read("sums")[0, 0]) & 0xFFFFFFFF
        after = session.stack_peak()
    assert 64 < before < 4 * words < after
    assert after == address(elf, "mtvm_stack_end") - deepest
