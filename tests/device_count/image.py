"""Machines, and how to build and run an image for each."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from elftools.elf.elffile import ELFFile

from microtvm.device.count import Activation, CountReader, plugin_argv
from tests.conftest import require_tool
from tests.device_count import oracle

FOLDER = Path(__file__).parent / "image"
ROUNDS = 40


@dataclass(frozen=True)
class Machine:
    name: str
    source: str
    compiler: str
    flags: tuple[str, ...]
    code: int
    qemu: str
    argv: tuple[str, ...]


def _arm(name: str, cpu: str, board: str, code: int, *defines: str) -> Machine:
    flags = (f"-mcpu={cpu}", "-mthumb", *defines)
    argv = ("-machine", board, "-semihosting")
    return Machine(name, "thumb.S", "arm-none-eabi", flags, code, "qemu-system-arm", argv)


MACHINES = (
    _arm("m0", "cortex-m0", "microbit", 0, "-DRAM=0x20000000", "-DUART=0x40002108"),
    _arm("m4", "cortex-m4", "mps2-an386", 0, "-DRAM=0x20000000", "-DUART=0x40004004", "-DV7"),
    _arm(
        "m55",
        "cortex-m55",
        "mps3-an547",
        0x10000000,
        "-DRAM=0x30000000",
        "-DUART=0x59303004",
        "-DV7",
        "-DMVE",
    ),
    Machine(
        "rv32",
        "rv32.S",
        "riscv64-unknown-elf",
        ("-march=rv32imac", "-mabi=ilp32", "-misa-spec=2.2", "-DRAM=0x80400000"),
        0x80000000,
        "qemu-system-riscv32",
        ("-machine", "virt", "-m", "16", "-bios", "none"),
    ),
)
BY_NAME = {machine.name: machine for machine in MACHINES}


@dataclass(frozen=True)
class Image:
    """A linked image, the functions that a test follows, and its listing."""

    machine: Machine
    elf: Path
    labels: dict[str, str]
    code: dict[int, tuple[str, str]]
    entries: dict[int, str]


def build(machine: Machine, folder: Path, *defines: str) -> Image:
    elf = folder / f"{machine.name}{''.join(defines)}.elf"
    compiler = require_tool(f"{machine.compiler}-gcc")
    objdump = require_tool(f"{machine.compiler}-objdump")
    argv = [compiler, *machine.flags, f"-DROUNDS={ROUNDS}", *defines, "-nostdlib"]
    argv += [f"-Wl,-Ttext={machine.code:#x},-e,reset", str(FOLDER / machine.source)]
    subprocess.run([*argv, "-o", str(elf)], check=True, timeout=60)
    dump = ["-d"] if machine.compiler == "arm-none-eabi" else ["-d", "-M", "no-aliases"]
    text = subprocess.run(
        [objdump, *dump, str(elf)], check=True, capture_output=True, text=True, timeout=60
    )
    with elf.open("rb") as stream:
        symbols = ELFFile(stream).get_section_by_name(".symtab").iter_symbols()
        values = {symbol.name: symbol["st_value"] & ~1 for symbol in symbols}
    entries = {value: name for name, value in values.items() if name.startswith("t_")}
    labels = {name: name for name in entries.values()}
    return Image(machine, elf, labels, oracle.listing(text.stdout), entries)


def run(image: Image, *argv: str) -> None:
    machine = image.machine
    command = [require_tool(machine.qemu), *machine.argv, "-display", "none", "-monitor", "none"]
    command += ["-serial", "null", "-kernel", str(image.elf), *argv]
    subprocess.run(command, check=True, timeout=60, stdin=subprocess.DEVNULL)


def count(
    image: Image,
    plugin: Path,
    folder: Path,
    *argv: str,
    timing: Mapping[str, int] | None = None,
) -> list[Activation]:
    """What the plugin counts, from the file that it writes."""
    output = folder / "counts"
    option = plugin_argv(image.elf, image.labels, output, plugin=plugin, timing=timing)
    run(image, *option, *argv)
    return CountReader(output).new()


def trace(image: Image, folder: Path) -> list[oracle.Counts]:
    """What the log of every instruction says. Without -icount, or accesses to devices log twice."""
    log = folder / "log"
    version = _qemu_version(image.machine.qemu)
    single = ("-accel", "tcg,one-insn-per-tb=on") if version >= (8, 1) else ("-singlestep",)
    run(image, *single, "-d", "cpu,nochain", "-D", str(log))
    steps = oracle.arm_steps if image.machine.compiler == "arm-none-eabi" else oracle.riscv_steps
    pair = 1 if version >= (9, 2) else 2
    return oracle.activations(steps(log.read_text()), image.code, image.entries, pair)


def _qemu_version(qemu: str) -> tuple[int, int]:
    text = subprocess.run(
        [require_tool(qemu), "--version"], check=True, capture_output=True, text=True, timeout=60
    ).stdout
    found = re.search(r"version (\d+)\.(\d+)", text)
    assert found is not None, text
    return int(found[1]), int(found[2])
