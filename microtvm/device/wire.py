"""Requests and answers of the protocol (`runtime_c/SPEC.md`) as values; everything that is read is
bounded."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np

from microtvm.device.status import STATUS_TEXT, Status
from microtvm.errors import LinkError

PROTOCOL = 2
HASH_BYTES = 16
NONCE_BYTES = 4
LONGEST_NAME_BYTES = 63
HIGHEST_RANK = 5
ANSWER = 0x80

# Bounds on what a device may claim of itself: a host never allocates more because of a number from
# the wire.
MOST_TENSORS = 65535
LARGEST_TENSOR_BYTES = 1 << 30
SHORTEST_FRAME_BYTES = 20
LARGEST_READ_BYTES = 32768


class Kind(IntEnum):
    """Second byte of a packet."""

    HELLO = 0x01
    TENSOR = 0x02
    OPERATOR = 0x03
    LOOKUP = 0x04
    WRITE = 0x05
    READ = 0x06
    RUN = 0x07
    RUN_THROUGH = 0x08
    STACK = 0x09
    PING = 0x0A
    RESET = 0x0B
    CANCEL = 0x0C
    CRASH = 0x0D
    DAMAGED = 0xC0
    STARTED = 0xC1
    PROGRESS = 0xC2
    LOG = 0xC3


WISHES = 3
"""What a host wants to be told: bit 0 the progress of runs, bit 1 the application's text."""

NO_OPERATOR = 0xFFFF
SOME_OPERATOR = 0xFFFE
"""Instead of the operator that was running at a crash: none, or one of a whole inference."""

LONGEST_CRASH_BYTES = 4096


DTYPES: dict[int, np.dtype[Any]] = {
    1: np.dtype("<i1"),
    2: np.dtype("<u1"),
    3: np.dtype("<i2"),
    4: np.dtype("<i4"),
    5: np.dtype("<i8"),
    6: np.dtype("<f4"),
    7: np.dtype("?"),
}
"""`enum mtvm_dtype`."""


@dataclass(frozen=True)
class Request:
    """What is asked; the client adds the number."""

    kind: Kind
    payload: bytes = b""


@dataclass(frozen=True)
class Answer:
    """What came back. `detail` is what an error is about, 0 where there is no error."""

    kind: Kind
    status: Status
    payload: bytes
    detail: int = 0


def number(value: int) -> bytes:
    """0 <= value < 2**32 in little-endian base 128, as unsigned LEB128 (DWARF 5, section 7.6)."""
    if not 0 <= value < 1 << 32:
        raise ValueError(f"{value} does not fit 32 bits")
    result = bytearray()
    while value > 0x7F:
        result.append(value & 0x7F | 0x80)
        value >>= 7
    result.append(value)
    return bytes(result)


class Reader:
    """Takes an answer's payload apart; LinkError where it is too short, too long or out of
    range."""

    def __init__(self, data: bytes, what: str) -> None:
        self._data = data
        self._at = 0
        self._what = what

    def _fail(self, problem: str) -> LinkError:
        return LinkError(f"the device's answer to {self._what} is malformed: {problem}")

    def number(self, name: str, highest: int = 0xFFFFFFFF) -> int:
        """The next number, at most `highest`."""
        value = 0
        for shift in range(0, 35, 7):
            byte = self.bytes_(1, name)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if value > highest:
                    raise self._fail(f"{name} is {value}, at most {highest} is possible")
                return value
        raise self._fail(f"{name} has more than five bytes")

    def bytes_(self, count: int, name: str) -> bytes:
        """The next `count` bytes."""
        part = self._data[self._at : self._at + count]
        if len(part) != count:
            raise self._fail(f"{name} is cut off")
        self._at += count
        return part

    def rest(self, name: str, most: int) -> bytes:
        """All that is left, at most `most` bytes."""
        rest = self._data[self._at :]
        self._at = len(self._data)
        if len(rest) > most:
            raise self._fail(f"{name} has {len(rest)} bytes, at most {most} are possible")
        return rest

    def name(self, name: str) -> str:
        """All that is left, as a name of [A-Za-z0-9_]."""
        rest = self._data[self._at :]
        self._at = len(self._data)
        text = rest.decode("ascii", "replace")
        plain = text.replace("_", "a")
        if not (len(rest) <= LONGEST_NAME_BYTES and text.isascii() and plain.isalnum()):
            raise self._fail(f"{name} is {text[:LONGEST_NAME_BYTES]!r}")
        return text

    def end(self) -> None:
        """Nothing may be left."""
        if self._at != len(self._data):
            raise self._fail(f"{len(self._data) - self._at} bytes too many")


@dataclass(frozen=True)
class Hello:
    """What a device says of itself when a session starts."""

    nonce: bytes
    model_hash: bytes
    window_bytes: int
    frame_bytes: int
    read_bytes: int
    tensor_count: int
    input_count: int
    output_count: int
    operator_count: int
    arena_bytes: int
    ticks_hz: int
    """0 where the frequency is unknown."""
    has_ticks: bool
    has_stack: bool
    has_reset: bool
    has_crashed: bool
    """Whether a record of a crash waits."""
    model_name: str


@dataclass(frozen=True)
class TensorInfo:
    """A row of the device's table of tensors."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    size_bytes: int
    scale: float
    zero_point: int
    live_from: int
    live_to: int


def hello_request(nonce: bytes) -> Request:
    """Starts a session."""
    return Request(Kind.HELLO, number(PROTOCOL) + nonce + number(WISHES))


def through(index: int, *, restart: bool) -> Request:
    """Runs operators through that of this index, from the first one or from where the device
    holds."""
    return Request(Kind.RUN_THROUGH, number(index) + number(int(restart)))


# Looked up, as making a member from its value takes as long as all the rest of an answer.
_KINDS = {kind.value: kind for kind in Kind}
_STATUSES = {status.value & 0xFF: status for status in Status}


def parse_answer(packet: bytes) -> tuple[int, Answer] | None:
    """Sequence number and answer; None for what is no answer of this protocol."""
    if len(packet) < 3 or not packet[1] & ANSWER:
        return None
    kind = _KINDS.get(packet[1] & ~ANSWER)
    status = _STATUSES.get(packet[2])
    if kind is None or status is None:
        return None
    payload = packet[3:]
    detail = 0
    if status < 0:
        reader = Reader(payload, kind.name)
        detail = reader.number("detail")
        reader.end()
    return packet[0], Answer(kind, status, payload, detail)


def parse_hello(payload: bytes) -> Hello:
    """The answer to HELLO."""
    reader = Reader(payload, "HELLO")
    version = reader.number("protocol")
    if version != PROTOCOL:
        raise LinkError(
            f"the device speaks version {version} of the protocol, this host version {PROTOCOL}"
        )
    nonce = reader.bytes_(NONCE_BYTES, "nonce")
    model_hash = reader.bytes_(HASH_BYTES, "model hash")
    window_bytes = reader.number("window", 32767)
    frame_bytes = reader.number("frame", window_bytes)
    read_bytes = reader.number("read", LARGEST_READ_BYTES)
    if frame_bytes < SHORTEST_FRAME_BYTES or read_bytes < 1:
        raise LinkError(
            f"the device takes frames of {frame_bytes} bytes and sends {read_bytes} bytes in one; "
            f"at least {SHORTEST_FRAME_BYTES} and 1 are needed"
        )
    counts = [reader.number(what, MOST_TENSORS) for what in ("tensors", "inputs", "outputs", "ops")]
    arena_bytes = reader.number("arena")
    ticks_hz = reader.number("ticks_hz")
    features = reader.number("features")
    return Hello(
        nonce=nonce,
        model_hash=model_hash,
        window_bytes=window_bytes,
        frame_bytes=frame_bytes,
        read_bytes=read_bytes,
        tensor_count=counts[0],
        input_count=counts[1],
        output_count=counts[2],
        operator_count=counts[3],
        arena_bytes=arena_bytes,
        ticks_hz=ticks_hz,
        has_ticks=bool(features & 1),
        has_stack=bool(features & 2),
        has_reset=bool(features & 4),
        has_crashed=bool(features & 8),
        model_name=reader.name("model name"),
    )


@dataclass(frozen=True)
class CrashRecord:
    """What a device knows of its last crash."""

    operator: int
    """Index, NO_OPERATOR or SOME_OPERATOR."""
    text: str
    """The cause, and registers as `name=value`."""


def printable(data: bytes) -> str:
    """A device's words, with nothing in them that would make a terminal do something."""
    text = data.decode("ascii", "replace")
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def parse_crash(payload: bytes) -> CrashRecord:
    """The answer to CRASH."""
    reader = Reader(payload, "CRASH")
    operator = reader.number("operator", 65535)
    return CrashRecord(operator, printable(reader.rest("text", LONGEST_CRASH_BYTES)))


def parse_progress(packet: bytes) -> tuple[int, int] | None:
    """Sequence number of the run and the operator that executes; None for what is no such event."""
    if len(packet) < 3 or packet[1] != Kind.PROGRESS:
        return None
    reader = Reader(packet[2:], "PROGRESS")
    step = reader.number("operator", 65535)
    reader.end()
    return packet[0], step


def parse_tensor(payload: bytes) -> TensorInfo:
    """The answer to TENSOR: its size is what shape and type make it."""
    reader = Reader(payload, "TENSOR")
    code = reader.number("dtype")
    if code not in DTYPES:
        raise LinkError(f"the device has a tensor of the unknown type {code}")
    dtype = DTYPES[code]
    rank = reader.number("rank", HIGHEST_RANK)
    shape = tuple(reader.number("dimension", 65535) for _ in range(rank))
    size_bytes = reader.number("size", LARGEST_TENSOR_BYTES)
    (scale,) = struct.unpack("<f", reader.bytes_(4, "scale"))
    zero_point = reader.number("zero point", 65535)
    live_from = reader.number("live_from", 65535)
    live_to = reader.number("live_to", 65535)
    name = reader.name("tensor name")
    expected = dtype.itemsize
    for extent in shape:
        expected *= extent
    if size_bytes != expected:
        raise LinkError(
            f"the device says that tensor {name} of shape {list(shape)} and type {dtype.name} "
            f"has {size_bytes} bytes; it must have {expected}"
        )
    zero_point = zero_point - 65536 if zero_point >= 32768 else zero_point
    return TensorInfo(name, dtype, shape, size_bytes, scale, zero_point, live_from, live_to)


def describe(answer: Answer) -> str:
    """An answer's status in words."""
    return STATUS_TEXT[answer.status]
