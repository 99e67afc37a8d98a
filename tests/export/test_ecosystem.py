"""Packages pass the checks of those who take them: their own tools where these can be installed,
else what their documentation asks for, stated here."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from tests.cli.conftest import pair  # noqa: F401
from tests.codegen.c_library import WARNINGS
from tests.conftest import require_tool
from tests.export.conftest import NAME, export, python_tool, run

# ---- PlatformIO ----

PACK = """
import sys
from platformio.package.manifest.schema import ManifestSchema
# The list of licences is the one thing that it would fetch.
known = {"licenses": [{"licenseId": "Apache-2.0"}]}
ManifestSchema.load_spdx_licenses = staticmethod(lambda: known)
from platformio.__main__ import main
sys.exit(main(["pio", "pkg", "pack", "-o", sys.argv[2], sys.argv[1]]))
"""


def pack(folder: Path, output: Path) -> subprocess.CompletedProcess[bytes]:
    """`pio pkg pack`, by the interpreter that has PlatformIO."""
    python = Path(python_tool("platformio", "pio")).resolve().with_name("python")
    found = python if python.exists() else Path(sys.executable)
    return subprocess.run([found, "-c", PACK, folder, output], capture_output=True, check=False)


def test_platformio_packs_it(copied: Mapping[str, Path], tmp_path: Path) -> None:
    folder = copied["platformio"]
    done = pack(folder, tmp_path / "x.tar.gz")
    assert done.returncode == 0, done.stdout + done.stderr
    with tarfile.open(tmp_path / "x.tar.gz") as tar:
        names = set(tar.getnames())
    assert {"library.json", f"src/{NAME}.c", f"include/{NAME}.h", "include/mtvm_model.h"} <= names
    manifest = json.loads((folder / "library.json").read_text())
    (example,) = manifest["examples"]
    assert all((folder / example["base"] / file).is_file() for file in example["files"])


@pytest.mark.parametrize(
    ("key", "value"), [("version", "one"), ("license", "None-1"), ("name", "")]
)
def test_platformio_looks_at_the_manifest(
    key: str, value: str, copied: Mapping[str, Path], tmp_path: Path
) -> None:
    file = copied["platformio"] / "library.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), key: value}))
    assert pack(copied["platformio"], tmp_path / "x.tar.gz").returncode != 0


# ---- ESP-IDF ----

# What idf_component_register does with its arguments, for a component without dependencies.
REGISTER = """
cmake_minimum_required(VERSION 3.16)
project(esp C)
set(COMPONENT_LIB component)
function(idf_component_register)
  cmake_parse_arguments(C "" "" "SRCS;INCLUDE_DIRS" ${ARGN})
  list(TRANSFORM C_SRCS PREPEND "${CMAKE_CURRENT_LIST_DIR}/")
  add_library(component STATIC ${C_SRCS})
  target_include_directories(component PUBLIC "${CMAKE_CURRENT_LIST_DIR}/${C_INCLUDE_DIRS}")
endfunction()
add_subdirectory("${PACKAGE}" package)
file(WRITE start.c "void app_main(void); int main(void) { app_main(); return 0; }")
add_executable(app start.c "${PACKAGE}/examples/minimal/main/main.c")
target_link_libraries(app PRIVATE component m)
"""


def test_esp_idf_manifests(copied: Mapping[str, Path], tmp_path: Path) -> None:
    """By the component manager's own rules, and packed by it."""
    compote = python_tool("idf_component_manager", "compote")
    folder = copied["esp-idf"]
    run(compote, "manifest", "lint", folder)
    run(compote, "component", "pack", "--name", NAME, "--dest-dir", tmp_path, cwd=folder)
    (packed,) = tmp_path.glob("*.tgz")
    with tarfile.open(packed) as tar:
        assert {"idf_component.yml", "CMakeLists.txt", f"src/{NAME}.c"} <= {
            name.removeprefix("./") for name in tar.getnames()
        }
    dependency = yaml.safe_load((folder / "examples/minimal/main/idf_component.yml").read_text())
    (entry,) = dependency["dependencies"].values()
    assert (folder / "examples/minimal/main" / entry["override_path"]).resolve() == folder


def test_esp_idf_looks_at_the_manifest(copied: Mapping[str, Path]) -> None:
    compote = python_tool("idf_component_manager", "compote")
    file = copied["esp-idf"] / "idf_component.yml"
    file.write_text(file.read_text().replace('"1.0.0"', '"one"'))
    done = subprocess.run(
        [compote, "manifest", "lint", copied["esp-idf"]], capture_output=True, check=False
    )
    assert done.returncode != 0


def test_esp_idf_builds(copied: Mapping[str, Path], printed: str, tmp_path: Path) -> None:
    (tmp_path / "CMakeLists.txt").write_text(REGISTER)
    program = cmake_build(tmp_path, copied["esp-idf"])
    assert run(program).decode() == printed


def cmake_build(source: Path, package: Path) -> Path:
    cmake = require_tool("cmake")
    run(cmake, "-S", source, "-B", source / "build", f"-DPACKAGE={package}")
    run(cmake, "--build", source / "build")
    return source / "build" / "app"


# ---- Zephyr ----

# What the functions of Zephyr's build do that the module calls.
ZEPHYR = """
cmake_minimum_required(VERSION 3.20)
project(zephyr C)
set(CONFIG_MICROTVM_DIGITS_INT8 {on})
macro(zephyr_library_named name)
  set(library ${{name}})
  add_library(${{name}} STATIC)
endmacro()
macro(zephyr_include_directories)
  include_directories(${{ARGN}})
  set_property(GLOBAL PROPERTY zephyr_includes "${{CMAKE_CURRENT_LIST_DIR}}/${{ARGN}}")
endmacro()
macro(zephyr_library_sources)
  target_sources(${{library}} PRIVATE ${{ARGN}})
endmacro()
macro(zephyr_library_compile_options)
  target_compile_options(${{library}} PRIVATE ${{ARGN}})
endmacro()
add_subdirectory("${{PACKAGE}}/zephyr" module)
get_property(includes GLOBAL PROPERTY zephyr_includes)
add_executable(app "${{PACKAGE}}/samples/minimal/src/main.c")
target_include_directories(app PRIVATE ${{includes}})
target_link_libraries(app PRIVATE {library} m)
"""


def test_zephyr_module(copied: Mapping[str, Path]) -> None:
    """zephyr/module.yml has keys that Zephyr's schema has, and they lead to files."""
    folder = copied["zephyr-module"]
    module = yaml.safe_load((folder / "zephyr" / "module.yml").read_text())
    assert set(module) <= {"name", "build", "samples", "tests", "boards", "blobs"}
    assert set(module["build"]) <= {"cmake", "kconfig", "depends", "settings"}
    assert module["name"] == f"microtvm_{NAME}"
    assert (folder / module["build"]["cmake"] / "CMakeLists.txt").is_file()
    assert (folder / module["build"]["kconfig"]).is_file()
    assert all((folder / sample).is_dir() for sample in module["samples"])
    sample = yaml.safe_load((folder / "samples/minimal/sample.yaml").read_text())
    (test,) = sample["tests"].values()
    assert test["harness"] == "console"


def test_zephyr_kconfig(copied: Mapping[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Off unless it is asked for, which the sample does."""
    kconfiglib = pytest.importorskip("kconfiglib")
    monkeypatch.setenv("srctree", str(copied["zephyr-module"]))
    config = kconfiglib.Kconfig("zephyr/Kconfig")
    (symbol,) = config.unique_defined_syms
    assert (symbol.name, symbol.str_value, config.warnings) == ("MICROTVM_DIGITS_INT8", "n", [])
    config.load_config("samples/minimal/prj.conf")
    assert symbol.str_value == "y"


def test_zephyr_builds(copied: Mapping[str, Path], printed: str, tmp_path: Path) -> None:
    text = ZEPHYR.format(on="y", library=f"{NAME}_model")
    (tmp_path / "CMakeLists.txt").write_text(text)
    program = cmake_build(tmp_path, copied["zephyr-module"])
    shown = run(program).decode()
    assert shown == printed
    sample = yaml.safe_load((copied["zephyr-module"] / "samples/minimal/sample.yaml").read_text())
    (test,) = sample["tests"].values()
    assert all(re.search(regex, shown) for regex in test["harness_config"]["regex"])


@pytest.mark.slow
def test_zephyr_itself(copied: Mapping[str, Path], printed: str, tmp_path: Path) -> None:
    """The sample, built by a Zephyr tree for its own machine, and run."""
    if not os.environ.get("ZEPHYR_BASE"):
        pytest.skip("ZEPHYR_BASE is not set")
    cmake = require_tool("cmake")
    sample = copied["zephyr-module"] / "samples" / "minimal"
    run(cmake, "-S", sample, "-B", tmp_path / "build", "-DBOARD=native_sim/native/64")
    run(cmake, "--build", tmp_path / "build")
    assert printed in run(tmp_path / "build/zephyr/zephyr.exe", "-stop_at=1").decode()


# ---- CMSIS-Pack ----


def test_cmsis_pack(copied: Mapping[str, Path]) -> None:
    """The rules of PACK.xsd and of packchk, both by Arm, for the elements that the file has:

    what must be there and nothing twice, names, versions, what conditions and files refer to, and
    the file's own name.
    """
    folder = copied["cmsis-pack"]
    (file,) = folder.glob("*.pdsc")
    root = ET.parse(file).getroot()
    assert root.tag == "package"
    assert re.fullmatch(r"\d+\.\d+(\.\d+)?", root.attrib["schemaVersion"])
    tags = [child.tag for child in root]
    assert len(tags) == len(set(tags))
    assert {"vendor", "name", "description", "url", "releases"} <= set(tags) <= {
        "vendor", "name", "description", "url", "license", "releases", "keywords", "conditions",
        "components",
    }  # fmt: skip
    vendor, name = root.findtext("vendor", ""), root.findtext("name", "")
    assert re.fullmatch(r"[\-_A-Za-z0-9]+", vendor)
    assert re.fullmatch(r"[\-_A-Za-z0-9]+", name)
    assert file.name == f"{vendor}.{name}.pdsc"
    assert (folder / root.findtext("license", "")).is_file()
    versions = [release.attrib["version"] for release in root.iter("release")]
    assert versions == ["1.0.0"]
    conditions = {c.attrib["id"] for c in root.iter("condition")}
    (component,) = root.iter("component")
    assert component.attrib["condition"] in conditions
    assert component.attrib["Cversion"] == "1.0.0"
    for part in ("Cclass", "Cgroup"):
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_+()'/\-\s.]+", component.attrib[part])
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_+():/\- .]*", component.attrib["Csub"])
    assert all(2 <= len(component.attrib[p]) <= 32 for p in ("Cclass", "Cgroup", "Csub"))
    assert [child.tag for child in component] == ["description", "RTE_Components_h", "files"]
    listed = set()
    for entry in component.iter("file"):
        path = folder / entry.attrib["name"]
        assert entry.attrib["category"] in {"doc", "header", "include", "source"}
        # A folder's name ends in a slash, and only a folder's.
        assert path.is_dir() if entry.attrib["name"].endswith("/") else path.is_file()
        listed.add(entry.attrib["name"])
    compiled = {str(f.relative_to(folder)) for f in folder.rglob("*.[ch]")}
    assert compiled <= listed


# ---- Arduino ----

ARDUINO_H = """
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
struct Port {
    void begin(long) {}
    void print(const char *text) { std::fputs(text, stdout); }
    void println(long value) { std::printf("%ld\\n", value); }
};
static Port Serial;
static void delay(unsigned long) { std::exit(0); }
"""


def test_arduino_layout(copied: Mapping[str, Path]) -> None:
    """The library specification, 1.5 layout; arduino-lint's rules are of the same text."""
    folder = copied["arduino"]
    lines = (folder / "library.properties").read_text().splitlines()
    properties = dict(line.split("=", 1) for line in lines)
    assert len(properties) == len(lines)
    assert set(properties) == {
        "name", "version", "author", "maintainer", "sentence", "paragraph", "category", "url",
        "architectures", "includes",
    }  # fmt: skip
    assert all(properties.values())
    assert properties["name"] == folder.name
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_ .-]{0,62}", properties["name"])
    assert not properties["name"].lower().startswith("arduino")
    assert re.fullmatch(r"\d+\.\d+\.\d+", properties["version"])
    assert properties["sentence"].endswith(".")
    assert properties["category"] in {
        "Display", "Communication", "Signal Input/Output", "Sensors", "Device Control", "Timing",
        "Data Storage", "Data Processing", "Other",
    }  # fmt: skip
    assert (folder / "src" / properties["includes"]).is_file()
    for line in (folder / "keywords.txt").read_text().splitlines():
        assert re.fullmatch(r"\w+\t(KEYWORD[123]|LITERAL[12])", line)
    sketches = list((folder / "examples").rglob("*.ino"))
    assert [s.stem == s.parent.name for s in sketches] == [True]
    assert {f.name for f in folder.iterdir()} == {
        "LICENSE", "README.md", "examples", "extras", "keywords.txt", "library.properties", "src",
    }  # fmt: skip


def test_arduino_builds(pair: Path, tmp_path: Path) -> None:  # noqa: F811
    """By Arduino's own builder, for the Mega 2560."""
    builder = require_tool("arduino-builder")
    require_tool("avr-gcc")
    for folder in ("libraries", "tools", "build"):
        (tmp_path / folder).mkdir()
    export(pair, "--format", "arduino", "-o", tmp_path / "libraries" / "pair")
    run(builder, "-compile", "-hardware", "/usr/share/arduino/hardware",
        "-hardware", "/usr/share/arduino-builder", "-tools", tmp_path / "tools",
        "-libraries", tmp_path / "libraries", "-build-path", tmp_path / "build",
        "-fqbn", "arduino:avr:mega:cpu=atmega2560",
        "-prefs=compiler.cpp.extra_flags=-DDECIMAL_DIG=__DECIMAL_DIG__",
        tmp_path / "libraries/pair/examples/Minimal/Minimal.ino")  # fmt: skip
    symbols = run("avr-nm", tmp_path / "build" / "Minimal.ino.elf").decode()
    assert "pair_n1_logistic" in symbols


def test_arduino_sketch(copied: Mapping[str, Path], printed: str, tmp_path: Path) -> None:
    """The sketch is C++, as builders make of it, and the model C."""
    folder = copied["arduino"]
    (tmp_path / "Arduino.h").write_text(ARDUINO_H)
    sketch = (folder / "examples/Minimal/Minimal.ino").read_text()
    (tmp_path / "sketch.cpp").write_text(
        f'#include "Arduino.h"\n{sketch}\nint main() {{ setup(); for (;;) loop(); }}\n'
    )
    run(require_tool("cc"), *WARNINGS, "-c", folder / f"src/{NAME}.c", "-o", tmp_path / "model.o")
    run(require_tool("c++"), "-std=gnu++11", "-Wall", "-Wextra", "-Werror", "-I", folder / "src",
        tmp_path / "sketch.cpp", tmp_path / "model.o", "-lm", "-o", tmp_path / "x")  # fmt: skip
    shown = run(tmp_path / "x").decode()
    assert shown == re.sub(r"\[\d+\]", "", printed)
