"""What an ELF file stores in a board, in the forms that flash tools take: Intel HEX, bytes, UF2."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.constants import SH_FLAGS
from elftools.elf.elffile import ELFFile
from intelhex import IntelHex

from microtvm.errors import ToolError, UserError

BIN_LIMIT_BYTES = 64 * 1024 * 1024
"""No flash is larger; an image that spans more has parts in memories far apart."""

ERASED = 0xFF
"""What flash holds where nothing is stored; gaps are filled with it."""

_AVR_FLASH_END = 0x800000
"""AVR's linker puts RAM, EEPROM and fuses into the same space, from here on."""

UF2_MAGIC = (0x0A324655, 0x9E5D5157, 0x0AB16F30)
"""The first, the second and the last word of a block."""
UF2_FAMILY = 0x2000
"""The flag that says that a block has a family."""
UF2_BLOCK_BYTES = 512
UF2_DATA_BYTES = 476
UF2_PAYLOAD_BYTES = 256
"""By the specification always right: a multiple of every page that is smaller than a block."""


@dataclass(frozen=True)
class Chunk:
    """Bytes that are stored side by side."""

    address: int
    data: bytes

    @property
    def end(self) -> int:
        """The first address behind it."""
        return self.address + len(self.data)


def stored_chunks(elf: Path) -> list[Chunk]:
    """What a loader stores, by load address, neighbours joined: variables are where their initial
    values lie, not where they live.

    By the sections inside of the segments, for linkers let the first segment begin with the file's
    own headers. UserError for a file that isn't ELF or stores nothing.
    """
    try:
        with elf.open("rb") as stream:
            file = ELFFile(stream)
            segments = [
                s for s in file.iter_segments() if s["p_type"] == "PT_LOAD" and s["p_filesz"]
            ]
            found = []
            for section in file.iter_sections():
                flags, size = section["sh_flags"], section["sh_size"]
                if section["sh_type"] == "SHT_NOBITS" or not flags & SH_FLAGS.SHF_ALLOC or not size:
                    continue
                offset = section["sh_offset"]
                for segment in segments:
                    start = segment["p_offset"]
                    if start <= offset and offset + size <= start + segment["p_filesz"]:
                        address = segment["p_paddr"] + offset - start
                        found.append(Chunk(address, section.data()))
                        break
            avr = file["e_machine"] == "EM_AVR"
    except ELFError as error:
        raise UserError(f"{elf} is not an ELF file: {error}") from None
    except OSError as error:
        raise UserError(
            f"{elf} can't be read: {error.strerror}", hint="build the project first"
        ) from None
    chunks = [c for c in found if not avr or c.address < _AVR_FLASH_END]
    if not chunks:
        raise UserError(f"{elf} has nothing to store in a board")
    return _joined(sorted(chunks, key=lambda chunk: chunk.address))


def _joined(chunks: list[Chunk]) -> list[Chunk]:
    result = chunks[:1]
    for chunk in chunks[1:]:
        last = result[-1]
        if chunk.address == last.end:
            result[-1] = Chunk(last.address, last.data + chunk.data)
        else:
            result.append(chunk)
    return result


def write_hex(elf: Path, output: Path) -> None:
    """The image as Intel HEX."""
    image = IntelHex()
    for chunk in stored_chunks(elf):
        image.puts(chunk.address, chunk.data)
    image.write_hex_file(str(output))


def write_bin(elf: Path, output: Path) -> None:
    """The image as bytes from its lowest address on, gaps as erased flash.

    ToolError where it spans more than any flash has.
    """
    chunks = stored_chunks(elf)
    start, size = chunks[0].address, chunks[-1].end - chunks[0].address
    if size > BIN_LIMIT_BYTES:
        raise ToolError(
            f"{elf} stores bytes from {start:#x} to {chunks[-1].end:#x}: "
            f"too far apart for a file of bytes",
            hint="choose a flash tool that takes ELF or HEX",
        )
    image = bytearray([ERASED]) * size
    for chunk in chunks:
        image[chunk.address - start : chunk.end - start] = chunk.data
    output.write_bytes(image)


def write_uf2(elf: Path, output: Path, family: int | None = None) -> None:
    """The image in Microsoft's UF2 form (github.com/microsoft/uf2), for boards of `family`."""
    output.write_bytes(uf2_blocks(stored_chunks(elf), family))


def uf2_blocks(chunks: list[Chunk], family: int | None = None) -> bytes:
    """UF2 blocks of 256 bytes each at multiples of 256; what a block has no data for is as erased
    flash."""
    pages: dict[int, bytearray] = {}
    for chunk in chunks:
        address, data = chunk.address, chunk.data
        while data:
            offset = address % UF2_PAYLOAD_BYTES
            part = data[: UF2_PAYLOAD_BYTES - offset]
            page = pages.setdefault(address - offset, bytearray([ERASED]) * UF2_PAYLOAD_BYTES)
            page[offset : offset + len(part)] = part
            address += len(part)
            data = data[len(part) :]
    first, second, last = UF2_MAGIC
    return b"".join(
        struct.pack(
            f"<8I{UF2_DATA_BYTES}sI",
            *(first, second, 0 if family is None else UF2_FAMILY, address, UF2_PAYLOAD_BYTES),
            *(number, len(pages), family or 0),
            bytes(page).ljust(UF2_DATA_BYTES, bytes([ERASED])),
            last,
        )
        for number, (address, page) in enumerate(sorted(pages.items()))
    )
