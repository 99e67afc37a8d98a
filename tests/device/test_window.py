"""What is on its way to the device is never more than it can hold."""

from __future__ import annotations

import numpy as np
import pytest

from microtvm.device import Session
from microtvm.device.frame import crc32, frame_encode
from microtvm.device.status import Status
from microtvm.device.transport import TransportTimeout
from microtvm.device.window import Window
from microtvm.device.wire import Answer, Kind, Request
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


@pytest.mark.parametrize("how", ["silence", "damage"])
def test_a_hello_that_was_lost_is_forgotten(how: str) -> None:
    window = Window(2 * len(HELLO), SEED, [HELLO] * 2)
    window.submit([PING])
    assert sendable(window) == 0
    for _ in range(2):
        window.on_silence() if how == "silence" else window.on_damage()
    assert sendable(window) == 1
    assert window.retransmissions == 0


def test_the_answer_to_a_request_passes_lost_hellos() -> None:
    window = Window(WINDOW_BYTES, SEED, [HELLO] * 2)
    window.submit([PING])
    assert sendable(window) == 1
    assert window.on_answer(1, Answer(Kind.PING, Status.OK, bytes(20)))
    assert window.finished
    assert window.retransmissions == 0
