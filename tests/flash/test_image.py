"""HEX, bytes and UF2 of an image are what binutils make of it, and what the specification asks."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from intelhex import IntelHex

from microtvm.device.image import (
    ERASED,
    UF2_BLOCK_BYTES,
    UF2_PAYLOAD_BYTES,
    Chunk,
    stored_chunks,
    uf2_blocks,
    write_bin,
    write_hex,
    write_uf2,
)
from microtvm.errors import ToolError, UserError
from tests.conftest import require_tool
from tests.flash.bench import link_image

COMPILERS = ["arm-none-eabi-gcc", "riscv64-unknown-elf-gcc"]


@pytest.fixture(scope="module", params=COMPILERS)
def linked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return link_image(tmp_path_factory.mktemp("image"), request.param)


def objcopy(elf: Path, output: Path, *arguments: str) -> None:
    machine = elf.read_bytes()[18]
    prefix = {40: "arm-none-eabi-", 243: "riscv64-unknown-elf-"}[machine]
    program = require_tool(prefix + "objcopy")
    subprocess.run([program, *arguments, str(elf), str(output)], check=True)


def test_hex_is_objcopys(linked: Path, tmp_path: Path) -> None:
    write_hex(linked, tmp_path / "ours.hex")
    objcopy(linked, tmp_path / "theirs.hex", "-O", "ihex")
    ours, theirs = (IntelHex(str(tmp_path / f"{who}.hex")) for who in ("ours", "theirs"))
    assert ours.todict() | {"start_addr": 0} == theirs.todict() | {"start_addr": 0}
    assert ours.minaddr() == 0x08000000
    assert ours.maxaddr() > 0x08001234


def test_bytes_are_objcopys(linked: Path, tmp_path: Path) -> None:
    write_bin(linked, tmp_path / "ours.bin")
    objcopy(linked, tmp_path / "theirs.bin", "-O", "binary", "--gap-fill", "0xff")
    assert (tmp_path / "ours.bin").read_bytes() == (tmp_path / "theirs.bin").read_bytes()


def test_variables_lie_where_their_values_are_stored(linked: Path) -> None:
    chunks = stored_chunks(linked)
    assert all(0x08000000 <= chunk.address < 0x08002000 for chunk in chunks)
    stored = b"".join(chunk.data for chunk in chunks)
    assert struct.pack("<3I", 5, 6, 7) in stored
    assert struct.pack("<4I", 1, 2, 3, 4) in stored
    assert stored.count(b"\x7fELF") == 0


def test_headers_in_the_first_segment_are_left_out(tmp_path: Path) -> None:
    """A process of the host: its first segment begins with the ELF header itself."""
    compiler = require_tool("cc")
    (tmp_path / "main.c").write_text("int main(void) { return 0; }\n")
    subprocess.run([compiler, "main.c", "-o", "main"], cwd=tmp_path, check=True)
    assert b"\x7fELF" not in stored_chunks(tmp_path / "main")[0].data


def test_avr_has_its_eeprom_and_fuses_elsewhere(tmp_path: Path) -> None:
    """The linker puts them behind the flash; a flash's file has none of it."""
    elf = link_image(tmp_path / "arm")
    data = bytearray(elf.read_bytes())
    # The same file, said to be for an AVR; and one whose flash begins where an AVR's EEPROM does.
    struct.pack_into("<H", data, 18, 83)
    (tmp_path / "avr.elf").write_bytes(data)
    with pytest.raises(UserError, match="has nothing to store in a board"):
        stored_chunks(tmp_path / "avr.elf")
    low = link_image(tmp_path / "low", flash=0x1000)
    data = bytearray(low.read_bytes())
    struct.pack_into("<H", data, 18, 83)
    low.write_bytes(data)
    assert stored_chunks(low)[0].address == 0x1000


def test_memories_far_apart_make_no_file_of_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("microtvm.device.image.BIN_LIMIT_BYTES", 0x1000)
    with pytest.raises(ToolError, match="too far apart") as caught:
        write_bin(link_image(tmp_path), tmp_path / "image.bin")
    assert "ELF or HEX" in caught.value.hint


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "can't be read: No such file"), (b"text", "is not an ELF file")],
)
def test_no_image(tmp_path: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / "image.elf").write_bytes(content)
    with pytest.raises(UserError, match=message):
        stored_chunks(tmp_path / "image.elf")


def read_uf2(data: bytes) -> tuple[dict[int, int], set[tuple[int, int]]]:
    """What a boot loader writes, byte by byte, and the flags and families of all blocks; the
    fields are those of the specification's table."""
    assert len(data) % 512 == 0
    count = len(data) // 512
    stored: dict[int, int] = {}
    kinds = set()
    for number in range(count):
        block = data[512 * number : 512 * (number + 1)]
        first, second, flags, address, size, index, blocks, family = struct.unpack(
            "<8I", block[:32]
        )
        assert block[:4] == b"UF2\n"
        assert (first, second) == (0x0A324655, 0x9E5D5157)
        assert struct.unpack("<I", block[508:]) == (0x0AB16F30,)
        assert (size, index, blocks) == (256, number, count)
        assert address % 256 == 0
        assert set(block[32 + size : 508]) == {0xFF}
        for offset in range(size):
            assert address + offset not in stored
            stored[address + offset] = block[32 + offset]
        kinds.add((flags, family))
    return stored, kinds


def test_uf2_of_an_image(linked: Path, tmp_path: Path) -> None:
    write_uf2(linked, tmp_path / "image.uf2", 0xE48BFF56)
    stored, kinds = read_uf2((tmp_path / "image.uf2").read_bytes())
    assert kinds == {(0x2000, 0xE48BFF56)}
    for chunk in stored_chunks(linked):
        found = bytes(stored.pop(chunk.address + i) for i in range(len(chunk.data)))
        assert found == chunk.data
    assert set(stored.values()) == {ERASED}
    write_uf2(linked, tmp_path / "image.uf2")
    assert read_uf2((tmp_path / "image.uf2").read_bytes())[1] == {(0, 0)}


@given(st.lists(st.tuples(st.integers(0, 700), st.binary(min_size=1, max_size=600)), max_size=5))
def test_uf2_has_every_byte(parts: list[tuple[int, bytes]]) -> None:
    address, chunks, expected = 0x10000000, [], {}
    for gap, data in parts:
        address += gap
        chunks.append(Chunk(address, data))
        expected.update({address + i: byte for i, byte in enumerate(data)})
        address += len(data)
    data = uf2_blocks(chunks, 1)
    stored, _ = read_uf2(data) if data else ({}, set())
    pages = {a // UF2_PAYLOAD_BYTES for a in expected}
    assert len(data) == UF2_BLOCK_BYTES * len(pages)
    assert stored == dict.fromkeys(stored, ERASED) | expected
