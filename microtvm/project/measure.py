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
    for name, size, flags, stored in _sections(elf):
        if name.startswith(WEIGHTS):
            weights += size
        elif name == ARENA:
            arena += size
        elif name == STACK:
            stack += size
        elif flags & SH_FLAGS.SHF_EXECINSTR or name == _VECTORS:
            code += size
        elif flags & SH_FLAGS.SHF_WRITE:
            static += size
            constants += size if stored else 0
        else:
            constants += size
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


def _sections(elf: Path) -> list[tuple[str, int, int, bool]]:
    """Each section that has an address: name, bytes, flags, whether the file stores its content.

    Thread-local zeros are left out: the linker script makes room for them in `.bss`.
    """
    try:
        with elf.open("rb") as stream:
            result = []
            for section in ELFFile(stream).iter_sections():
                flags = section["sh_flags"]
                stored = section["sh_type"] != "SHT_NOBITS"
                if flags & SH_FLAGS.SHF_ALLOC and (stored or not flags & SH_FLAGS.SHF_TLS):
                    result.append((section.name, section["sh_size"], flags, stored))
            return result
    except ELFError as error:
        raise UserError(f"{elf} is not an ELF file: {error}") from None
    except OSError as error:
        raise UserError(
            f"{elf} can't be read: {error.strerror}", hint="build the project first"
        ) from None
