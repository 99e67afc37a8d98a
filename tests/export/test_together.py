"""Two models with the RPC server in one program: its code is there once, both answer as they do
alone."""

from __future__ import annotations

import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from pathlib import Path

import pytest

from microtvm.frontend import load_model
from microtvm.ops.evaluate import evaluate_graph
from microtvm.pipeline import compile_model
from microtvm.target import load_cpu
from microtvm.util import Array
from tests.codegen.c_library import WARNINGS
from tests.conftest import ROOT, require_tool
from tests.export.conftest import DIGITS, export, run

SMALL = DIGITS.with_name("digits_small_int8.tflite")
MODELS = (DIGITS, SMALL)
SOURCE = ROOT / "tests" / "export" / "together.c"
FORMATS = ("arduino", "c-single-file", "cmake", "cmsis-pack", "zephyr-module")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Folders with both models' packages, by format; read only."""
    root = tmp_path_factory.mktemp("served")
    for model in MODELS:
        compiled = compile_model(model, load_cpu("generic"), prefix=model.stem)
        compiled.library.write(root / model.stem)
        for name in FORMATS:
            package = root / name / model.stem
            export(root / model.stem, "--format", name, "--runtime", "-o", package)
    return {name: root / name for name in FORMATS}


@pytest.fixture(scope="module")
def both(images: Array) -> bytes:
    """What the program has to answer, by the numpy meaning of the graphs."""
    graphs = [load_model(model) for model in MODELS]
    return b"".join(
        evaluate_graph(graph, {"image": image})["scores"].tobytes()
        for image in images
        for graph in graphs
    )


# ---- CMake ----

HEAD = "cmake_minimum_required(VERSION 3.15...3.31)\nproject(together LANGUAGES C)\n"
TAIL = (
    f"add_executable(together {SOURCE})\n"
    "target_link_libraries(together PRIVATE digits_int8::model digits_small_int8::model)\n"
)


def cmake_build(folder: Path, find: str) -> Path:
    """The program of a project that takes the packages by the lines `find`."""
    folder.mkdir()
    (folder / "CMakeLists.txt").write_text(HEAD + find + TAIL)
    cmake = require_tool("cmake")
    flags = f"-DCMAKE_C_FLAGS={' '.join(WARNINGS)}"
    run(cmake, "-S", folder, "-B", folder / "build", flags)
    run(cmake, "--build", folder / "build")
    return folder / "build" / "together"


def found_in(folder: Path) -> str:
    """Lines that find both packages in the folder as they are."""
    return "".join(
        f"find_package({m.stem} CONFIG REQUIRED PATHS {folder / m.stem})\n" for m in MODELS
    )


def test_cmake(served: Mapping[str, Path], images: Array, both: bytes, tmp_path: Path) -> None:
    program = cmake_build(tmp_path / "x", found_in(served["cmake"]))
    assert run(program, stdin=images.tobytes()) == both
    archives = [file.read_bytes() for file in program.parent.rglob("*.a")]
    assert [b"mtvm_server_poll" in archive for archive in archives].count(True) == 1


def test_cmake_installed(
    served: Mapping[str, Path], images: Array, both: bytes, tmp_path: Path
) -> None:
    cmake = require_tool("cmake")
    prefix = tmp_path / "prefix"
    for model in MODELS:
        run(cmake, "-S", served["cmake"] / model.stem, "-B", tmp_path / model.stem)
        run(cmake, "--build", tmp_path / model.stem)
        run(cmake, "--install", tmp_path / model.stem, "--prefix", prefix)
    # Each by its own path: neither names the folder of the server, which is found beside.
    program = cmake_build(tmp_path / "x", found_in(prefix / "lib" / "cmake"))
    assert run(program, stdin=images.tobytes()) == both


def test_cmake_packages_of_two_versions(served: Mapping[str, Path], tmp_path: Path) -> None:
    """The second is refused, with words, before anything is compiled."""
    find = found_in(served["cmake"])
    (tmp_path / "CMakeLists.txt").write_text(
        f"{HEAD}add_library(microtvm_runtime STATIC {SOURCE})\n"
        "add_library(microtvm::runtime ALIAS microtvm_runtime)\n"
        f"set_target_properties(microtvm_runtime PROPERTIES MICROTVM_VERSION 0.0.9)\n{find}"
    )
    done = subprocess.run(
        [require_tool("cmake"), "-S", tmp_path, "-B", tmp_path / "build"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "another package here by 0.0.9: they share one" in " ".join(done.stderr.split())


# ---- one file ----


def includes(folder: Path) -> list[str]:
    return [f"-I{folder / model.stem}" for model in MODELS]


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_both_in_one_c_file(
    compiler: str, served: Mapping[str, Path], images: Array, both: bytes, tmp_path: Path
) -> None:
    run(require_tool(compiler), *WARNINGS, "-O1", "-DONE_FILE", "-DSINGLE",
        *includes(served["c-single-file"]), SOURCE, "-lm", "-o", tmp_path / "x")  # fmt: skip
    assert run(tmp_path / "x", stdin=images.tobytes()) == both


def test_each_in_a_c_file(
    served: Mapping[str, Path], images: Array, both: bytes, tmp_path: Path
) -> None:
    sources = []
    for model in MODELS:
        sources.append(tmp_path / f"{model.stem}.c")
        sources[-1].write_text(
            f'#define {model.stem.upper()}_IMPLEMENTATION\n#include "{model.stem}.h"\n'
        )
    run(require_tool("cc"), *WARNINGS, "-O1", "-DSINGLE", *includes(served["c-single-file"]),
        *sources, SOURCE, "-lm", "-o", tmp_path / "x")  # fmt: skip
    assert run(tmp_path / "x", stdin=images.tobytes()) == both


def test_both_in_one_c_file_for_a_core_with_tiles(tmp_path: Path) -> None:
    """Whose register tiles two models have in common."""
    for model in MODELS:
        words = ("--format", "c-single-file", "--cpu", "cortex-m4", "--prefix", model.stem)
        export(SMALL, *words, "--runtime", "-o", tmp_path / model.stem)
    run(require_tool("arm-none-eabi-gcc"), *WARNINGS, "-O2", "-mcpu=cortex-m4", "-mthumb",
        "-DONE_FILE", "-DSINGLE", *includes(tmp_path), "-c", SOURCE,
        "-o", tmp_path / "x.o")  # fmt: skip


# ---- Arduino ----

SKETCH = """
#include <digits_int8.h>
#include <digits_small_int8.h>
#include <mtvm_rpc.h>
static uint8_t arena[DIGITS_SMALL_INT8_ARENA_BYTES];
static mtvm_server server;
static mtvm_port port;
void setup()
{
    mtvm_server_init(&server, &port, &digits_int8_model, arena, sizeof arena);
    mtvm_server_init(&server, &port, &digits_small_int8_model, arena, sizeof arena);
}
void loop()
{
    mtvm_server_poll(&server);
}
"""


def test_arduino(served: Mapping[str, Path], tmp_path: Path) -> None:
    """Linked by Arduino's own builder, which else puts every object of a library into a sketch."""
    builder = require_tool("arduino-builder")
    require_tool("avr-gcc")
    for folder in ("tools", "build", "both"):
        (tmp_path / folder).mkdir()
    sketch = tmp_path / "both" / "both.ino"
    sketch.write_text(SKETCH)
    run(builder, "-compile", "-hardware", "/usr/share/arduino/hardware",
        "-hardware", "/usr/share/arduino-builder", "-tools", tmp_path / "tools",
        "-libraries", served["arduino"], "-build-path", tmp_path / "build",
        "-fqbn", "arduino:avr:mega:cpu=atmega2560",
        "-prefs=compiler.cpp.extra_flags=-DDECIMAL_DIG=__DECIMAL_DIG__", sketch)  # fmt: skip
    symbols = run("avr-nm", tmp_path / "build" / "both.ino.elf").decode()
    assert "digits_int8_n0_conv2d" in symbols
    assert "digits_small_int8_n0_conv2d" in symbols


# ---- Zephyr ----

# What the functions of Zephyr's build do that the modules call: objects are linked as a whole.
ZEPHYR = """
cmake_minimum_required(VERSION 3.20)
project(zephyr C)
set(CONFIG_MICROTVM_DIGITS_INT8 y)
set(CONFIG_MICROTVM_DIGITS_SMALL_INT8 y)
macro(zephyr_library_named name)
  set(library ${name})
  add_library(${name} OBJECT)
  set_property(GLOBAL APPEND PROPERTY libraries ${name})
endmacro()
macro(zephyr_include_directories)
  include_directories(${CMAKE_CURRENT_LIST_DIR}/${ARGN})
  set_property(GLOBAL APPEND PROPERTY includes "${CMAKE_CURRENT_LIST_DIR}/${ARGN}")
endmacro()
macro(zephyr_library_sources)
  target_sources(${library} PRIVATE ${ARGN})
endmacro()
macro(zephyr_library_compile_options)
  target_compile_options(${library} PRIVATE ${ARGN})
endmacro()
add_subdirectory("${PACKAGES}/digits_int8/zephyr" a)
add_subdirectory("${PACKAGES}/digits_small_int8/zephyr" b)
get_property(includes GLOBAL PROPERTY includes)
get_property(libraries GLOBAL PROPERTY libraries)
add_executable(together ${SOURCE})
target_include_directories(together PRIVATE ${includes})
target_link_libraries(together PRIVATE ${libraries} m)
"""


def test_zephyr(served: Mapping[str, Path], images: Array, both: bytes, tmp_path: Path) -> None:
    (tmp_path / "CMakeLists.txt").write_text(ZEPHYR)
    cmake = require_tool("cmake")
    packages = f"-DPACKAGES={served['zephyr-module']}"
    run(cmake, "-S", tmp_path, "-B", tmp_path / "build", packages, f"-DSOURCE={SOURCE}")
    run(cmake, "--build", tmp_path / "build")
    assert run(tmp_path / "build" / "together", stdin=images.tobytes()) == both


# ---- CMSIS-Pack ----


def test_cmsis_pack(served: Mapping[str, Path], images: Array, both: bytes, tmp_path: Path) -> None:
    """Both models' components, and the server's of one."""
    sources: list[Path] = []
    folders = []
    for model in MODELS:
        folder = served["cmsis-pack"] / model.stem
        (file,) = folder.glob("*.pdsc")
        components = {
            component.attrib["Cgroup"]: component for component in ET.parse(file).iter("component")
        }
        assert set(components) == {"microtvm", "microtvm RPC server"}
        chosen = [components["microtvm"]]
        if model is SMALL:
            chosen.append(components["microtvm RPC server"])
        for entry in (entry for component in chosen for entry in component.iter("file")):
            if entry.attrib["category"] == "source" and "attr" not in entry.attrib:
                sources.append(folder / entry.attrib["name"])
            elif entry.attrib["category"] == "include":
                folders.append(folder / entry.attrib["name"])
    assert len(sources) == 7
    run(require_tool("cc"), *WARNINGS, "-O1", *(f"-I{f}" for f in folders), *sources, SOURCE,
        "-lm", "-o", tmp_path / "x")  # fmt: skip
    assert run(tmp_path / "x", stdin=images.tobytes()) == both
