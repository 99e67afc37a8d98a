"""An image as the instructions see it: bytes at addresses, functions by name, data among code."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.constants import SH_FLAGS
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from microtvm.stack.step import StackError


@dataclass(frozen=True)
class Function:
    """A function of the symbol table."""

    name: str
    start: int
    end: int


@dataclass(frozen=True)
class Block:
    """A section that is stored in the file."""

    start: int
    data: bytes
    code: bool
    writable: bool
    name: str


class Memory:
    """The stored sections of a linked image. StackError for a file that can't be read."""

    def __init__(self, elf: Path) -> None:
        try:
            with elf.open("rb") as stream:
                file = ELFFile(stream)
                self.machine = str(file["e_machine"])
                self.entry = int(file["e_entry"])
                flags = int(file["e_flags"])
                self.blocks = _blocks(file)
                symbols = _symbols(file)
        except (ELFError, OSError) as error:
            raise StackError(f"{elf} can't be read: {error}") from None
        self.word_bytes = 2 if self.machine == "EM_AVR" else 4
        # A call pushes what the program counter has, which is more where flash exceeds 128 KB.
        self.link_bytes = 0 if self.machine != "EM_AVR" else 3 if flags & 0x7F == 6 else 2
        # Thumb functions are marked by their lowest bit.
        self.thumb = self.machine == "EM_ARM"
        self.entry &= ~self.thumb
        self.symbols = {name: value for name, value, *_ in symbols}
        self.objects = {n: (v, s) for n, v, s, kind, _ in symbols if kind == "STT_OBJECT"}
        self._functions = self._named(symbols)
        self._starts = [f.start for f in self._functions]
        marks = sorted((v, n[1] == "d") for n, v, *_ in symbols if n[:2] in {"$d", "$t", "$x"})
        self._marks = marks
        self._mark_starts = [start for start, _ in marks]

    def _named(self, symbols: list[tuple[str, int, int, str, bool]]) -> list[Function]:
        found: dict[int, Function] = {}
        for name, value, size, kind, in_code in symbols:
            start = value & ~self.thumb
            if not in_code or name[:1] in {"$", ".", ""} or kind not in {"STT_FUNC", "STT_NOTYPE"}:
                continue
            if kind == "STT_NOTYPE" and start in found:
                continue
            found[start] = Function(name, start, start + size)
        functions = [found[start] for start in sorted(found)]
        for index, one in enumerate(functions):
            if one.end == one.start:
                block = self.block(one.start)
                end = block.start + len(block.data) if block else one.start
                following = functions[index + 1].start if index + 1 < len(functions) else end
                functions[index] = Function(one.name, one.start, min(following, end))
        return functions

    def block(self, address: int) -> Block | None:
        """The section that has the byte at an address."""
        for block in self.blocks:
            if block.start <= address < block.start + len(block.data):
                return block
        return None

    def number(self, address: int, size: int) -> int:
        """A little-endian number; StackError where the image stores nothing."""
        block = self.block(address)
        if block is None:
            raise StackError(f"0x{address:x} is read, where the image has nothing")
        at = address - block.start
        return int.from_bytes(block.data[at : at + size], "little")

    def half(self, address: int) -> int:
        """16 bits."""
        return self.number(address, 2)

    def word(self, address: int) -> int:
        """32 bits."""
        return self.number(address, 4)

    def function(self, address: int) -> Function:
        """The function that an address lies in, or one without a name that begins there."""
        index = bisect_right(self._starts, address) - 1
        if index >= 0 and self._functions[index].end > address:
            return self._functions[index]
        return Function(f"0x{address:x}", address, address)

    def starts(self, address: int) -> bool:
        """Whether a function begins at an address."""
        index = bisect_right(self._starts, address) - 1
        return index >= 0 and self._starts[index] == address

    def is_data(self, address: int) -> bool:
        """Whether an address of a section of code holds data, by the mapping symbols."""
        index = bisect_right(self._mark_starts, address) - 1
        return index >= 0 and self._marks[index][1]

    def is_code(self, address: int) -> bool:
        """Whether there may be an instruction at an address."""
        block = self.block(address)
        return block is not None and block.code and not self.is_data(address)

    def pointers_of(self, pattern: str) -> set[int]:
        """Functions of such names, and those that stored variables of such names point to."""
        found, word = set(), self.word_bytes
        for name, (value, size) in self.objects.items():
            if re.fullmatch(pattern, name) and self.block(value) is not None:
                values = [
                    self.number(at, word) for at in range(value, value + size - word + 1, word)
                ]
                found |= {self.code_address(one) for one in values}
        found.update(self.functions(pattern))
        return {at for at in found if at and self.starts(at)}

    def code_address(self, pointer: int) -> int:
        """Where the function of a pointer begins."""
        if self.machine != "EM_AVR":
            return pointer & ~self.thumb
        # Pointers count words, and lead to a jump where 16 bits don't reach the function.
        at = 2 * pointer
        if not self.starts(at) and self.is_code(at) and self.half(at) & 0xFE0E == 0x940C:
            far = self.half(at) & 0x1F0, self.half(at) & 1
            return 2 * (far[0] << 13 | far[1] << 16 | self.half(at + 2))
        return at

    def functions(self, pattern: str) -> list[int]:
        """Where functions of such names begin."""
        return [f.start for f in self._functions if re.fullmatch(pattern, f.name)]

    def pointers(self) -> set[int]:
        """Functions whose addresses are stored in a word of data or between functions."""
        found = set()
        size = self.word_bytes
        for block in self.blocks:
            for at in range(-block.start % size, len(block.data) - size + 1, size):
                if block.code and not self.is_data(block.start + at):
                    continue
                value = int.from_bytes(block.data[at : at + size], "little")
                if (not self.thumb or value & 1) and self.starts(self.code_address(value)):
                    found.add(self.code_address(value))
        return found


def _blocks(file: ELFFile) -> list[Block]:
    return [
        Block(
            section["sh_addr"],
            section.data(),
            bool(section["sh_flags"] & SH_FLAGS.SHF_EXECINSTR),
            bool(section["sh_flags"] & SH_FLAGS.SHF_WRITE),
            section.name,
        )
        for section in file.iter_sections()
        if section["sh_flags"] & SH_FLAGS.SHF_ALLOC
        and section["sh_type"] != "SHT_NOBITS"
        and section["sh_size"]
    ]


def _symbols(file: ELFFile) -> list[tuple[str, int, int, str, bool]]:
    """Name, value, size, type, and whether it lies in a section of code."""
    code = {
        index
        for index, section in enumerate(file.iter_sections())
        if section["sh_flags"] & SH_FLAGS.SHF_EXECINSTR
    }
    return [
        (s.name, int(s["st_value"]), int(s["st_size"]), str(s["st_info"]["type"]),
         s["st_shndx"] in code)
        for table in file.iter_sections()
        if isinstance(table, SymbolTableSection)
        for s in table.iter_symbols()
    ]  # fmt: skip
