"""Every byte that `runtime_c/SPEC.md` gives is what the codec makes and the C server sends."""

from __future__ import annotations

import re

import pytest

from microtvm.device.frame import (
    FrameDecoder,
    Packet,
    cobs_decode,
    cobs_encode,
    crc32,
    frame_encode,
)
from microtvm.device.status import Status
from microtvm.device.wire import DTYPES, Kind, Reader, number
from tests.device.harness import RUNTIME, Server

SEED = crc32(bytes([1, 2, 3, 4]))
SPEC = (RUNTIME / "SPEC.md").read_text("utf-8")


def blocks(kind: str) -> list[list[str]]:
    """The lines of all code blocks of a kind."""
    found = re.findall(rf"^```{kind}\n(.*?)^```$", SPEC, re.MULTILINE | re.DOTALL)
    assert found
    return [block.splitlines() for block in found]


@pytest.mark.parametrize("line", [line for block in blocks("stuffing") for line in block])
def test_stuffing(line: str) -> None:
    plain, stuffed = (bytes.fromhex(part) for part in line.split("="))
    assert cobs_encode(plain) == stuffed
    assert cobs_decode(stuffed) == plain


@pytest.mark.parametrize("line", [line for block in blocks("numbers") for line in block])
def test_numbers(line: str) -> None:
    value, encoded = line.split("=")
    assert number(int(value)) == bytes.fromhex(encoded)
    reader = Reader(bytes.fromhex(encoded), "SPEC.md")
    assert reader.number("value") == int(value)
    reader.end()


FRAME = re.compile(r"([<>]) ((?:[0-9a-f]{2}\s+)+)")
WORDS = re.compile(r"= (\d+) to \d+: WRITE into tensor (\d+), (\d+) bytes of ([0-9a-f]{2})")


def hex_frames(block: list[str]) -> list[tuple[str, bytes]]:
    """Direction and bytes of all frames of a block; writes in words become their frames."""
    steps = []
    text = "\n".join([line for line in block if not line.startswith("#")]) + "\n"
    for part in re.split(r"^(?=[<>=])", text, flags=re.MULTILINE):
        if found := FRAME.fullmatch(part):
            steps.append((found[1], bytes.fromhex(found[2])))
        elif found := WORDS.fullmatch(part.strip()):
            sequence, tensor, size = (int(found[i]) for i in (1, 2, 3))
            value = int(found[4], 16)
            for offset in range(0, size, 100):
                data = bytes([value]) * min(100, size - offset)
                packet = bytes([sequence, Kind.WRITE]) + number(tensor) + number(offset) + data
                steps.append(("=", frame_encode(packet, SEED)))
                sequence += 1
        else:
            assert not part.strip(), part
    return steps


def test_the_session_is_what_the_server_does(server: Server) -> None:
    (block,) = blocks("exchange")
    steps = hex_frames(block)
    assert sum(way == "<" for way, _ in steps) > 15
    server.start()
    received = b""
    for way, frame in steps:
        if way == "<":
            assert received.startswith(frame)
            received = received[len(frame) :]
        else:
            assert received == b""
            received = server.exchange(frame)
            if way == "=":
                received = b""
    assert received == b""


def test_what_the_spec_says_of_the_sessions_frames() -> None:
    """The words above each frame name its sequence number and its kind or status."""
    (block,) = blocks("exchange")
    checked = 0
    explained = re.compile(r"^# (.*(?:\n#.*)*)\n[<>] ((?:[0-9a-f ]+\n?)+)", re.MULTILINE)
    for text, frame in explained.findall("\n".join(block)):
        decoder = FrameDecoder()
        decoder.seed = SEED
        events = decoder.feed(bytes.fromhex(frame))
        if "changed on the way" in text:
            assert not any(isinstance(event, Packet) for event in events)
            continue
        (packet,) = events
        assert isinstance(packet, Packet)
        words = re.fullmatch(r"(?:(\d+): )?(\w+).*", text, re.DOTALL)
        assert words
        assert packet.data[0] == int(words[1] or 0)
        assert packet.plain == (packet.data[0] == 0)
        if words[2] in Kind.__members__:
            assert packet.data[1] == Kind[words[2]]
        else:
            assert packet.data[1] & 0x80
            status = {"done": "OK"}.get(words[2], words[2].upper())
            assert packet.data[2] == Status[status] & 0xFF
        checked += 1
    assert checked > 30


def test_kinds_and_types_are_in_the_spec() -> None:
    for kind in Kind:
        assert re.search(rf"`?{kind:02x}`? {kind.name}\b", SPEC), kind
    for code, dtype in DTYPES.items():
        assert f"{code} {dtype.name}" in SPEC


def test_errors_are_in_the_spec() -> None:
    rows = re.findall(r"^\| `([0-9a-f]{2})` \| (\w+) \| .* \| .* \|$", SPEC, re.MULTILINE)
    never_sent = {"OK", "ACCEPTED", "ABI", "ARENA_SIZE", "ARENA_ALIGN", "INPUT_COUNT"}
    assert {name: int(byte, 16) for byte, name in rows} == {
        item.name: item & 0xFF for item in Status if item.name not in never_sent
    }
