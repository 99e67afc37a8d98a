"""From an address of an image to its function, file and line, by the ELF file's own tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elftools.common.exceptions import DWARFError, ELFError
from elftools.dwarf.dwarfinfo import DWARFInfo
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from microtvm.device.stabs import find_stabs_line


@dataclass(frozen=True)
class Location:
    """Where an address lies in the source."""

    function: str
    """Empty where no symbol has the address."""
    file: str = ""
    """As the compiler was given it; empty without debugging information."""
    line: int = 0

    def __str__(self) -> str:
        where = f" ({self.file}:{self.line})" if self.file else ""
        return f"at {self.function or 'an unknown function'}{where}"


def locate(elf: Path, address: int) -> Location | None:
    """Where `address` lies; None where the file isn't there, isn't ELF, or doesn't tell.

    A record of a crash is worth showing without this: so nothing is raised.
    """
    try:
        with elf.open("rb") as stream:
            image = ELFFile(stream)
            function, start = _function(image, address)
            file, line = find_stabs_line(image, start, address) if function else ("", 0)
            if not file and image.has_dwarf_info():
                file, line = _line(image.get_dwarf_info(), address)
    except (OSError, ELFError, DWARFError):
        return None
    return Location(function, file, line) if function or file else None


def _function(image: ELFFile, address: int) -> tuple[str, int]:
    """Its name and its first address; "" and 0 where no symbol has the address."""
    thumb = image["e_machine"] == "EM_ARM"
    for section in image.iter_sections():
        if not isinstance(section, SymbolTableSection):
            continue
        for symbol in section.iter_symbols():
            if symbol["st_info"]["type"] != "STT_FUNC":
                continue
            start = symbol["st_value"] & ~1 if thumb else symbol["st_value"]
            if start <= address < start + symbol["st_size"]:
                return str(symbol.name), int(start)
    return "", 0


def _line(info: DWARFInfo, address: int) -> tuple[str, int]:
    for unit in info.iter_CUs():
        program = info.line_program_for_CU(unit)
        if program is None:
            continue
        before = None
        for entry in program.get_entries():
            state = entry.state
            if state is None:
                continue
            if before is not None and before.address <= address < state.address:
                names = list(_files(program.header))
                index = before.file - (1 if program.header["version"] < 5 else 0)
                known = names[index] if 0 <= index < len(names) else ""
                return known, before.line
            before = None if state.end_sequence else state
    return "", 0


def _files(header: Mapping[str, Any]) -> Iterator[str]:
    """Names of a line program's files, without their folders."""
    for entry in header["file_entry"]:
        yield entry.name.decode("utf-8", "replace")
