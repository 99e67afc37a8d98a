"""CMake takes the package in every way that projects take packages, and with cross compilers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from microtvm.target import load_cpu
from microtvm.util import Array
from tests.conftest import ROOT, require_tool
from tests.export.conftest import DIGITS, NAME, export, run

HEAD = "cmake_minimum_required(VERSION 3.15...3.31)\nproject(consumer LANGUAGES C)\n"
TAIL = (
    f"add_executable(consumer {ROOT}/tests/export/consumer.c)\n"
    f"target_link_libraries(consumer PRIVATE {NAME}::model)\n"
)
STRICT = "-Wall -Wextra -pedantic -Wconversion -Wshadow -Wmissing-prototypes -Werror"

# The C library's way to have printf on nothing in particular.
SYSTEM = {"cortex-m4": "--specs=nosys.specs", "rv32imc": "--oslib=semihost"}


def build(source: Path, *options: str) -> Path:
    """Configures and builds the project, in a folder inside."""
    cmake = require_tool("cmake")
    folder = source / "build"
    run(cmake, "-S", source, "-B", folder, f"-DCMAKE_C_FLAGS={STRICT}", *options)
    run(cmake, "--build", folder)
    return folder


def consumer(folder: Path, find: str, *options: str) -> Path:
    """A project that takes the package by the lines `find`; the program that it builds."""
    folder.mkdir()
    (folder / "CMakeLists.txt").write_text(HEAD + find + TAIL)
    return build(folder, *options) / "consumer"


def test_find_package(
    copied: Mapping[str, Path], images: Array, scores: bytes, tmp_path: Path
) -> None:
    find = f"find_package({NAME} 1.0 CONFIG REQUIRED PATHS {copied['cmake']})\n"
    program = consumer(tmp_path / "consumer", find)
    assert run(program, stdin=images.tobytes()) == scores


def test_fetch_content(
    copied: Mapping[str, Path], images: Array, scores: bytes, tmp_path: Path
) -> None:
    find = (
        "include(FetchContent)\n"
        f"FetchContent_Declare({NAME} SOURCE_DIR {copied['cmake']})\n"
        f"FetchContent_MakeAvailable({NAME})\n"
    )
    program = consumer(tmp_path / "consumer", find)
    assert run(program, stdin=images.tobytes()) == scores


def test_installed(
    copied: Mapping[str, Path], images: Array, scores: bytes, tmp_path: Path
) -> None:
    """As a static library, after which the sources can go."""
    prefix = tmp_path / "prefix"
    run(require_tool("cmake"), "--install", build(copied["cmake"]), "--prefix", prefix)
    copied["cmake"].rename(tmp_path / "gone")
    find = f"find_package({NAME} CONFIG REQUIRED)\n"
    program = consumer(tmp_path / "consumer", find, f"-DCMAKE_PREFIX_PATH={prefix}")
    assert run(program, stdin=images.tobytes()) == scores


@pytest.mark.parametrize(
    ("wanted", "found"), [("1", 1), ("1.0.0", 1), ("1.1", 0), ("0.9", 0), ("2", 0)]
)
def test_versions(wanted: str, found: int, copied: Mapping[str, Path], tmp_path: Path) -> None:
    """One of the same major number that is no older, as semantic versions promise."""
    version = copied["cmake"] / f"{NAME}ConfigVersion.cmake"
    script = tmp_path / "x.cmake"
    script.write_text(
        f'set(PACKAGE_FIND_VERSION "{wanted}")\nset(PACKAGE_FIND_VERSION_MAJOR "{wanted[0]}")\n'
        f'include("{version}")\n'
        'if(PACKAGE_VERSION_COMPATIBLE)\n  message("compatible")\nendif()\n'
        'message("${PACKAGE_VERSION}")\n'
    )
    script_run = run(require_tool("sh"), "-c", f'{require_tool("cmake")} -P "{script}" 2>&1')
    assert script_run.decode().split() == ["compatible"] * found + ["1.0.0"]


@pytest.mark.parametrize(("cpu", "machine"), [("cortex-m4", "EM_ARM"), ("rv32imc", "EM_RISCV")])
def test_cross_compiled_example(cpu: str, machine: str, tmp_path: Path) -> None:
    """The package's own example, by a toolchain file, with kernels for the core and the server."""
    core = load_cpu(cpu)
    package = tmp_path / "package"
    export(DIGITS, "--format", "cmake", "--cpu", cpu, "--runtime", "-o", package)
    toolchain = tmp_path / "toolchain.cmake"
    toolchain.write_text(
        "set(CMAKE_SYSTEM_NAME Generic)\n"
        f"set(CMAKE_C_COMPILER {require_tool(core.cc)})\n"
        "set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)\n"
        f'set(CMAKE_C_FLAGS_INIT "{" ".join(core.flags)}")\n'
        f'set(CMAKE_EXE_LINKER_FLAGS_INIT "{SYSTEM[cpu]}")\n'
    )
    source = package / "examples" / "minimal"
    cmake = require_tool("cmake")
    run(cmake, "-S", source, "-B", tmp_path / "build", f"-DCMAKE_TOOLCHAIN_FILE={toolchain}")
    run(cmake, "--build", tmp_path / "build")
    with (tmp_path / "build" / "minimal").open("rb") as stream:
        image = ELFFile(stream)
        assert image["e_machine"] == machine
        symbols = image.get_section_by_name(".symtab")
        names = {symbol.name for symbol in symbols.iter_symbols()}
    assert f"{NAME}_run" in names
    # The server is in the library, and not in a program that doesn't call it.
    assert "mtvm_server_poll" not in names
    archive = tmp_path / "build" / "libmicrotvm_runtime.a"
    assert b"mtvm_server_poll" in archive.read_bytes()
