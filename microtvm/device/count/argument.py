"""From labels and symbols of an image to QEMU's command line."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from microtvm.device.count.build import plugin_option
from microtvm.errors import ToolError, UserError

MACHINES = ("EM_ARM", "EM_RISCV")
"""What the plugin has decoders for."""
MAX_LABEL_BYTES = 200
"""As in plugin.c, of the quoted label."""


def plugin_argv(
    elf: Path,
    labels: Mapping[str, str],
    output: Path,
    *,
    plugin: Path,
    timing: Mapping[str, int] | None = None,
) -> list[str]:
    """QEMU's arguments that count each activation of the functions into the file `output`.

    `labels` maps a label of your choice to the symbol of a function in `elf`, global or local.
    Labels of one function take turns in their order, which begins anew with each outermost
    activation: operators that share a kernel are told apart by their order in the run around them.
    `timing` is the core's table of cycles (`Timing.cycles`); without it no cycles are estimated.
    QEMU empties `output` when it starts. Raises UserError for an image without symbols, for symbols
    that it does not have or has twice, and for labels that are too long; ToolError for an image of
    a machine that can't be counted (Cortex-M and RV32 can).
    """
    functions = _functions(elf, labels, MACHINES)
    table = [f"time={name}:{cycles}" for name, cycles in (timing or {}).items()]
    return ["-plugin", plugin_option(plugin, [f"out={output.absolute()}", *table, *functions])]


def simavr_argv(
    command: Sequence[str],
    elf: Path,
    labels: Mapping[str, str],
    output: Path,
    *,
    bridge: Path,
) -> list[str]:
    """The command that runs an AVR image on libsimavr and counts as `plugin_argv` has it, cycles
    included; `command` is simavr's own, with options -m and -f, and the bridge stands for the
    program. Raises what `plugin_argv` does."""
    functions = _functions(elf, labels, ("EM_AVR",))
    return [str(bridge), *command[1:], f"out={output.absolute()}", *functions]


def _functions(elf: Path, labels: Mapping[str, str], machines: Sequence[str]) -> list[str]:
    """The arguments `fn=` of both, in the order of the labels."""
    addresses = _function_addresses(elf, machines)
    functions = []
    for label, symbol in labels.items():
        quoted = quote(label, safe="")
        if not 0 < len(quoted) <= MAX_LABEL_BYTES:
            raise UserError(
                f"label {label!r} has {len(quoted)} bytes when quoted; "
                f"1 to {MAX_LABEL_BYTES} are possible"
            )
        functions.append(f"fn={_address(elf, symbol, addresses):x}:{quoted}")
    return functions


def _function_addresses(elf: Path, machines: Sequence[str]) -> dict[str, set[int]]:
    """Entry addresses by symbol, without the bit that marks Thumb code."""
    addresses: dict[str, set[int]] = {}
    try:
        with elf.open("rb") as stream:
            image = ELFFile(stream)
            machine = image["e_machine"]
            if machine not in machines or image.elfclass != 32:
                raise ToolError(
                    f"can't count in {elf}: {machine} with {image.elfclass} bits; "
                    f"32-bit {' and '.join(m.removeprefix('EM_') for m in machines)} "
                    "images can be counted"
                )
            mask = ~1 if machine == "EM_ARM" else ~0
            for section in image.iter_sections():
                if not isinstance(section, SymbolTableSection):
                    continue
                for symbol in section.iter_symbols():
                    defined = symbol["st_shndx"] != "SHN_UNDEF"
                    if defined and symbol["st_info"]["type"] in ("STT_FUNC", "STT_NOTYPE"):
                        # What GCC adds where its link-time optimiser makes a static function known.
                        name = symbol.name.partition(".lto_priv.")[0]
                        addresses.setdefault(name, set()).add(symbol["st_value"] & mask)
    except OSError as error:
        raise UserError(f"can't read {elf}: {error.strerror}") from error
    except ELFError as error:
        raise UserError(f"{elf} is not an ELF image: {error}") from error
    if not addresses:
        raise UserError(
            f"{elf} has no symbols, so its functions can't be counted",
            hint="count in the image as the linker wrote it, before strip",
        )
    return addresses


def _address(elf: Path, symbol: str, addresses: dict[str, set[int]]) -> int:
    found = addresses.get(symbol, set())
    if not found:
        near = difflib.get_close_matches(symbol, addresses, n=3)
        raise UserError(
            f"{elf} has no function {symbol!r}",
            hint=f"similar: {', '.join(near)}" if near else "was it inlined, or not linked?",
        )
    if len(found) > 1:
        places = ", ".join(f"{address:#x}" for address in sorted(found))
        raise UserError(f"{elf} has several functions {symbol!r}, at {places}")
    return next(iter(found))
