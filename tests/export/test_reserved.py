"""No package hides a header of its ecosystem: names that would are refused, or not chosen."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from microtvm.errors import ToolError, UserError
from microtvm.export import array_package, list_formats, load_format
from microtvm.export.reserved import load_reserved
from tests.cli.conftest import CommandLine, cli  # noqa: F401
from tests.conftest import require_tool
from tests.export.conftest import DIGITS

TAKEN = {
    "arduino": {"Arduino", "SPI", "Wire", "spi", "new"},
    "cmsis-pack": {"main", "RTE_Components", "core_cm4", "arm_math"},
    "esp-idf": {"driver", "sdkconfig", "json", "FreeRTOS"},
    "platformio": {"Arduino", "SPI", "Wire"},
    "zephyr-module": {"kernel", "device", "soc", "autoconf", "lvgl", "cmsis_core"},
}
ANYWHERE = {"string", "stdio", "strings", "unistd", "malloc", "Pthread", "arm_neon"}


@pytest.mark.parametrize("name", list_formats())
def test_headers_that_are_there_already(
    name: str,
    tmp_path: Path,
    cli: CommandLine,  # noqa: F811
) -> None:
    for prefix in sorted(TAKEN.get(name, set()) | ANYWHERE):
        said = cli.refused("export", DIGITS, "--format", name, "--prefix", prefix, "-o", tmp_path)
        text = " ".join(said.split())
        assert f"{prefix}.h would hide a header of" in text or "has one of that name" in text
        assert f"m_{prefix}" in text
    assert not any(tmp_path.iterdir())
    with pytest.raises(UserError, match="would hide a header of the C library"):
        load_format(name).check_name("dirent")


def test_an_array_is_refused_like_a_model() -> None:
    with pytest.raises(UserError, match=r"dirent\.h would hide a header of the C library"):
        array_package(load_format("c-array"), DIGITS, "dirent")


def test_a_file_of_such_a_name_gets_another(tmp_path: Path, cli: CommandLine) -> None:  # noqa: F811
    model = tmp_path / "SPI.tflite"
    shutil.copyfile(DIGITS, model)
    cli.ok("export", model, "--format", "arduino", "-o", tmp_path / "a")
    assert (tmp_path / "a" / "src" / "m_spi.h").is_file()
    cli.ok("export", model, "--format", "c-array", "-o", tmp_path / "c")
    assert (tmp_path / "c" / "spi.h").is_file()


def installed(*argv: str) -> set[str]:
    """Names of the headers in the folder that a command prints."""
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    folder = Path(done.stdout.strip())
    found = {header.stem for header in folder.glob("*.h")}
    assert found
    return found


@pytest.mark.parametrize("compiler", ["arm-none-eabi-gcc", "avr-gcc", "riscv64-unknown-elf-gcc"])
def test_the_list_has_what_compilers_have(compiler: str) -> None:
    """Their own folder of headers."""
    reserved = load_format("cmake").reserved
    found = installed(require_tool(compiler), "-print-file-name=include")
    assert {name for name in found if name.isidentifier() and not reserved.reason(name)} == set()


def test_the_list_has_what_the_c_library_has() -> None:
    reserved = load_format("cmake").reserved
    compiler = require_tool("arm-none-eabi-gcc")
    done = subprocess.run(
        [compiler, "-M", "-xc", "-"],
        input="#include <stdio.h>\n",
        capture_output=True,
        text=True,
        check=True,
    )
    (used,) = [word for word in done.stdout.split() if word.endswith("/stdio.h")][:1]
    found = {header.stem for header in Path(used).parent.glob("*.h")}
    assert {"string", "strings"} <= found
    assert {name for name in found if name.isidentifier() and not reserved.reason(name)} == set()


def test_the_list_has_what_an_arduino_core_has() -> None:
    require_tool("arduino-builder")
    root = Path("/usr/share/arduino/hardware/arduino/avr")
    found = {file.stem for file in (root / "cores").rglob("*.h")}
    found |= {file.stem for file in (root / "libraries").glob("*/src/*.h")}
    assert {"Arduino", "SPI"} <= found
    reserved = load_format("arduino").reserved
    assert {name for name in found if name.isidentifier() and not reserved.reason(name)} == set()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[colours]\nx = []", "colours is none of the tables headers, names"),
        ("headers = 3", "headers is none of the tables"),
        ("[names]\nx = 3", r"names\.x must be a list of names"),
        ("[names]\nx = [3]", r"names\.x must be a list of names"),
    ],
)
def test_damaged_lists(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "reserved.toml").write_text(text)
    with pytest.raises(ToolError, match=message):
        load_reserved((tmp_path,))
    assert load_reserved((tmp_path / "none",)).reason("string") == ""
