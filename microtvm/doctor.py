"""Which programs microtvm needs are there, which are missing, and how to get them."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

_VERSION = re.compile(r"\d+\.\d+(\.\d+)*")
_PACKAGING = re.compile(r"\([^)]*\)")
_TIMEOUT_S = 20


@dataclass(frozen=True)
class Tool:
    """Something outside of Python that a board or a test needs."""

    name: str
    purpose: str
    install: str
    """The line that gets it on Debian and its descendants."""
    program: str
    """What to look for on the PATH."""
    file: str = ""
    """A file that the program, a GCC, must find; empty if the program itself is the tool."""
    needed: bool = True
    """False for what only a comfort or a test needs."""
    group: str = ""
    """What it is for, if it isn't needed by everybody."""


@dataclass(frozen=True)
class ToolStatus:
    """A tool and what was found of it."""

    tool: Tool
    path: Path | None
    """None if it is missing."""
    version: str
    """Empty if it is missing or doesn't say."""

    @property
    def found(self) -> bool:
        """Whether it is there."""
        return self.path is not None


AVR, ZEPHYR, TESTS = "Arduino and AVR", "Zephyr", "tests of microtvm"

TOOLS: tuple[Tool, ...] = (
    Tool("make", "builds for bare metal and the host", "apt-get install make", "make"),
    Tool("cc", "builds for the host", "apt-get install gcc libc6-dev", "cc"),
    Tool(
        "arm-none-eabi-gcc",
        "builds for Cortex-M",
        "apt-get install gcc-arm-none-eabi",
        "arm-none-eabi-gcc",
    ),
    Tool(
        "newlib for Cortex-M",
        "the C library of Cortex-M images",
        "apt-get install libnewlib-arm-none-eabi",
        "arm-none-eabi-gcc",
        file="libm.a",
    ),
    Tool(
        "riscv64-unknown-elf-gcc",
        "builds for RISC-V",
        "apt-get install gcc-riscv64-unknown-elf",
        "riscv64-unknown-elf-gcc",
    ),
    Tool(
        "picolibc for RISC-V",
        "the C library of RISC-V images",
        "apt-get install picolibc-riscv64-unknown-elf",
        "riscv64-unknown-elf-gcc",
        file="picolibc.specs",
    ),
    Tool(
        "qemu-system-arm",
        "emulates Cortex-M boards",
        "apt-get install qemu-system-arm",
        "qemu-system-arm",
    ),
    Tool(
        "qemu-system-riscv32",
        "emulates RISC-V boards",
        "apt-get install qemu-system-misc",
        "qemu-system-riscv32",
    ),
    Tool(
        "avr-gcc",
        "builds for AVR",
        "apt-get install gcc-avr avr-libc",
        "avr-gcc",
        needed=False,
        group=AVR,
    ),
    Tool(
        "arduino-cli",
        "builds Arduino sketches",
        "see https://arduino.github.io/arduino-cli",
        "arduino-cli",
        needed=False,
        group=AVR,
    ),
    Tool(
        "arduino-builder",
        "builds Arduino sketches for AVR where there is no arduino-cli",
        "apt-get install arduino-builder arduino-core-avr",
        "arduino-builder",
        needed=False,
        group=AVR,
    ),
    Tool(
        "simavr",
        "runs AVR images and counts their cycles",
        "apt-get install simavr libsimavr-dev",
        "simavr",
        needed=False,
        group=AVR,
    ),
    Tool(
        "qemu-system-avr",
        "emulates AVR boards",
        "apt-get install qemu-system-misc",
        "qemu-system-avr",
        needed=False,
        group=AVR,
    ),
    Tool(
        "cmake",
        "configures Zephyr's applications",
        "apt-get install cmake",
        "cmake",
        needed=False,
        group=ZEPHYR,
    ),
    Tool(
        "ninja",
        "builds Zephyr's applications",
        "apt-get install ninja-build",
        "ninja",
        needed=False,
        group=ZEPHYR,
    ),
    Tool(
        "clang",
        "a second opinion on the C code, in tests",
        "apt-get install clang",
        "clang",
        needed=False,
        group=TESTS,
    ),
)


def check_tools() -> list[ToolStatus]:
    """Looks for every tool of TOOLS, in their order, and asks each program for its version."""
    return [check_tool(tool) for tool in TOOLS]


def install_line(program: str) -> str:
    """How to get a program: a command, or general advice for one that isn't known here."""
    for tool in TOOLS:
        if program == tool.program and not tool.file:
            return tool.install
    return f"install {program} and put it on the PATH"


def check_tool(tool: Tool) -> ToolStatus:
    """Looks for the program of a tool on the PATH, and asks it for its version."""
    program = shutil.which(tool.program)
    if program is None:
        return ToolStatus(tool, None, "")
    if tool.file:
        # GCC prints a file's path if it finds it, and the bare name if it doesn't.
        found = Path(_said([program, f"-print-file-name={tool.file}"]).strip())
        return ToolStatus(tool, found if found.is_absolute() else None, "")
    # What a distribution adds in parentheses has numbers of its own.
    version = _VERSION.search(_PACKAGING.sub("", _said([program, "--version"])))
    return ToolStatus(tool, Path(program), version.group() if version else "")


def _said(argv: list[str]) -> str:
    """What a program prints, empty if it can't be run."""
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout
