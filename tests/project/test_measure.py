"""The footprint that is read from an ELF file equals what the linker's map and `size` say."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from microtvm.errors import UserError
from microtvm.project import Built, Footprint, Library, measure, read_library
from microtvm.project.fit import SERVER_CODE_BYTES, SERVER_STATIC_BYTES
from tests.conftest import require_tool
from tests.project.image import TINY

# In a map an output section's line begins without a blank; after a long name it is broken.
_OUTPUT_SECTION = re.compile(r"^(\.[\w.]+)\s+0x[0-9a-f]+\s+0x([0-9a-f]+)", re.MULTILINE)


def footprint(served: Built) -> Footprint:
    return measure(served.elf, served.project.library)


def test_sums_equal_those_of_the_size_program(served: Built) -> None:
    """`size` in Berkeley format: text is all that is read-only, data what is stored and written."""
    program = require_tool(served.project.board.cpu.tool("size"))
    printed = subprocess.run(
        [program, served.elf], capture_output=True, text=True, check=True
    ).stdout
    text, data, bss = (int(word) for word in printed.splitlines()[1].split()[:3])
    found = footprint(served)
    assert found.flash.total == text + data
    assert found.ram.arena + found.ram.static + found.ram.stack == data + bss


def test_parts_equal_the_linkers_map(served: Built) -> None:
    if served.project.board.name == "host":
        pytest.skip("the host's own linker script has sections of its own")
    text = re.sub(r"^(\.[\w.]+)\n\s+0x", r"\1 0x", served.map_file.read_text(), flags=re.MULTILINE)
    sizes = {section: int(size, 16) for section, size in _OUTPUT_SECTION.findall(text)}
    found = footprint(served)
    assert found.flash.code == sizes[".vectors"] + sizes[".text"]
    assert found.flash.weights == sizes[".mtvm_weights"]
    assert found.flash.constants == sizes[".rodata"] + sizes[".data"]
    assert found.ram.static == sizes[".data"] + sizes[".bss"] + sizes[".mtvm_noinit"]
    assert found.ram.stack == sizes[".stack"] == served.project.board.stack_bytes


def test_weights_and_arena_are_the_metadatas(served: Built) -> None:
    library = read_library(TINY)
    found = footprint(served)
    assert found.flash.weights == library.weights_bytes
    assert found.ram.arena == library.arena_bytes
    assert found.ram.scratch == library.scratch_bytes


def test_server_is_small(served: Built) -> None:
    """What the README promises with kernels, so it must hold with hardly any."""
    found = footprint(served)
    assert found.flash.code >= SERVER_CODE_BYTES
    assert found.flash.code + found.flash.constants < 14_000
    if served.project.board.name != "host":
        assert SERVER_STATIC_BYTES <= found.ram.static < 512


def test_measured_stack_takes_the_reserves_place(served: Built) -> None:
    found = footprint(served)
    measured = found.with_stack(100)
    assert measured.ram.stack == 100
    assert measured.ram.total == found.ram.total - found.ram.stack + 100
    assert measured.flash == found.flash


def library_with(arena_bytes: int) -> Library:
    tiny = read_library(TINY)
    return Library(
        folder=tiny.folder,
        prefix=tiny.prefix,
        name=tiny.name,
        hash=tiny.hash,
        arena_bytes=arena_bytes,
        scratch_bytes=0,
        weights_bytes=None,
        metadata={},
    )


def test_image_of_another_model_is_refused(served: Built) -> None:
    with pytest.raises(UserError, match="no room for an arena of 100000000 bytes"):
        measure(served.elf, library_with(100_000_000))


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.elf"
    file.write_bytes(b"not an image")
    with pytest.raises(UserError, match=r"x\.elf is not an ELF file"):
        measure(file, library_with(0))
    with pytest.raises(UserError, match=r"absent\.elf can't be read"):
        measure(tmp_path / "absent.elf", library_with(0))
