"""Lines of an image whose compiler wrote STABS, and of images that tell none."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from microtvm.device.location import Location, locate
from microtvm.device.stabs import find_stabs_line
from tests.conftest import require_tool

SOURCES = {
    "first.c": "int second(int x);\nvolatile int a;\n\n"
    "int main(void)\n{\n    a = 1;\n    a = second(a);\n    return a + 2;\n}\n",
    "second.c": '#include "inner.h"\nint second(int x);\n\n'
    "int second(int x)\n{\n    return inner(x) + 5;\n}\n",
    "inner.h": "extern volatile int a;\nstatic inline int inner(int x)\n{\n"
    "    a = 7;\n    return x;\n}\n",
}


@pytest.fixture(scope="module", params=["stabs", "dwarf-2"])
def image(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    require_tool("avr-gcc")
    folder = tmp_path_factory.mktemp("lines")
    for name, text in SOURCES.items():
        (folder / name).write_text(text)
    (folder / "third.c").write_text("int third(int x);\nint third(int x) { return x + 1; }\n")
    compiler = ["avr-gcc", "-mmcu=atmega2560", "-Os", "-Wl,--undefined=third"]
    third = folder / "third.o"
    subprocess.run([*compiler, "-c", folder / "third.c", "-o", third], check=True)
    files = [third, *(folder / name for name in SOURCES if name.endswith(".c"))]
    elf = folder / "a.elf"
    subprocess.run([*compiler, f"-g{request.param}", *files, "-o", elf], check=True)
    return elf


def lines_of(elf: Path, function: str) -> list[Location]:
    """Where every word of a function lies."""
    with elf.open("rb") as stream:
        (symbol,) = ELFFile(stream).get_section_by_name(".symtab").get_symbol_by_name(function)
        start, size = symbol["st_value"], symbol["st_size"]
    found = [locate(elf, address) for address in range(start, start + size, 2)]
    assert all(location is not None and location.function == function for location in found)
    return [location for location in found if location is not None]


def test_lines_are_found_in_every_unit_and_header(image: Path) -> None:
    places = {(at.file, at.line) for at in lines_of(image, "main")}
    assert {("first.c", 6), ("first.c", 7), ("first.c", 8)} <= places
    assert {file for file, _ in places} == {"first.c"}
    places = {(at.file, at.line) for at in lines_of(image, "second")}
    assert {("inner.h", 4), ("second.c", 7)} <= places


def test_code_without_lines_has_its_function_alone(image: Path) -> None:
    assert {(at.file, at.line) for at in lines_of(image, "third")} == {("", 0)}
    assert locate(image, 0x30000) is None


def test_damaged_tables_tell_nothing(image: Path, tmp_path: Path) -> None:
    """Names beyond the table, a table that ends within an entry, and none."""
    fun = struct.pack("<IBBHI", 1, 0x24, 0, 0, 0x100)
    line = struct.pack("<IBBHI", 0, 0x44, 0, 7, 0)
    for stab, strings in [
        (b"", b""),
        (fun + line, b"\0no end"),
        (fun + line, b"\0main:F1\0"),
        (struct.pack("<IBBHI", 1 << 31, 0x64, 0, 0, 0) * 2 + b"12345", b"\0"),
        (b"\xff" * 24, b"\0"),
    ]:
        for name, data in ((".stab", stab), (".stabstr", strings)):
            (tmp_path / name).write_bytes(data)
        remove = [word for n in (".stab", ".stabstr") for word in ("--remove-section", n)]
        add = [w for n in (".stab", ".stabstr") for w in ("--add-section", f"{n}={tmp_path / n}")]
        subprocess.run(["avr-objcopy", *remove, image, tmp_path / "b.elf"], check=True)
        subprocess.run(["avr-objcopy", *add, tmp_path / "b.elf"], check=True)
        with (tmp_path / "b.elf").open("rb") as stream:
            assert find_stabs_line(ELFFile(stream), 0x100, 0x100) == ("", 0)
