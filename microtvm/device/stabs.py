"""Line numbers of a STABS section, which AVR's compilers write where they are not told to write
DWARF: "The STABS Debug Format", chapters 2 and 7, of GDB's documentation."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from elftools.elf.elffile import ELFFile

_ENTRY = struct.Struct("<IBBHI")
"""Offset of a string, type, nothing, line, address."""
_UNIT, _FUN, _SLINE, _SO, _SOL = 0x00, 0x24, 0x44, 0x64, 0x84


def find_stabs_line(image: ELFFile, start: int, address: int) -> tuple[str, int]:
    """The file, without its folders, and the line of an address in the function that begins at
    `start`; "" and 0 where a little-endian image doesn't tell."""
    file, inside = "", False
    found = "", 0
    for kind, text, number, value in _entries(image):
        if inside and kind in (_FUN, _SO):
            return found
        if kind in (_SO, _SOL):
            file = text.rpartition("/")[2]
        elif kind == _FUN:
            inside = bool(text) and value == start
        elif inside and file and kind == _SLINE and start + value <= address:
            # Relative to the function, in ascending order.
            found = file, number
    return found


def _entries(image: ELFFile) -> Iterator[tuple[int, str, int, int]]:
    """Type, string, line and address of each."""
    section, strings = (image.get_section_by_name(name) for name in (".stab", ".stabstr"))
    if section is None or strings is None:
        return
    data, table = section.data(), strings.data()
    base = following = 0
    for at in range(0, len(data) - _ENTRY.size + 1, _ENTRY.size):
        offset, kind, _, line, value = _ENTRY.unpack_from(data, at)
        if kind == _UNIT:
            # Its value is how many bytes of strings the unit has.
            base, following = following, following + value
        begin = base + offset
        end = table.find(b"\0", begin)
        yield kind, table[begin:end].decode("utf-8", "replace") if end >= 0 else "", line, value
