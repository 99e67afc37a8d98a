"""What the link makes of a line: `python -m benchmarks.link [--json]`.

The C server runs in this process and time is simulated, so the figures are the same everywhere: how
much of a line of 115,200 baud carries tensors, and what travels for a call, a transfer and an
inference. `--emulator` adds what is measured: the server in QEMU beside a bare echo, see
`benchmarks/link_echo.py`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.link_echo import measure
from benchmarks.lossy_link import compile_server
from microtvm.device import Session
from microtvm.device.frame import packet_bytes
from microtvm.device.transport import Transport, TransportTimeout
from microtvm.device.wire import Kind, Request, number
from tests.device.harness import Clock, Server, ServerTransport, same, tiny_inputs

BYTES_PER_S = 11520
"""115,200 baud, eight data bits, start and stop bit."""

LATENCY_S = 0.004
"""From the device to the host: a USB adapter collects before it sends."""

TRANSFERS = 80
"""Requests of a measurement: the ends, where the line waits for the latency, hardly count."""

LEAST_USE = 0.9
"""Of a line, or of what an echo makes of it, for tensors."""
MOST_CALL = 1.3
"""An empty call's round trip by that of an echo."""

ROWS = 10
"""Inferences of a measurement."""


class Line(Transport):
    """A serial line that takes its time for each byte, both ways at once; the server is as fast as
    it likes."""

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


def transfers(session: Session, way: str) -> list[Request]:
    """Requests that move as much of the input as one frame takes, there or back."""
    x = session.model.tensor("x")
    room = packet_bytes(session.hello.frame_bytes) - 2
    place = number(x.index) + number(150)
    if way == "write":
        data = bytes(range(room - len(place)))
        return [Request(Kind.WRITE, place + data)] * TRANSFERS
    return [Request(Kind.READ, number(x.index) + number(0) + number(256))] * TRANSFERS


def moved_bytes(requests: Sequence[Request], way: str) -> int:
    """How much of tensors these requests move."""
    head = len(number(0) + number(150))
    if way == "read":
        return 256 * len(requests)
    return sum(len(request.payload) - head for request in requests)


def line_use(server: Server, way: str) -> float:
    """The fraction of a line's bytes a second that are tensors, from the first request to the last
    answer: frames, acknowledgements and waits are all that is left."""
    server.start()
    clock = Clock()
    with Session(Line(server, clock), clock=clock) as session:
        session.run(tiny_inputs())
        session.run_through("halve")
        requests = transfers(session, way)
        start_s = clock.now_s
        session._client.exchange(requests, "moving data")
        rate = moved_bytes(requests, way) / (clock.now_s - start_s)
        assert session.retransmissions == 0
    return rate / BYTES_PER_S


@dataclass
class Traffic:
    """What went over the wire."""

    writes: int = 0
    """Calls of the transport: each may be a packet of USB, or a switch of processes."""
    frames_there: int = 0
    bytes_there: int = 0
    frames_back: int = 0
    bytes_back: int = 0


class CountedTransport(ServerTransport):
    """Counts what passes; answers come at once."""

    def __init__(self, server: Server) -> None:
        self.clock = Clock()
        super().__init__(server, self.clock, self._there, self._back)
        self.traffic = Traffic()

    def _there(self, data: bytes) -> bytes:
        self.traffic.writes += 1
        self.traffic.bytes_there += len(data)
        self.traffic.frames_there += _frames(data)
        return same(data)

    def _back(self, data: bytes) -> bytes:
        self.traffic.bytes_back += len(data)
        self.traffic.frames_back += _frames(data)
        return same(data)


def _frames(data: bytes) -> int:
    return sum(part != b"" for part in data.split(b"\0"))


def traffic(server: Server) -> dict[str, Traffic]:
    """What travels, by what is done."""
    server.start()
    transport = CountedTransport(server)
    found: dict[str, Traffic] = {}

    def note(what: str, do: Callable[[], object]) -> None:
        transport.traffic = found[what] = Traffic()
        do()
        transport.traffic = Traffic()

    with Session(transport, clock=transport.clock) as session:
        first, second = tiny_inputs(1), tiny_inputs(2)
        note("empty call", lambda: session._client.call(Request(Kind.PING), "calling"))
        note("inference, all inputs new", lambda: session.run(first))
        note("inference, one input new", lambda: session.run(second | {"bias": first["bias"]}))
        session.run_through("halve", first)
        note("first operator, nothing new", lambda: session.run_through("halve", first))
        rows = [tiny_inputs(seed) | {"bias": first["bias"]} for seed in range(ROWS)]
        note(f"run_many, {ROWS} rows, one input new", lambda: list(session.run_many(rows)))
        rows = [tiny_inputs(seed) for seed in range(ROWS)]
        note(f"run_many, {ROWS} rows, all new", lambda: list(session.run_many(rows)))
        assert session.retransmissions == 0
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the figures; 1 if the line, or QEMU's beside the echo, is used less than it should."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.add_argument("--emulator", action="store_true", help="measure beside an echo in QEMU")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        server = compile_server(Path(folder))
        use = {way: line_use(server, way) for way in ("write", "read")}
        travelled = traffic(server)
    echo = asdict(measure()) if options.emulator else {}
    used = [*use.values(), *(echo[way] for way in use if echo)]
    status = int(min(used) < LEAST_USE or echo.get("call", 0) > MOST_CALL)
    if options.json:
        counted = {what: asdict(of) for what, of in travelled.items()}
        print(json.dumps({"line_use": use, "traffic": counted, "echo": echo}, indent=2))
        return status
    for way, part in use.items():
        print(f"{way}: {part:.1%} of {BYTES_PER_S} bytes/s are tensors")
    print("\n| | writes | frames there | bytes | frames back | bytes |\n|---|--:|--:|--:|--:|--:|")
    for what, t in travelled.items():
        print(
            f"| {what} | {t.writes} | {t.frames_there} | {t.bytes_there} "
            f"| {t.frames_back} | {t.bytes_back} |"
        )
    for name, value in echo.items():
        print(f"{name}: {value:.4g}")
    return status


if __name__ == "__main__":
    sys.exit(main())
