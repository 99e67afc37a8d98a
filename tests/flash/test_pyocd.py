"""The real pyOCD: with an emulated probe, what it was told arrives; without one, or with a locked
chip behind it, what it says is understood."""

from __future__ import annotations

from pathlib import Path

import pytest

from microtvm.device import plan_flash, run_plan
from microtvm.device.flash_plan import find_program
from microtvm.device.image import Chunk, stored_chunks
from microtvm.errors import ToolError
from microtvm.target import load_programmer
from tests.flash.bench import board_with, image_of, link_image
from tests.flash.probe import Chip, serve


def flash(
    folder: Path, probe: str, target: str, *words: str, patience_s: float = 10.0
) -> list[Chunk]:
    assert find_program(load_programmer("pyocd")), "the extra `test` brings pyocd"
    argv = ["pyocd", "flash", "-t", target, "-u", "{serial_number}", *words, "{hex}"]
    board = board_with({"pyocd": argv})
    image = image_of(link_image(folder, flash=0x10000000), folder)
    plan = plan_flash(board, board.flash_tools, image, serial_number=probe)
    run_plan(plan, patience_s=patience_s, timeout_s=60)
    return stored_chunks(image.elf)


def test_image_arrives(tmp_path: Path) -> None:
    """A target all of whose memory is RAM: no flash algorithm has to be executed."""
    chip = Chip()
    with serve(chip) as probe:
        chunks = flash(tmp_path, probe, "mps3_an540")
    assert sum(len(chunk.data) for chunk in chunks) > 20
    for chunk in chunks:
        assert chip.memory(chunk.address, len(chunk.data)) == chunk.data
    assert chip.resets
    assert not chip.halted


def test_no_probe(tmp_path: Path) -> None:
    """It would wait for ever."""
    with pytest.raises(ToolError) as caught:
        flash(tmp_path, "NOSUCH", "cortex_m", patience_s=1.5)
    assert caught.value.message == (
        "flashing board with pyocd failed: "
        "no debug probe with the serial number NOSUCH is plugged in"
    )


def test_locked_chip(tmp_path: Path) -> None:
    with serve(Chip(locked=True)) as probe, pytest.raises(ToolError) as caught:
        flash(tmp_path, probe, "nrf52840", "-O", "auto_unlock=false")
    assert "the chip is locked against reading and writing" in caught.value.message
    assert "`pyocd erase --mass -t nrf52840` unlocks it" in caught.value.hint


def test_unknown_target(tmp_path: Path) -> None:
    with serve(Chip()) as probe, pytest.raises(ToolError) as caught:
        flash(tmp_path, probe, "stm32x1")
    assert "pyocd does not know the chip stm32x1" in caught.value.message
    assert "`pyocd pack install stm32x1` gets its support" in caught.value.hint
