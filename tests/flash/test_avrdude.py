"""The real avrdude with an emulated boot loader: what it was told arrives in the flash, and what it
says when that fails is understood."""

from __future__ import annotations

from pathlib import Path

import pytest

from microtvm.device import plan_flash, run_plan
from microtvm.device.image import Chunk, stored_chunks
from microtvm.errors import ToolError
from tests.conftest import require_tool
from tests.flash.bench import board_with, image_of, link_image
from tests.flash.stk500 import BootLoader, boot_loader

ARGV = ["avrdude", "-p", "atmega328p", "-c", "arduino", "-P", "{port}", "-b", "115200", "-D"]
WRITE = ["-U", "flash:w:{hex}:i"]


def flash(folder: Path, board: BootLoader) -> list[Chunk]:
    require_tool("avrdude")
    data = board_with({"avrdude": [*ARGV, *WRITE]})
    image = image_of(link_image(folder, flash=0), folder)
    run_plan(plan_flash(data, data.flash_tools, image, port=board.path), timeout_s=60)
    return stored_chunks(image.elf)


def test_image_arrives(tmp_path: Path) -> None:
    with boot_loader() as board:
        chunks = flash(tmp_path, board)
    expected = bytearray([0xFF]) * len(board.flash)
    for chunk in chunks:
        expected[chunk.address : chunk.end] = chunk.data
    assert sum(len(chunk.data) for chunk in chunks) > 20
    assert board.flash == expected
    assert board.left


def test_another_chip(tmp_path: Path) -> None:
    wrong = pytest.raises(ToolError, match="with avrdude failed: the chip is no atmega328p")
    with boot_loader(signature=bytes([0x1E, 0x98, 0x01])) as board, wrong:
        flash(tmp_path, board)
    assert set(board.flash) == {0xFF}


def test_flash_that_is_worn(tmp_path: Path) -> None:
    worn = pytest.raises(ToolError, match="what was written is not what is read back")
    with boot_loader(worn=True) as board, worn:
        flash(tmp_path, board)
