"""Answers of a device that lies or is broken: bounded, and refused in words."""

from __future__ import annotations

import struct
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microtvm.device.status import Status
from microtvm.device.wire import Kind, Reader, number, parse_answer, parse_hello, parse_tensor
from microtvm.errors import LinkError

HELLO = number(2) + b"nonc" + bytes(16)


def hello(*numbers: int, name: bytes = b"model") -> bytes:
    """A payload of HELLO's answer; what is not given has sane values."""
    sane = (256, 128, 256, 3, 1, 1, 2, 1000, 25_000_000, 5)
    return HELLO + b"".join(map(number, (*numbers, *sane[len(numbers) :]))) + name


def tensor(
    *, dtype: int = 1, shape: tuple[int, ...] = (2, 3), size: int = 6, name: bytes = b"x"
) -> bytes:
    """A payload of TENSOR's answer."""
    head = number(dtype) + number(len(shape)) + b"".join(map(number, shape)) + number(size)
    return head + struct.pack("<f", 0.5) + number(65533) + number(0) + number(4) + name


def test_a_sane_hello() -> None:
    parsed = parse_hello(hello())
    assert (parsed.window_bytes, parsed.frame_bytes, parsed.read_bytes) == (256, 128, 256)
    assert (parsed.has_ticks, parsed.has_stack, parsed.has_reset) == (True, False, True)
    assert (parsed.ticks_hz, parsed.arena_bytes, parsed.model_name) == (25_000_000, 1000, "model")


def test_a_sane_tensor() -> None:
    parsed = parse_tensor(tensor())
    assert (parsed.dtype, parsed.shape, parsed.size_bytes) == (np.int8, (2, 3), 6)
    assert (parsed.scale, parsed.zero_point) == (0.5, -3)
    assert (parsed.live_from, parsed.live_to, parsed.name) == (0, 4, "x")


@pytest.mark.parametrize(
    ("payload", "problem"),
    [
        (b"", "protocol is cut off"),
        (number(3) + b"nonc", "version 3 of the protocol, this host version 2"),
        (HELLO[:10], "model hash is cut off"),
        (HELLO, "window is cut off"),
        (hello(32768), "window is 32768, at most 32767"),
        (hello(256, 257), "frame is 257, at most 256"),
        (hello(256, 19), "frames of 19 bytes"),
        (hello(256, 128, 0), "sends 0 bytes"),
        (hello(256, 128, 32769), "read is 32769"),
        (hello(256, 128, 256, 65536), "tensors is 65536, at most 65535"),
        (HELLO + b"\xff\xff\xff\xff\xff\x01", "window has more than five bytes"),
        (hello(name=b""), "model name is ''"),
        (hello(name=b"a b"), "model name is 'a b'"),
        (hello(name=b"\xc3\xa4"), "model name is"),
        (hello(name=b"x" * 64), "model name is"),
    ],
)
def test_bad_hellos(payload: bytes, problem: str) -> None:
    with pytest.raises(LinkError, match=problem):
        parse_hello(payload)


@pytest.mark.parametrize(
    ("payload", "problem"),
    [
        (tensor(dtype=0), "unknown type 0"),
        (tensor(dtype=99), "unknown type 99"),
        (tensor(shape=(1,) * 6), "rank is 6, at most 5"),
        (tensor(size=7), "has 7 bytes; it must have 6"),
        (tensor(shape=(65535,) * 5, size=4), "must have"),
        (tensor(size=(1 << 30) + 1), "size is 1073741825"),
        (tensor(name=b"\0"), "tensor name is"),
        (tensor()[:5], "scale is cut off"),
    ],
)
def test_bad_tensors(payload: bytes, problem: str) -> None:
    with pytest.raises(LinkError, match=problem):
        parse_tensor(payload)


@given(st.binary(max_size=80))
def test_any_payload_is_parsed_or_refused(payload: bytes) -> None:
    for parse in (parse_hello, parse_tensor, parse_answer):
        with suppress(LinkError):
            assert parse(payload) is None or payload


def test_what_is_no_answer() -> None:
    assert parse_answer(bytes([1, Kind.PING, 0])) is None
    assert parse_answer(bytes([1, 0x80 | Kind.PING])) is None
    assert parse_answer(bytes([1, 0xFF, 0])) is None
    assert parse_answer(bytes([1, 0x80 | Kind.PING, 100])) is None


def test_an_error_without_its_detail() -> None:
    with pytest.raises(LinkError, match="PING is malformed: detail is cut off"):
        parse_answer(bytes([1, 0x80 | Kind.PING, Status.RANGE & 0xFF]))
    with pytest.raises(LinkError, match="PING is malformed: 1 bytes too many"):
        parse_answer(bytes([1, 0x80 | Kind.PING, Status.RANGE & 0xFF, 0, 0]))


def test_numbers_have_32_bits() -> None:
    with pytest.raises(ValueError, match="4294967296 does not fit 32 bits"):
        number(1 << 32)
    with pytest.raises(LinkError, match="n is 34359738367, at most"):
        Reader(b"\xff\xff\xff\xff\x7f", "PING").number("n")
