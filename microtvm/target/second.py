"""Which facts of a real board were compared with a second source, and with which.

`boards/checked.json` is written by `benchmarks/compare_boards.py`, never by hand: for every figure
of a board its value when it was compared, and where a machine-readable source says the same. An
emulated machine has no second source: what it is, the emulator's own documentation says.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from microtvm.target.board import Board, Cpu, UsbId
from microtvm.target.data import data_folder

FILE = "checked.json"
FLASH_TOOLS = (
    "avrdude",
    "bossac",
    "dfu-util",
    "esptool",
    "openocd",
    "pyocd",
    "st-flash",
    "teensy_loader_cli",
    "uf2",
)
"""Those that must be told the chip or an address of it; others find out."""

Value = str | int | list[str]


@dataclass(frozen=True)
class Checked:
    """One figure that was compared."""

    value: Value
    """What the board's data said then."""
    source: str
    """What the second source is, with its version, e.g. `Zephyr 3.7.1`."""
    file: str
    """Within the source."""
    says: str
    """In the source's own words, if it words it another way; may be empty."""

    def __str__(self) -> str:
        return f"{self.source} {self.file}" + (f": {self.says}" if self.says else "")


def figures(board: Board) -> dict[str, Value]:
    """The facts of a real board by key chain; {} for an emulated one, which names no manual."""
    if not board.url:
        return {}
    found: dict[str, Value] = {"cpu": board.cpu.name}
    if board.hz:
        found["hz"] = board.hz
    for memory in board.memories:
        found[f"memory.{memory.name}.start"] = memory.start
        found[f"memory.{memory.name}.size_bytes"] = memory.size_bytes
        if memory.wait_states is not None:
            found[f"memory.{memory.name}.wait_states"] = memory.wait_states
        for key in ("kind", "label"):
            if getattr(memory, key):
                found[f"memory.{memory.name}.{key}"] = getattr(memory, key)
    found |= _usb_figures(board)
    if board.uart is not None:
        for key in ("name", "tx", "rx", "baud", "via"):
            if getattr(board.uart, key):
                found[f"uart.{key}"] = getattr(board.uart, key)
    zephyr = board.settings.get("zephyr", {})
    if "modules" in zephyr and "zephyr" in board.platforms:
        found["platform.zephyr.modules"] = str(zephyr["modules"])
    if "board" in board.settings.get("zephyr", {}):
        found["platform.zephyr.board"] = str(board.settings["zephyr"]["board"])
    if "old" in board.settings.get("zephyr", {}):
        found["platform.zephyr.old"] = str(board.settings["zephyr"]["old"])
    if "fqbn" in board.settings.get("arduino", {}):
        found["platform.arduino.fqbn"] = str(board.settings["arduino"]["fqbn"])
    for namer, name in board.names.items():
        found[f"names.{namer}"] = name
    for tool in board.flash_tools:
        if tool.name in FLASH_TOOLS:
            found[f"flash.{tool.name}.argv"] = list(tool.argv)
    return found


def usb_lists(board: Board) -> dict[str, tuple[UsbId, ...]]:
    """The board's lists of USB ids by key chain."""
    own = {f"platform.{name}.usb": ids for name, ids in board.platform_usb.items()}
    return {"usb": board.usb, "boot_usb": board.boot_usb} | own


def _usb_figures(board: Board) -> dict[str, Value]:
    return {key: [str(each) for each in ids] for key, ids in usb_lists(board).items() if ids}


def cpu_figures(cpu: Cpu) -> dict[str, Value]:
    """The facts of a CPU that no compiler packaged by Debian confirms: of the family `xtensa`."""
    return {"features": sorted(cpu.features)} if cpu.family == "xtensa" else {}


@dataclass(frozen=True)
class Record:
    """The whole file."""

    boards: Mapping[str, Mapping[str, Checked]]
    """By board and key chain."""
    cpus: Mapping[str, Mapping[str, Checked]]


def load_record() -> Record:
    """What was compared, of all boards and CPUs."""
    text = (data_folder("boards") / FILE).read_text(encoding="utf-8")
    raw: dict[str, Any] = json.loads(text)
    sources: dict[str, str] = raw["sources"]

    def tables(key: str) -> dict[str, dict[str, Checked]]:
        return {
            name: {
                chain: Checked(
                    entry["value"],
                    sources[entry["source"]],
                    entry["file"],
                    entry.get("says", ""),
                )
                for chain, entry in table.items()
            }
            for name, table in raw[key].items()
        }

    return Record(tables("boards"), tables("cpus"))
