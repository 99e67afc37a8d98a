"""What the runtime takes: `python -m benchmarks.size`."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.device.harness import RUNTIME, compile_c

FREESTANDING = ("-ffreestanding", "-Os", "-ffunction-sections", "-c")

TARGETS = {
    "x86-64": ("gcc", ()),
    "clang": ("clang", ()),
    "atmega2560": ("avr-gcc", ("-mmcu=atmega2560",)),
    "cortex-m0": ("arm-none-eabi-gcc", ("-mcpu=cortex-m0", "-mthumb")),
    "cortex-m4": ("arm-none-eabi-gcc", ("-mcpu=cortex-m4", "-mthumb")),
    "rv32imc": (
        "riscv64-unknown-elf-gcc",
        ("-march=rv32imc", "-mabi=ilp32", "-misa-spec=2.2", "--specs=picolibc.specs"),
    ),
}

SMALLEST = "cortex-m0"


@dataclass(frozen=True)
class Sizes:
    """Of framing, CRC and server, and of a server's state."""

    code_bytes: int
    """With constants."""
    state_bytes: int


def compiler_of(target: str) -> str:
    """Program and version."""
    program = TARGETS[target][0]
    done = subprocess.run([program, "-dumpfullversion"], capture_output=True, text=True, check=True)
    return f"{program} {done.stdout.strip()}"


def sizes(target: str, folder: Path) -> Sizes:
    """Code and constants as `size` counts them; the state as a variable of its type."""
    compiler, flags = TARGETS[target]
    state = folder / "state.c"
    state.write_text('#include "mtvm_rpc.h"\nstruct mtvm_server server;\n')
    code_bytes = state_bytes = 0
    for source in [*sorted((RUNTIME / "src").glob("*.c")), state]:
        built = compile_c(compiler, folder / f"{source.stem}.o", *FREESTANDING, *flags, source)
        command = ["arm-none-eabi-size", str(built)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        text, data, bss = map(int, done.stdout.splitlines()[1].split()[:3])
        code_bytes += text
        state_bytes += data + bss
    return Sizes(code_bytes, state_bytes)


def main() -> int:
    """Prints them for Arm's cores."""
    for target in (SMALLEST, "cortex-m4"):
        with tempfile.TemporaryDirectory() as folder:
            found = sizes(target, Path(folder))
        print(f"{target}: {found.code_bytes} bytes of code, {found.state_bytes} bytes of state")
    return 0


if __name__ == "__main__":
    sys.exit(main())
