"""A line that damages bytes: right results, one retransmission, nothing run twice."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from microtvm.device import Session, Timing
from microtvm.device.frame import frame_encode
from microtvm.device.transport import TransportClosed, TransportTimeout
from microtvm.errors import DeviceError, LinkError
from tests.device.harness import (
    Clock,
    Server,
    ServerTransport,
    open_tiny,
    same,
    tiny_inputs,
    tiny_output,
)

Change = Callable[[int], bytes]

CHANGES: dict[str, Change] = {
    "drop": lambda byte: b"",
    "flip": lambda byte: bytes([byte ^ 0x10]),
    "zero": lambda byte: b"\0" if byte else b"\x01",
    "repeat": lambda byte: bytes([byte, byte]),
    "insert": lambda byte: bytes([0x55, byte]),
}


class Line:
    """Passes bytes on and changes the one at `place`, counted from `arm` on."""

    def __init__(self, place: int = -1, change: Change | None = None) -> None:
        self.place = place
        self.change = change
        self.passed = 0
        self.armed = False

    def __call__(self, data: bytes) -> bytes:
        if not self.armed:
            return data
        at = self.place - self.passed
        self.passed += len(data)
        if self.change is None or not 0 <= at < len(data):
            return data
        return data[:at] + self.change(data[at]) + data[at + 1 :]


def exchange(server: Server, to_device: Line, to_host: Line) -> int:
    """A run and what was computed on the way, over lines that change bytes; the retransmissions."""
    inputs = tiny_inputs()
    before = runs(server)
    with open_tiny(server, to_device=to_device, to_host=to_host) as session:
        to_device.armed = to_host.armed = True
        outputs = session.run(inputs)
        np.testing.assert_array_equal(outputs["y"], tiny_output(inputs))
        counted = session.read("runs")
        to_device.armed = to_host.armed = False
        assert counted == before + 1
        return session.retransmissions


def runs(server: Server) -> int:
    """How often the model has run in this process; asking runs it once more."""
    with open_tiny(server) as session:
        session.run(tiny_inputs())
        return int(session.read("runs")[0])


def lengths(server: Server) -> tuple[int, int]:
    there, back = Line(), Line()
    exchange(server, there, back)
    return there.passed, back.passed


@pytest.mark.parametrize("change", CHANGES)
def test_each_byte_to_the_device(server: Server, change: str) -> None:
    there, _ = lengths(server)
    assert there > 350
    for place in range(there):
        again = exchange(server, Line(place, CHANGES[change]), Line())
        assert again <= 1, f"{again} retransmissions after byte {place}"


@pytest.mark.parametrize("change", CHANGES)
def test_each_byte_to_the_host(server: Server, change: str) -> None:
    _, back = lengths(server)
    assert back > 80
    for place in range(back):
        again = exchange(server, Line(), Line(place, CHANGES[change]))
        assert again <= 1, f"{again} retransmissions after byte {place}"


class Noise:
    """Changes each byte with a probability, reproducibly."""

    def __init__(self, seed: int, rate: float) -> None:
        self._generator = np.random.default_rng(seed)
        self._rate = rate

    def __call__(self, data: bytes) -> bytes:
        kinds = list(CHANGES.values())
        result = b""
        for byte in data:
            hit = self._generator.random() < self._rate
            change = kinds[self._generator.integers(len(kinds))]
            result += change(byte) if hit else bytes([byte])
        return result


@pytest.mark.parametrize("seed", range(10))
def test_a_bad_line_gives_the_right_result(server: Server, seed: int) -> None:
    patient = Timing(answer_s=1000.0, hello_s=1000.0, run_s=1000.0)
    noise = Noise(seed, 0.002)
    inputs = tiny_inputs(seed)
    with open_tiny(server, to_device=noise, to_host=noise, timing=patient) as session:
        for _ in range(20):
            assert (session.run(inputs)["y"] == tiny_output(inputs)).all()
        assert session.retransmissions > 0


class DeadLine:
    """Passes `count` bytes on, and nothing after them."""

    def __init__(self) -> None:
        self.left = 1 << 30

    def __call__(self, data: bytes) -> bytes:
        passed = data[: self.left]
        self.left -= len(passed)
        return passed


@pytest.mark.parametrize("way", ["to_device", "to_host"])
@pytest.mark.parametrize("count", [0, 7, 30])
def test_a_line_that_goes_dead(server: Server, way: str, count: int) -> None:
    line = DeadLine()
    ways = {way: line}
    with open_tiny(server, **ways) as session:
        line.left = count
        with pytest.raises(LinkError, match=r"no answer while writing the inputs within 20 s"):
            session.run(tiny_inputs())
        with pytest.raises(LinkError, match="can't be used any more: it failed while writing"):
            session.ping()


def test_a_result_that_never_comes(server: Server) -> None:
    """The run is accepted, and the line goes dead then."""
    line = DeadLine()
    inputs = tiny_inputs()
    with open_tiny(server, to_host=line) as session:
        session.run_through(0, inputs)
        accepted_bytes = len(frame_encode(b"123"))
        line.left = accepted_bytes
        with pytest.raises(LinkError, match=r"no result while running through sum within 7 s"):
            session.run_through(1, timeout_s=7)


class FailingTransport(ServerTransport):
    """Fails at one call, with one error; every later one fails too if the stream is closed then."""

    def __init__(self, server: Server, clock: Clock, fail_at: int, error: LinkError) -> None:
        super().__init__(server, clock, same, same)
        self._fail_at = fail_at
        self._error = error

    def _call(self, how: str) -> None:
        super()._call(how)
        late = len(self.log) > self._fail_at and isinstance(self._error, TransportClosed)
        if len(self.log) == self._fail_at or late:
            raise self._error


def run_once(transport: ServerTransport, clock: Clock) -> np.ndarray:
    inputs = tiny_inputs()
    with Session(transport, clock=clock) as session:
        return session.run(inputs)["y"]


def test_a_stream_that_closes_at_each_call(server: Server) -> None:
    server.start()
    clock = Clock()
    whole = ServerTransport(server, clock, same, same)
    run_once(whole, clock)
    assert len(whole.log) > 10
    for fail_at in range(1, len(whole.log) + 1):
        server.start()
        transport = FailingTransport(server, clock, fail_at, TransportClosed("cable pulled"))
        with pytest.raises(DeviceError, match=r"cable pulled (while|to)"):
            run_once(transport, clock)
        assert transport.closed


def test_a_stream_that_is_late_at_each_call(server: Server) -> None:
    server.start()
    clock = Clock()
    whole = ServerTransport(server, clock, same, same)
    run_once(whole, clock)
    for fail_at in range(1, len(whole.log) + 1):
        server.start()
        transport = FailingTransport(server, clock, fail_at, TransportTimeout("late"))
        if whole.log[fail_at - 1] == "read":
            assert (run_once(transport, clock) == tiny_output(tiny_inputs())).all()
        else:
            with pytest.raises(TransportTimeout, match="late"):
                run_once(transport, clock)
        assert transport.closed
