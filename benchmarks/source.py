"""What a second source of a board's facts is: it gives facts, each with the file that has it."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from microtvm.target import Board


@dataclass(frozen=True)
class Fact:
    """One thing that a source says.

    `kind` and the type of `value`: cpu (str: a core or an instruction set), hz (int), region
    ((start, bytes)), memory-kind and memory-label ((start, str)), code_bytes and data_bytes (int),
    usb (str, `vendor:product`), module (str: of west's manifest), a key chain such as
    platform.zephyr.board (str), pyocd, teensy, openocd and mcu (str: target, chip, script, chip),
    uf2 and board-id (str: of a family, of a boot loader), offset (int: of the image in the flash),
    wait_states (int: of the flash at `hz`), dfu (str: a USB id), features (tuple of str: a CPU's).
    """

    kind: str
    value: object
    file: str
    says: str = ""


class Source(ABC):
    """A local copy of somebody else's description of boards."""

    key: str
    """Short, for the record's entries."""
    title: str
    """With the version."""

    def __init__(self, root: Path, key: str, title: str) -> None:
        self.root = root
        self.key = key
        self.title = title

    @abstractmethod
    def facts(self, board: Board) -> Iterator[Fact]:
        """What it says of the board; nothing where it does not know it."""

    def shown(self, file: Path) -> str:
        """A file's name for the record."""
        return file.relative_to(self.root).as_posix()


def canonical_core(text: str) -> str:
    """A core's name as `boards/cpu` and its `arch` spell it: no vendor, no F for its FPU."""
    name = text.rpartition(",")[2].lower().replace("m0+", "m0plus")
    name = re.sub(r"^(cortex-m\d+)f$", r"\1", name)
    return re.sub(r"_(?:zicsr|zifencei)", "", name)
