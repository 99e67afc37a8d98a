"""The frame codec against published vectors and zlib."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microtvm.device.frame import (
    LONGEST_FRAME_BYTES,
    Damage,
    FrameDecoder,
    Packet,
    cobs_decode,
    cobs_encode,
    crc32,
    frame_encode,
    packet_bytes,
)

# "Encoding examples" of Wikipedia's article on the stuffing, without the final delimiter.
COBS_VECTORS = [
    ("00", "01 01"),
    ("00 00", "01 01 01"),
    ("00 11 00", "01 02 11 01"),
    ("11 22 00 33", "03 11 22 02 33"),
    ("11 22 33 44", "05 11 22 33 44"),
    ("11 00 00 00", "02 11 01 01 01"),
    (bytes(range(1, 255)).hex(), "ff" + bytes(range(1, 255)).hex()),
    (bytes(range(255)).hex(), "01 ff" + bytes(range(1, 255)).hex()),
    (bytes(range(1, 256)).hex(), "ff" + bytes(range(1, 255)).hex() + "02 ff"),
    (bytes([*range(2, 256), 0]).hex(), "ff" + bytes(range(2, 256)).hex() + "01 01"),
    (bytes([*range(3, 256), 0, 1]).hex(), "fe" + bytes(range(3, 256)).hex() + "02 01"),
]


@pytest.mark.parametrize(("plain", "stuffed"), COBS_VECTORS)
def test_published_stuffing(plain: str, stuffed: str) -> None:
    assert cobs_encode(bytes.fromhex(plain)) == bytes.fromhex(stuffed)
    assert cobs_decode(bytes.fromhex(stuffed)) == bytes.fromhex(plain)


def test_published_crc() -> None:
    """The check value of CRC-32/ISO-HDLC in the catalogue of parametrised CRC algorithms."""
    assert crc32(b"123456789") == 0xCBF43926


@given(st.binary(max_size=600))
def test_stuffing_and_back(data: bytes) -> None:
    stuffed = cobs_encode(data)
    assert 0 not in stuffed
    assert len(stuffed) <= len(data) + 1 + len(data) // 254
    assert cobs_decode(stuffed) == data


@pytest.mark.parametrize(
    ("stuffed", "problem"),
    [(b"", "no code byte"), (b"\x01\x00", "a zero byte"), (b"\x05\x11", "1 bytes in a block of 4")],
)
def test_what_is_not_stuffed(stuffed: bytes, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        cobs_decode(stuffed)


@given(st.lists(st.binary(min_size=2, max_size=300), max_size=5), st.integers(1, 50))
def test_a_stream_in_any_pieces(packets: list[bytes], step: int) -> None:
    stream = b"".join(frame_encode(packet) for packet in packets)
    decoder = FrameDecoder()
    events = []
    for start in range(0, len(stream), step):
        events += decoder.feed(stream[start : start + step])
    assert events == [Packet(packet, plain=True) for packet in packets]


@given(st.binary(min_size=2, max_size=300), st.data())
def test_a_changed_byte_is_noticed(packet: bytes, data: st.DataObject) -> None:
    frame = bytearray(frame_encode(packet))
    place = data.draw(st.integers(1, len(frame) - 2))
    frame[place] ^= data.draw(st.integers(1, 255))
    events = FrameDecoder().feed(bytes(frame))
    assert events
    assert all(isinstance(event, Damage) for event in events)


def test_crc_is_zlibs_little_endian_behind_the_packet() -> None:
    frame = frame_encode(b"\x01\x0aping")
    assert cobs_decode(frame[1:-1])[-4:] == zlib.crc32(b"\x01\x0aping").to_bytes(4, "little")


def test_text_between_frames_is_kept_apart() -> None:
    events = FrameDecoder().feed(b"boot\n" + frame_encode(b"ab") + b"oops\0")
    assert events == [Damage(b"boot\n"), Packet(b"ab", plain=True), Damage(b"oops")]


def test_a_decoder_does_not_hoard() -> None:
    decoder = FrameDecoder()
    for _ in range(5):
        assert decoder.feed(b"x" * LONGEST_FRAME_BYTES) == []
    assert len(decoder.partial) == LONGEST_FRAME_BYTES
    assert decoder.feed(b"\0") == [Damage(b"x" * LONGEST_FRAME_BYTES)]
    assert decoder.feed(frame_encode(b"ab")) == [Packet(b"ab", plain=True)]


@pytest.mark.parametrize("frame_limit", [20, 128, 256, 257, 258, 259, 1000, 4096])
def test_the_longest_packet_of_a_frame(frame_limit: int) -> None:
    longest = packet_bytes(frame_limit)
    assert len(frame_encode(b"\xff" * longest)) <= frame_limit
    worst = max(len(frame_encode(bytes([value]) * (longest + 1))) for value in (0, 255))
    assert worst + 1 > frame_limit


def test_a_session_knows_its_own_frames() -> None:
    ours, theirs = crc32(b"ours"), crc32(b"them")
    decoder = FrameDecoder()
    decoder.seed = ours
    assert decoder.feed(frame_encode(b"ab", ours)) == [Packet(b"ab")]
    assert decoder.feed(frame_encode(b"ab")) == [Packet(b"ab", plain=True)]
    assert [type(event) for event in decoder.feed(frame_encode(b"ab", theirs))] == [Damage]
