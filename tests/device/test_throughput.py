"""How much of a slow line carries data, on a simulated line: its time is counted, not measured."""

from __future__ import annotations

from collections import deque

import pytest

from microtvm.device import Session
from microtvm.device.transport import Transport, TransportTimeout
from microtvm.device.wire import Kind, Request, number
from tests.device.harness import Clock, Server, tiny_inputs

BYTES_PER_S = 11520
"""115200 baud, eight data bits, start and stop bit."""

LATENCY_S = 0.004
"""From the device to the host: a USB adapter collects before it sends."""


class Line(Transport):
    """A serial line that takes its time for each byte; the server is as fast as it likes."""

    name = "a line"

    def __init__(self, server: Server, clock: Clock) -> None:
        self._server = server
        self._clock = clock
        self._there_s = 0.0
        self._back_s = 0.0
        self._arriving: deque[tuple[float, int]] = deque()

    def write(self, data: bytes, timeout_s: float) -> None:
        self._there_s = max(self._there_s, self._clock.now_s)
        for byte in data:
            self._there_s += 1 / BYTES_PER_S
            self._back_s = max(self._back_s, self._there_s)
            for answered in self._server.exchange(bytes([byte])):
                self._back_s += 1 / BYTES_PER_S
                self._arriving.append((self._back_s + LATENCY_S, answered))

    def read(self, limit_bytes: int, timeout_s: float) -> bytes:
        next_s = self._arriving[0][0] if self._arriving else float("inf")
        if next_s > self._clock.now_s + timeout_s:
            self._clock.now_s += timeout_s
            raise TransportTimeout("nothing came")
        self._clock.now_s = max(self._clock.now_s, next_s)
        data = bytearray()
        while self._arriving and self._arriving[0][0] <= self._clock.now_s:
            data.append(self._arriving.popleft()[1])
        return bytes(data)

    def close(self) -> None:
        pass


@pytest.mark.parametrize("way", ["write", "read"])
def test_nine_tenths_of_the_line_are_data(server: Server, way: str) -> None:
    server.start()
    clock = Clock()
    with Session(Line(server, clock), clock=clock) as session:
        x = session.model.tensor("x")
        session.run(tiny_inputs())
        session.run_through("halve")
        if way == "write":
            data = bytes(range(116))
            requests = [Request(Kind.WRITE, number(x.index) + number(150) + data)] * 80
        else:
            requests = [Request(Kind.READ, number(x.index) + number(0) + number(256))] * 40
        start_s = clock.now_s
        answers = session._client.exchange(requests, "moving data")
        moved = 80 * 116 if way == "write" else sum(len(answer.payload) for answer in answers)
        rate = moved / (clock.now_s - start_s)
        assert session.retransmissions == 0
    assert 0.9 * BYTES_PER_S <= rate <= BYTES_PER_S
