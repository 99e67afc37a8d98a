"""The server beside a bare echo, each in a QEMU of its own with the UART driver of the templates.

The two take turns, the other one is stopped meanwhile: an emulated core never sleeps. Each figure
is the median of the ratios of neighbours, so that what else the machine does is in both.
"""

from __future__ import annotations

import os
import shutil
import signal
import statistics
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.measure import HERE, default_models
from microtvm.device import Session
from microtvm.device.frame import crc32, frame_encode, packet_bytes
from microtvm.device.launch import EmulatorTransport
from microtvm.device.status import Status
from microtvm.device.wire import ANSWER, Kind, Request, number
from microtvm.inference import prepare
from microtvm.project import Project
from microtvm.target import load_board

BOARD = "qemu-mps2-an386"
MODEL = "resnet8_int8.tflite"
"""Its input has 3072 bytes."""

CALL_ROUNDS = 100
CALLS = 16
"""In a round, whose best one counts: few, so that server and echo see the same of the machine."""
DATA_ROUNDS = 30
TRANSFERS = 4
"""In a round, whose best one counts."""
DATA_BYTES = 1024
"""Of a transfer: some nine frames, little enough to pass without another process in between."""
READ_S = 20.0


@dataclass(frozen=True)
class EchoFigures:
    """Ratios to the echo, medians of neighbours; and medians of the times themselves."""

    write: float
    """Tensor bytes a second to the server, by what the echo sends back a second with as many bytes
    under way as the server's window has."""
    read: float
    write_of_stream: float
    """The same by an echo that is sent all at once, which only a line that holds the sender back
    allows."""
    call: float
    """Round trip of an empty call, by that of bare messages of the same length."""
    call_s: float
    echo_call_s: float
    write_bytes_s: float
    read_bytes_s: float
    echo_bytes_s: float


def build(folder: Path) -> tuple[Project, Project]:
    """The server's project, built, and the echo's: the same but for its main."""
    served = prepare(default_models() / MODEL, load_board(BOARD), folder / "served")
    echoing = replace(served, folder=folder / "echoing")
    shutil.copytree(served.folder, echoing.folder)
    shutil.copy(HERE / "echo.c", echoing.folder / "src" / "main.c")
    subprocess.run(["make", "-C", echoing.folder], check=True, capture_output=True)
    return served, echoing


def _start(project: Project) -> EmulatorTransport:
    return EmulatorTransport(project.platform.emulator_argv(project, "{serial}"))


class _Pair:
    def __init__(self, served: EmulatorTransport, echoing: EmulatorTransport) -> None:
        self._echoing = echoing
        self._served = served
        self._session = Session(served)
        self._input = self._session.model.inputs[0]
        self._session.run({self._input.name: np.zeros(self._input.shape, np.int8)})
        self._content = np.arange(DATA_BYTES, dtype=np.int8).tobytes()
        ping = crc32(b"any nonce")
        self._question = frame_encode(bytes([1, Kind.PING]), ping)
        self._answer = frame_encode(bytes([1, Kind.PING | ANSWER, 0]), ping)

    def close(self) -> None:
        for transport in (self._served, self._echoing):
            os.kill(transport.process.pid, signal.SIGCONT)
            transport.close()

    def serve(self) -> None:
        """Only the server runs."""
        os.kill(self._echoing.process.pid, signal.SIGSTOP)
        os.kill(self._served.process.pid, signal.SIGCONT)

    def echo(self) -> None:
        """Only the echo runs."""
        os.kill(self._served.process.pid, signal.SIGSTOP)
        os.kill(self._echoing.process.pid, signal.SIGCONT)

    def call(self) -> None:
        self._session._client.call(Request(Kind.PING), "calling")

    def write(self) -> None:
        index = number(self._input.index)
        room = packet_bytes(self._session.hello.frame_bytes) - 2 - len(index)
        requests = []
        at = 0
        while at < DATA_BYTES:
            place = index + number(at)
            part = self._content[at : at + room - len(place) + len(index)]
            requests.append(Request(Kind.WRITE, place + part))
            at += len(part)
        self._ask(requests)

    def read(self) -> None:
        index = number(self._input.index)
        step = self._session.hello.read_bytes
        requests = [
            Request(Kind.READ, index + number(at) + number(step))
            for at in range(0, DATA_BYTES, step)
        ]
        self._ask(requests)

    def _ask(self, requests: list[Request]) -> None:
        answers = self._session._client.exchange(requests, "moving data")
        assert all(answer.status == Status.OK for answer in answers)

    def tell(self, message: int, answer: int, count: int) -> None:
        """What the echo is to expect."""
        self._echoing.write(struct.pack("<III", message, answer, count), READ_S)

    def tell_calls(self) -> None:
        self.tell(len(self._question), len(self._answer), CALLS)

    def exchange(self) -> None:
        """A message of a call's length, and an answer of its answer's."""
        self._echoing.write(self._question, READ_S)
        self._take(len(self._answer))

    def send_back(self) -> None:
        """As much as the model's input, there and back; a frame's bytes are sent whenever as many
        have come, so that never more than a window is under way."""
        size, frame = len(self._content), self._session.hello.frame_bytes
        self.tell(0, 0, size)
        ahead = min(self._session.hello.window_bytes // frame * frame, size)
        self._echoing.write(self._content[:ahead], READ_S)
        for at in range(0, size, frame):
            self._take(min(frame, size - at))
            if part := self._content[ahead : ahead + frame]:
                self._echoing.write(part, READ_S)
            ahead += len(part)

    def stream_back(self) -> None:
        """As much, all at once."""
        self.tell(0, 0, len(self._content))
        self._echoing.write(self._content, READ_S)
        self._take(len(self._content))

    def _take(self, count: int) -> None:
        while count:
            count -= len(self._echoing.read(count, READ_S))

    @property
    def data_bytes(self) -> int:
        return len(self._content)


def _timed(do: Callable[[], None]) -> float:
    start_s = time.perf_counter()
    do()
    return time.perf_counter() - start_s


def _best(do: Callable[[], None], times: int) -> float:
    return min(_timed(do) for _ in range(times))


def _ratio(over: list[float], under: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(over, under, strict=True))


def measure(call_rounds: int = CALL_ROUNDS, data_rounds: int = DATA_ROUNDS) -> EchoFigures:
    """Builds both, starts both and compares them."""
    with tempfile.TemporaryDirectory() as name:
        served, echoing = build(Path(name))
        pair = _Pair(_start(served), _start(echoing))
        try:
            return _compare(pair, call_rounds, data_rounds)
        finally:
            pair.close()


def _compare(pair: _Pair, call_rounds: int, data_rounds: int) -> EchoFigures:
    calls: list[float] = []
    bare: list[float] = []
    for _ in range(call_rounds):
        pair.serve()
        calls.append(_best(pair.call, CALLS))
        pair.echo()
        pair.tell_calls()
        bare.append(_best(pair.exchange, CALLS))
    written: list[float] = []
    read: list[float] = []
    echoed: list[float] = []
    streamed: list[float] = []
    for _ in range(data_rounds):
        pair.serve()
        written.append(_best(pair.write, TRANSFERS))
        read.append(_best(pair.read, TRANSFERS))
        pair.echo()
        echoed.append(_best(pair.send_back, TRANSFERS))
        streamed.append(_best(pair.stream_back, TRANSFERS))
    return EchoFigures(
        write=_ratio(echoed, written),
        read=_ratio(echoed, read),
        write_of_stream=_ratio(streamed, written),
        call=_ratio(calls, bare),
        call_s=statistics.median(calls),
        echo_call_s=statistics.median(bare),
        write_bytes_s=pair.data_bytes / statistics.median(written),
        read_bytes_s=pair.data_bytes / statistics.median(read),
        echo_bytes_s=pair.data_bytes / statistics.median(echoed),
    )
