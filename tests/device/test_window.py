"""What is on its way to the device is never more than it can hold."""

from __future__ import annotations

import numpy as np
import pytest

from microtvm.device import Session
from microtvm.device.frame import cobs_decode, crc32, frame_encode
from microtvm.device.status import Status
from microtvm.device.transport import TransportTimeout
from microtvm.device.window import Window
from microtvm.device.wire import Answer, Kind, Request, number, through
from tests.device.harness import Clock, Server, ServerTransport, same, tiny_inputs, tiny_output
from tests.device.test_session import metadata

WINDOW_BYTES = 256


class SlowTransport(ServerTransport):
    """The server takes what was sent a frame at a time, and only when the host waits for it; what
    does not fit its buffer is an error."""

    def __init__(self, server: Server, clock: Clock, most_bytes: int) -> None:
        super().__init__(server, clock, same, same)
        self._buffer = b""
        self._most_bytes = most_bytes
        self.fullest_bytes = 0

    def write(self, data: bytes, timeout_s: float) -> None:
        self._call("write")
        self._buffer += data
        self.fullest_bytes = max(self.fullest_bytes, len(self._buffer))
        assert len(self._buffer) <= self._most_bytes

    def read(self, limit_bytes: int, timeout_s: float) -> bytes:
        if not self._waiting and self._clock.now_s < self.deaf_until_s:
            self._clock.now_s += timeout_s
            raise TransportTimeout("nothing came")
        if not self._waiting and self._buffer:
            end = self._buffer.index(b"\0", 1) + 1
            frame, self._buffer = self._buffer[:end], self._buffer[end:]
            self._waiting = self._server.exchange(frame)
        return super().read(limit_bytes, timeout_s)

    deaf_until_s = 0.0


@pytest.mark.parametrize("late_s", [0.0, 3.0, 10.0])
def test_the_window_is_never_exceeded(server: Server, late_s: float) -> None:
    """Also by a host that had to say HELLO many times before the device listened."""
    server.start()
    clock = Clock()
    transport = SlowTransport(server, clock, WINDOW_BYTES)
    transport.deaf_until_s = late_s
    with Session(transport, metadata(), clock=clock) as session:
        for seed in range(3):
            inputs = tiny_inputs(seed)
            np.testing.assert_array_equal(session.run(inputs)["y"], tiny_output(inputs))
        assert session.retransmissions == 0
    assert transport.fullest_bytes > WINDOW_BYTES - 32


PING = Request(Kind.PING, bytes(20))
HELLO = frame_encode(bytes(12))
SEED = crc32(b"nonc")


def sendable(window: Window) -> int:
    """How many frames it gives out now."""
    count = 0
    while window.next_frame() is not None:
        count += 1
    return count


def test_a_hello_counts_until_its_answer() -> None:
    length = len(frame_encode(bytes(22), SEED))
    window = Window(length + 4 * len(HELLO), SEED, [HELLO] * 4)
    window.submit([PING] * 3)
    assert sendable(window) == 1
    window.on_answer(0, Answer(Kind.HELLO, Status.OK, b""))
    assert sendable(window) == 0
    for _ in range(3):
        window.on_answer(0, Answer(Kind.HELLO, Status.OK, b""))
    assert sendable(window) == 2


def test_hellos_that_were_lost_are_forgotten_in_silence() -> None:
    window = Window(2 * len(HELLO), SEED, [HELLO] * 2)
    window.submit([PING])
    assert sendable(window) == 0
    window.on_silence()
    assert sendable(window) == 1
    assert window.retransmissions == 0


def test_damage_is_taken_for_one_frame_however_often_it_is_reported() -> None:
    length = len(frame_encode(bytes(22), SEED))
    window = Window(length + len(HELLO), SEED, [HELLO] * 2)
    window.submit([PING] * 2)
    assert sendable(window) == 0
    window.on_damage()
    window.on_damage()
    assert sendable(window) == 1
    window.on_answer(1, Answer(Kind.PING, Status.OK, bytes(20)))
    assert sendable(window) == 1


def test_the_answer_to_a_request_passes_lost_hellos() -> None:
    window = Window(WINDOW_BYTES, SEED, [HELLO] * 2)
    window.submit([PING])
    assert sendable(window) == 1
    assert window.on_answer(1, Answer(Kind.PING, Status.OK, bytes(20)))
    assert window.finished
    assert window.retransmissions == 0


def frames(window: Window) -> list[bytes]:
    """Packets of all that it gives out now, without sequence numbers."""
    packets = []
    while (frame := window.next_frame()) is not None:
        packets.append(cobs_decode(frame[1:-1])[1:-4])
    return packets


def test_noise_asks_again_within_the_window_and_makes_no_room() -> None:
    length = len(frame_encode(bytes(22), SEED))
    window = Window(4 * length, SEED)
    window.submit([PING] * 9)
    assert sendable(window) == 4
    window.on_noise()
    assert sendable(window) == 0
    window.on_answer(2, Answer(Kind.PING, Status.OK, bytes(20)))
    assert sendable(window) == 2
    assert window.retransmissions == 1


def test_noise_asks_for_each_request_in_turn() -> None:
    window = Window(400, SEED)
    window.submit([PING, Request(Kind.STACK), Request(Kind.TENSOR, b"\0")])
    assert sendable(window) == 3
    kinds = []
    for _ in range(4):
        window.on_noise()
        ((kind, *_),) = frames(window)
        kinds.append(kind)
    assert kinds == [Kind.PING, Kind.STACK, Kind.TENSOR, Kind.PING]


RUN = through(5, restart=True)


def test_a_run_that_says_how_far_it_is_was_accepted() -> None:
    window = Window(40, SEED)
    window.submit([RUN])
    assert sendable(window) == 1
    assert not window.cancel()
    assert not window.on_progress(2)
    assert window.on_progress(1)
    assert window.accepted
    assert window.cancel()
    assert sendable(window) == 1


@pytest.mark.parametrize("told", ["answer", "progress"])
def test_a_device_that_computes_is_not_asked_beyond_its_window(told: str) -> None:
    length = len(frame_encode(bytes(4), SEED))
    window = Window(3 * length, SEED)
    window.submit([RUN])
    assert sendable(window) == 1
    if told == "answer":
        assert window.on_answer(1, Answer(Kind.RUN_THROUGH, Status.ACCEPTED, b""))
    else:
        window.on_progress(1)
    asked = 0
    for _ in range(9):
        window.on_silence()
        window.on_noise()
        asked += sendable(window)
    assert asked == (3 if told == "answer" else 2)
    assert window.on_answer(1, Answer(Kind.RUN_THROUGH, Status.OK, b"\6\0"))
    window.submit([PING])
    assert sendable(window) == 0
    window.on_silence()
    assert sendable(window) == 1


def test_what_is_lost_is_sent_in_pieces() -> None:
    data = bytes(range(1, 101))
    window = Window(256, SEED)
    write = Request(Kind.WRITE, number(3) + number(0x90) + data)
    window.submit([write, write])
    assert len(frames(window)) == 2
    window.on_damage()
    first, *others = frames(window)
    assert first == bytes([Kind.WRITE, 3, 0x90, 1]) + data[:50]
    assert others == [bytes([Kind.WRITE, 3, 0xC2, 1]) + data[50:]]
    for sequence in (3, 2, 1):
        window.on_answer(sequence, Answer(Kind.WRITE, Status.OK, b""))
    while not window.finished:
        for frame in frames(window):
            assert len(frame) < 60
        for sequence in range(1, 9):
            window.on_answer(sequence, Answer(Kind.WRITE, Status.OK, b""))
    assert [answer.status for answer in window.answers] == [Status.OK] * 2
    assert window.answered == 2


def test_pieces_of_an_answer_are_put_together() -> None:
    data = bytes(range(200))
    window = Window(256, SEED)
    window.submit([Request(Kind.READ, number(3) + number(100) + number(200))])
    assert frames(window) == [bytes([Kind.READ, 3, 100, 0xC8, 1])]
    window.on_noise()
    assert frames(window) == [
        bytes([Kind.READ, 3, 100, 100]),
        bytes([Kind.READ, 3, 0xC8, 1, 100]),
    ]
    window.on_answer(1, Answer(Kind.READ, Status.OK, data))
    window.on_answer(2, Answer(Kind.READ, Status.OK, data[100:]))
    assert window.finished
    assert [answer.payload for answer in window.answers] == [data]


def test_the_first_error_of_a_piece_is_the_answer() -> None:
    window = Window(256, SEED)
    window.submit([Request(Kind.READ, number(3) + number(100) + number(200))])
    frames(window)
    window.on_noise()
    frames(window)
    window.on_answer(1, Answer(Kind.READ, Status.OK, bytes(100)))
    window.on_answer(2, Answer(Kind.READ, Status.GONE, b"\7", 7))
    assert [(answer.status, answer.detail) for answer in window.answers] == [(Status.GONE, 7)]


def test_pieces_grow_again_on_a_line_that_is_good() -> None:
    window = Window(256, SEED)
    write = Request(Kind.WRITE, number(0) + number(0) + bytes(100))
    window.submit([write] * 20)
    lengths = [len(packet) for packet in frames(window)]
    window.on_damage()
    for sequence in (2, 1, *range(3, 30)):
        lengths += [len(packet) for packet in frames(window)]
        window.on_answer(sequence, Answer(Kind.WRITE, Status.OK, b""))
    assert window.finished
    assert min(lengths) < 60
    assert lengths[-5:] == [103] * 5
    assert len(window.answers) == 20
