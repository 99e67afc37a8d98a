"""A workbench: boards made up from a real board's data, images, stand-ins for tools, ports."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from serial.tools import list_ports
from serial.tools.list_ports_common import ListPortInfo

from microtvm.device import Image
from microtvm.target import Board, FlashTool, UsbId, load_board
from tests.conftest import require_tool

IDS = (UsbId(0x0483, 0x374B),)

# Every section kind that matters: code, constants, variables that live elsewhere than their values.
SOURCE = """
const unsigned table[4] = {1, 2, 3, 4};
unsigned variables[3] = {5, 6, 7};
unsigned zeros[8];
void _start(void) { variables[0] = table[zeros[0]]; for (;;) { } }
"""
LINK = """
MEMORY { flash (rx) : ORIGIN = FLASH, LENGTH = 64K  ram (rw) : ORIGIN = 0x20000000, LENGTH = 8K }
ENTRY(_start)
SECTIONS {
  .text : { *(.text*) } > flash
  .far (FLASH + 0x1234) : { *(.rodata*) } > flash
  .data : { *(.data*) } > ram AT > flash
  .bss : { *(.bss*) } > ram
  /DISCARD/ : { *(.ARM*) *(.comment*) *(.riscv*) *(.note*) *(.eh_frame*) }
}
"""

STAND_IN = """#!{python}
import json, os, sys, time
expected = json.loads(r'''{expected}''')
if sys.argv[1:] != expected:
    sys.exit(f"called with {{sys.argv[1:]}} and not with {{expected}}")
print("a line of progress")
sys.stdout.flush()
sys.stderr.write(json.loads(r'''{text}'''))
sys.stderr.flush()
open({seen!r}, "w").write(os.getcwd())
{then}
if {waits}:
    time.sleep(60)
sys.exit({status})
"""


def board_with(
    tools: Mapping[str, Sequence[str]], *, usb: Sequence[UsbId] = IDS, base: str = "qemu-mps2-an386"
) -> Board:
    """A board that isn't emulated, with flash tools and USB ids."""
    flash_tools = tuple(FlashTool(name, tuple(argv)) for name, argv in tools.items())
    return dataclasses.replace(
        load_board(base), name="board", emulator=None, usb=tuple(usb), flash_tools=flash_tools
    )


def link_image(folder: Path, compiler: str = "arm-none-eabi-gcc", flash: int = 0x08000000) -> Path:
    """An ELF file as linkers for microcontrollers write it."""
    require_tool(compiler)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "image.c").write_text(SOURCE)
    (folder / "image.ld").write_text(LINK.replace("FLASH", hex(flash)))
    elf = folder / "image.elf"
    core = ["-mcpu=cortex-m4"] if compiler.startswith("arm") else ["-march=rv32imac", "-mabi=ilp32"]
    subprocess.run(
        [compiler, *core, "-nostdlib", "-Os", "-T", "image.ld", "image.c", "-o", "image.elf"],
        cwd=folder,
        check=True,
    )
    return elf


def image_of(elf: Path, folder: Path) -> Image:
    """The image in a project's folder."""
    return Image(elf=elf, folder=folder, build=folder / "build")


def plug_in(monkeypatch: pytest.MonkeyPatch, *ports: tuple[str, ...]) -> None:
    """These are the machine's ports: device, USB id or nothing, serial number, place on the bus."""
    found = []
    for device, usb, number, *place in ports:
        info = ListPortInfo(device)
        if usb:
            info.vid, info.pid = (int(part, 16) for part in usb.split(":"))
            info.product = "Debug Probe"
        info.serial_number = number or None
        info.location = place[0] if place else None
        found.append(info)
    monkeypatch.setattr(list_ports, "comports", lambda: found)


def stand_in(
    folder: Path,
    name: str,
    expected: Sequence[str],
    *,
    text: str = "",
    status: int = 0,
    waits: bool = False,
    then: str = "",
) -> Path:
    """A program of that name which wants exactly these arguments, prints and ends as it is told,
    after the line `then` of Python; the file in which it leaves where it was called."""
    folder.mkdir(parents=True, exist_ok=True)
    seen = folder / f"{name}.seen"
    program = folder / name
    program.write_text(
        STAND_IN.format(
            python=sys.executable,
            expected=json.dumps(list(expected)),
            text=json.dumps(text),
            seen=str(seen),
            waits=waits,
            then=then,
            status=status,
        )
    )
    program.chmod(0o755)
    return seen


def on_path(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """The folder comes before all others of the PATH."""
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
