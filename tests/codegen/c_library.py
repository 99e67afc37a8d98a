"""Printed kernels as a shared library that tests call on numpy arrays."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from microtvm.codegen.c_kernel import Kernel, kernel
from microtvm.codegen.c_support import helper_source
from microtvm.codegen.c_type import storage_type
from microtvm.codegen.library import model_header
from microtvm.tir.stmt import Buffer, Program
from microtvm.util import Array
from tests.conftest import require_tool

WARNINGS = [
    "-std=c99", "-Wall", "-Wextra", "-pedantic", "-Wconversion", "-Wshadow", "-Wmissing-prototypes",
    "-Werror",
]  # fmt: skip
CROSS = {
    "arm-none-eabi-gcc": ["-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"],
    "riscv64-unknown-elf-gcc": ["-march=rv32imc", "-mabi=ilp32", "--specs=picolibc.specs"],
    "gcc": [],
    "clang": [],
}


def c_file(programs: Sequence[Program]) -> str:
    """A C file with a function `entry_<i>(void *const *)` for each program."""
    kernels = [kernel(p, f"kernel_{i}") for i, p in enumerate(programs)]
    lines = ["#include <stdint.h>"]
    if any(k.intrinsics for k in kernels):
        # What generated libraries give to register tiles.
        lines += ["#include <string.h>", model_header()]
    lines += [f"#include <{h}>" for h in sorted({h for k in kernels for h in k.headers})]
    helpers = dict.fromkeys(h for k in kernels for h in k.helpers)
    lines += [helper_source(h) for h in helpers]
    lines += dict.fromkeys(s for k in kernels for s in k.intrinsics)
    for i, (program, printed) in enumerate(zip(programs, kernels, strict=True)):
        lines.append(printed.text)
        lines.append(_entry(i, program, printed))
    return "\n".join(lines)


def _entry(i: int, program: Program, printed: Kernel) -> str:
    arguments = ", ".join(
        f"({storage_type(b.dtype)} *)p[{k}]"
        for k, b in enumerate((*program.params, *program.scratch))
    )
    assert f"static void kernel_{i}(" in printed.text
    return (
        f"void entry_{i}(void *const *p);\n"
        f"void entry_{i}(void *const *p)\n{{\n    kernel_{i}({arguments});\n}}\n"
    )


class CLibrary:
    """Kernels compiled for this machine; undefined behaviour is reported to stderr."""

    def __init__(self, programs: Sequence[Program], folder: Path, *flags: str) -> None:
        self.programs = list(programs)
        source = folder / "kernels.c"
        source.write_text(c_file(programs))
        library = folder / "kernels.so"
        command = [
            require_tool("gcc"),
            "-std=c99",
            "-O1",
            "-fsanitize=undefined",
            "-shared",
            "-fPIC",
        ]
        subprocess.run([*command, *flags, source, "-o", library, "-lm"], check=True)
        self.library = ctypes.CDLL(str(library))

    def run(self, i: int, arrays: Mapping[Buffer, Array]) -> dict[Buffer, Array]:
        """Call a kernel; outputs that are not given start as bytes of 0xA5."""
        program = self.programs[i]
        content = {}
        for buffer in (*program.params, *program.scratch):
            given = arrays.get(buffer, buffer.data)
            if given is None:
                given = np.full(buffer.size_bytes, 0xA5, np.uint8).view(
                    "bool" if buffer.dtype == "bool" else buffer.dtype
                )
            content[buffer] = np.ascontiguousarray(given).reshape(buffer.shape).copy()
        pointers = (ctypes.c_void_p * len(content))(*(a.ctypes.data for a in content.values()))
        getattr(self.library, f"entry_{i}")(pointers)
        return {buffer: content[buffer] for buffer in program.outputs}


def check_warnings(programs: Sequence[Program], folder: Path, compiler: str) -> None:
    """Compile for a compiler's target with every warning an error."""
    source = folder / "kernels.c"
    source.write_text(c_file(programs))
    command = [require_tool(compiler), *WARNINGS, *CROSS[compiler], "-O2", "-c", source]
    done = subprocess.run([*command, "-o", folder / "kernels.o"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
