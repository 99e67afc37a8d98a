"""What an image takes of flash and RAM, read from its ELF file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.constants import SH_FLAGS
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from microtvm.errors import UserError
from microtvm.project.library import Library

WEIGHTS = ".mtvm_weights"
ARENA = ".mtvm_arena"
STACK = ".stack"
_VECTORS = ".vectors"

WEIGHTS_SYMBOLS = ("mtvm_weights_start", "mtvm_weights_end")
"""What encloses the weights where a platform's own linker script has them among other constants."""

STACK_SYMBOL = "mtvm_stack"
"""The stack that the model runs on, where it is one of several variables that are stacks."""


@dataclass(frozen=True)
class Flash:
    """Bytes that are stored: in flash, or in whatever memory the image is loaded to."""

    code: int
    """Instructions, vectors, and the literals among them."""
    constants: int
    """Read-only data that are no weights, and the initial values of variables."""
    weights: int
    """Everything per channel."""

    @property
    def total(self) -> int:
        """All of it."""
        return self.code + self.constants + self.weights


@dataclass(frozen=True)
class Ram:
    """Bytes of RAM."""

    arena: int
    """Tensors and scratch."""
    scratch: int
    """The part of the arena that kernels need beside the tensors."""
    static: int
    """Variables, without the arena and the stack."""
    stack: int
    """What the linker reserved, or what a run used."""

    @property
    def total(self) -> int:
        """All of it; scratch is in the arena."""
        return self.arena + self.static + self.stack


@dataclass(frozen=True)
class Footprint:
    """Of one image."""

    flash: Flash
    ram: Ram

    def with_stack(self, used_bytes: int) -> Footprint:
        """The same with the measured depth of the stack in the place of the reserve."""
        ram = Ram(self.ram.arena, self.ram.scratch, self.ram.static, used_bytes)
        return Footprint(self.flash, ram)


def measure(elf: Path, library: Library) -> Footprint:
    """The footprint of an image of the library's model, by the linker's sizes, padding included.

    UserError for a file that isn't ELF.
    """
    code = constants = weights = static = stack = arena = 0
    image = _read(elf)
    for section in image.sections:
        size, flags = section.size, section.flags
        if section.name.startswith(WEIGHTS):
            weights += size
        elif section.name == ARENA:
            arena += size
        elif section.name == STACK:
            stack += size
        elif flags & SH_FLAGS.SHF_EXECINSTR or section.name == _VECTORS:
            code += size
        elif flags & SH_FLAGS.SHF_WRITE and not section.stays:
            static += size
            constants += size if section.stored else 0
        else:
            constants += size
    constants -= image.enclosed_weights
    weights += image.enclosed_weights
    static -= image.stack_variable
    stack += image.stack_variable
    if not weights:
        # A linker script that is not ours has them among the code.
        weights = _weights_in_code(elf, library.prefix)
        code -= weights
    # A process of the host has its arena among its variables.
    if arena + static < library.arena_bytes:
        raise UserError(
            f"{elf} has no room for an arena of {library.arena_bytes} bytes: it is another model's",
            hint="build the project again",
        )
    return Footprint(
        flash=Flash(code=code, constants=constants, weights=weights),
        ram=Ram(
            arena=library.arena_bytes,
            scratch=library.scratch_bytes,
            static=static + arena - library.arena_bytes,
            stack=stack,
        ),
    )


def _weights_in_code(elf: Path, prefix: str) -> int:
    """Bytes of the model's arrays that lie in sections of instructions."""
    with elf.open("rb") as stream:
        image = ELFFile(stream)
        code = {
            index
            for index, section in enumerate(image.iter_sections())
            if section["sh_flags"] & SH_FLAGS.SHF_EXECINSTR
        }
        return sum(
            int(symbol["st_size"])
            for section in image.iter_sections()
            if isinstance(section, SymbolTableSection)
            for symbol in section.iter_symbols()
            if symbol["st_info"]["type"] == "STT_OBJECT"
            and symbol["st_shndx"] in code
            and symbol.name.startswith(f"{prefix}_")
        )


@dataclass(frozen=True)
class _Section:
    """A section that has an address."""

    name: str
    address: int
    size: int
    flags: int
    stored: bool
    """The file stores its content."""
    stays: bool
    """It is used where it is stored, in an image that copies others from there to RAM."""


@dataclass(frozen=True)
class _Image:
    sections: list[_Section]
    enclosed_weights: int
    """Bytes of weights in a section that has other constants as well."""
    stack_variable: int
    """Bytes of the stack that is a variable."""


def _read(elf: Path) -> _Image:
    """What counts of a file."""
    try:
        with elf.open("rb") as stream:
            file = ELFFile(stream)
            sections = _sections(file)
            return _Image(sections, *_variables(file, sections))
    except ELFError as error:
        raise UserError(f"{elf} is not an ELF file: {error}") from None
    except OSError as error:
        raise UserError(
            f"{elf} can't be read: {error.strerror}", hint="build the project first"
        ) from None


def _sections(file: ELFFile) -> list[_Section]:
    """Thread-local zeros are left out: the linker script makes room for them in `.bss`."""
    loads = [segment.header for segment in file.iter_segments("PT_LOAD")]
    copied = any(load.p_vaddr != load.p_paddr and load.p_filesz for load in loads)
    result = []
    for section in file.iter_sections():
        address, size = section["sh_addr"], section["sh_size"]
        flags, stored = section["sh_flags"], section["sh_type"] != "SHT_NOBITS"
        if flags & SH_FLAGS.SHF_ALLOC and (stored or not flags & SH_FLAGS.SHF_TLS):
            in_place = any(
                load.p_vaddr <= address < load.p_vaddr + load.p_filesz
                and load.p_vaddr == load.p_paddr
                for load in loads
            )
            stays = copied and stored and in_place
            result.append(_Section(section.name, address, size, flags, stored, stays))
    return result


def _variables(file: ELFFile, sections: list[_Section]) -> tuple[int, int]:
    """Bytes of the weights that symbols enclose, and of the stack that is a variable."""
    places: dict[str, tuple[int, int]] = {}
    for table in file.iter_sections():
        if isinstance(table, SymbolTableSection):
            for name in (*WEIGHTS_SYMBOLS, STACK_SYMBOL):
                for symbol in table.get_symbol_by_name(name) or ():
                    places[name] = (symbol["st_value"], symbol["st_size"])
    start, end = (places.get(name, (0, 0))[0] for name in WEIGHTS_SYMBOLS)
    apart = any(s.address == start for s in sections if s.name.startswith(WEIGHTS))
    return 0 if apart else end - start, places.get(STACK_SYMBOL, (0, 0))[1]
