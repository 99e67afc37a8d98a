"""USB bridges to serial ports by their makers' ids: what drives them, and what goes wrong with
them. Data, in `boards/bridge/`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from microtvm.errors import BoardError
from microtvm.target.data import data_folder
from microtvm.target.document import load_table
from microtvm.target.reader import Reader

FOLDER = "bridge"
CLASS_DRIVER = "cdc_acm"
"""Linux's driver of serial ports that are no bridge's: of USB's own class."""

_VENDOR = re.compile(r"[0-9a-f]{4}")


@dataclass(frozen=True)
class Bridge:
    """A family of USB bridges."""

    name: str
    description: str
    vendor: int
    """Its maker's USB id."""
    driver: str
    """The module of Linux that makes a serial port of it."""
    problem: str
    """What mostly keeps it from having a port; empty if nothing does but a missing driver."""


def find_bridge(vendor: int) -> Bridge | None:
    """The bridges of that maker, None if it is not known to make any; BoardError for wrong data."""
    root = data_folder("boards")
    for file in sorted((root / FOLDER).glob("*.toml")):
        found = read_bridge(root, file)
        if found.vendor == vendor:
            return found
    return None


def read_bridge(root: Path, file: Path) -> Bridge:
    """The bridges described by `file`."""
    reader = Reader(load_table(root, file), file)
    vendor = reader.text("vendor")
    if not _VENDOR.fullmatch(vendor):
        raise BoardError(
            f"{reader.where('vendor')} is {vendor!r}",
            hint="a maker's USB id has four hex digits in lower case, such as 1a86",
        )
    bridge = Bridge(
        name=file.stem,
        description=reader.text("description"),
        vendor=int(vendor, 16),
        driver=reader.text("driver"),
        problem=reader.text("problem", ""),
    )
    reader.finish()
    return bridge
