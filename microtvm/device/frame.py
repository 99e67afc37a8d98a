"""Frames: packets with a CRC-32, in consistent overhead byte stuffing, between zero bytes.

The layout is in `runtime_c/SPEC.md`; the stuffing is Cheshire and Baker's (IEEE/ACM Transactions on
Networking 7(2), 1999), the CRC that of IEEE 802.3, which zlib computes too.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

CRC_BYTES = 4
SHORTEST_PACKET_BYTES = 2
BLOCK_BYTES = 254
"""Most data bytes behind one code byte."""

LONGEST_FRAME_BYTES = 65536
"""What a decoder takes between two zero bytes before it calls it damage: a device can't make the
host hoard."""


def crc32(data: bytes, seed: int = 0) -> int:
    """The CRC-32 of IEEE 802.3 (reflected polynomial 0xEDB88320, start and final exclusive-or of
    all ones) of the bytes whose CRC is `seed`, followed by `data`."""
    return zlib.crc32(data, seed)


def cobs_encode(data: bytes) -> bytes:
    """`data` without zero bytes; one byte longer, and one more for each full block of 254."""
    result = bytearray()
    position = 0
    while True:
        zero = data.find(0, position, position + BLOCK_BYTES)
        end = min(position + BLOCK_BYTES, len(data)) if zero < 0 else zero
        result.append(end - position + 1)
        result += data[position:end]
        if end == len(data):
            return bytes(result)
        position = end + 1 if zero >= 0 else end


def cobs_decode(data: bytes) -> bytes:
    """The inverse of `cobs_encode`; ValueError where a zero lies in `data`, or a block is cut off
    or missing."""
    if 0 in data:
        raise ValueError("a zero byte in stuffed data")
    if not data:
        raise ValueError("no code byte in stuffed data")
    result = bytearray()
    position = 0
    while True:
        code = data[position]
        block = data[position + 1 : position + code]
        if len(block) != code - 1:
            raise ValueError(f"{len(block)} bytes in a block of {code - 1}")
        result += block
        position += code
        if position == len(data):
            return bytes(result)
        if code != BLOCK_BYTES + 1:
            result.append(0)


def frame_encode(packet: bytes, seed: int = 0) -> bytes:
    """The frame that carries `packet` (at least 2 bytes); `seed` is the CRC of the nonce."""
    crc = crc32(packet, seed).to_bytes(CRC_BYTES, "little")
    return b"\0" + cobs_encode(packet + crc) + b"\0"


def packet_bytes(longest_frame_bytes: int) -> int:
    """The longest packet whose frame is never longer than this, delimiters included."""
    stuffed = longest_frame_bytes - 2
    return stuffed - -(-stuffed // (BLOCK_BYTES + 1)) - CRC_BYTES


@dataclass(frozen=True)
class Packet:
    """A packet that arrived whole."""

    data: bytes
    plain: bool = False
    """Whether it belongs to no session."""


@dataclass(frozen=True)
class Damage:
    """Bytes between two delimiters that are no frame: a damaged one, or text that the target
    printed."""

    data: bytes


class FrameDecoder:
    """Cuts a stream of bytes into packets and damage. It never holds more than
    LONGEST_FRAME_BYTES."""

    def __init__(self) -> None:
        self.seed = 0
        """The CRC of the session's nonce; 0 without a session."""
        self._partial = bytearray()
        self._overlong = False

    @property
    def partial(self) -> bytes:
        """What has arrived since the last delimiter."""
        return bytes(self._partial)

    def feed(self, data: bytes) -> list[Packet | Damage]:
        """What `data` completes, in order."""
        if b"\0" not in data:
            self._collect(data)
            return []
        *complete, rest = data.split(b"\0")
        events: list[Packet | Damage] = []
        for part in complete:
            self._collect(part)
            if self._partial:
                events.append(self._decode())
            self._partial.clear()
            self._overlong = False
        self._collect(rest)
        return events

    def _collect(self, part: bytes) -> None:
        room = LONGEST_FRAME_BYTES - len(self._partial)
        self._partial += part[:room]
        self._overlong |= len(part) > room

    def _decode(self) -> Packet | Damage:
        stuffed = bytes(self._partial)
        if self._overlong:
            return Damage(stuffed)
        try:
            decoded = cobs_decode(stuffed)
        except ValueError:
            return Damage(stuffed)
        packet, crc = decoded[:-CRC_BYTES], decoded[-CRC_BYTES:]
        if len(packet) >= SHORTEST_PACKET_BYTES:
            expected = int.from_bytes(crc, "little")
            if crc32(packet, self.seed) == expected:
                return Packet(packet, plain=self.seed == 0)
            if crc32(packet) == expected:
                return Packet(packet, plain=True)
        return Damage(stuffed)
