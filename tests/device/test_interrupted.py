"""A device that is killed, restarted or stopped, or a stream that fails, in every phase of a
session: an error that says so or the right result, and the next session works."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from microtvm.device import Session, Timing, open_process
from microtvm.device.frame import FrameDecoder, Packet, crc32
from microtvm.device.transport import Transport, TransportClosed, TransportTimeout
from microtvm.device.transport.exec import ExecTransport
from microtvm.device.wire import Kind
from microtvm.errors import DeviceError, LinkError, MicrotvmError
from tests.device.harness import Clock, Server, ServerTransport, same, tiny_inputs, tiny_output

PHASES = {
    "hello": Kind.HELLO,
    "describe": Kind.TENSOR,
    "write": Kind.WRITE,
    "run": Kind.RUN_THROUGH,
    "read": Kind.READ,
}
SHORT = Timing(hello_s=0.6, answer_s=0.6, run_s=0.6, retry_s=0.1)
STARTED_S = 20.0
"""For a process to have been stopped."""


def infer(session: Session, seed: int = 1) -> None:
    inputs = tiny_inputs(seed)
    np.testing.assert_array_equal(session.run(inputs)["y"], tiny_output(inputs))


def infer_and_ping(transport: Transport, timing: Timing | None = None) -> None:
    """The ping notices what happened after the last answer."""
    with Session(transport, timing=timing) as session:
        infer(session)
        session.ping()


def outcome(transport: Transport, clock: Clock) -> str:
    """The error of a session with one inference, or nothing."""
    try:
        with Session(transport, clock=clock) as session:
            infer(session)
    except MicrotvmError as error:
        return error.message
    return ""


class Watching(Transport):
    """Does something when the first request of a kind passes, before or after it; stays open."""

    def __init__(
        self, inner: ExecTransport, kind: Kind, act: Callable[[], None], *, before: bool
    ) -> None:
        self.name = inner.name
        self._inner = inner
        self._kind = kind
        self._act: Callable[[], None] | None = act
        self._before = before
        self._decoder = FrameDecoder()

    def _is_it(self, data: bytes) -> bool:
        found = False
        for event in self._decoder.feed(data):
            assert isinstance(event, Packet)
            if event.data[1] == Kind.HELLO:
                self._decoder.seed = crc32(event.data[3:7])
            found |= event.data[1] == self._kind
        return found

    def read(self, limit_bytes: int, timeout_s: float) -> bytes:
        return self._inner.read(limit_bytes, timeout_s)

    def write(self, data: bytes, timeout_s: float) -> None:
        act = self._act if self._is_it(data) else None
        if act and self._before:
            act()
        self._inner.write(data, timeout_s)
        if act and not self._before:
            act()
        if act:
            self._act = None

    def close(self) -> None:
        pass

    def death(self, grace_s: float) -> str | None:
        return self._inner.death(grace_s)


def stop(pid: int) -> None:
    os.kill(pid, signal.SIGSTOP)
    deadline_s = time.monotonic() + STARTED_S
    while Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "T":
        assert time.monotonic() < deadline_s
        time.sleep(0.001)


@pytest.fixture
def process(tiny_program: Path) -> Iterator[ExecTransport]:
    with ExecTransport([str(tiny_program)]) as transport:
        yield transport


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("phase", PHASES)
def test_killed(phase: str, before: bool, process: ExecTransport, tiny_program: Path) -> None:
    def kill() -> None:
        os.kill(process.process.pid, signal.SIGKILL)

    watching = Watching(process, PHASES[phase], kill, before=before)
    with pytest.raises(DeviceError, match="was killed by SIGKILL"):
        infer_and_ping(watching)
    with open_process([str(tiny_program)]) as session:
        infer(session)


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("phase", PHASES)
def test_stopped(phase: str, before: bool, process: ExecTransport) -> None:
    """All that was under way to it is still there when it goes on, for the next session."""
    pid = process.process.pid
    watching = Watching(process, PHASES[phase], lambda: stop(pid), before=before)
    try:
        with pytest.raises(LinkError, match=r"within 0\.6 s"):
            infer_and_ping(watching, SHORT)
    finally:
        os.kill(pid, signal.SIGCONT)
    with Session(process) as session:
        for seed in range(3):
            infer(session, seed)


class Restarting(ServerTransport):
    """Calls a function in one of its calls."""

    def __init__(self, server: Server, clock: Clock, at: int, act: Callable[[], None]) -> None:
        super().__init__(server, clock, same, same)
        self._at = at
        self._act = act

    def _call(self, how: str) -> None:
        super()._call(how)
        if len(self.log) == self._at:
            self._act()


def calls(server: Server) -> int:
    """How many calls of the transport a session with one inference has."""
    server.start()
    clock = Clock()
    transport = ServerTransport(server, clock, same, same)
    with Session(transport, clock=clock) as session:
        infer(session)
    return len(transport.log)


def next_session(server: Server, clock: Clock) -> None:
    with Session(ServerTransport(server, clock, same, same), clock=clock) as session:
        infer(session)


def test_restarted_at_every_call(server: Server) -> None:
    count = calls(server)
    assert count > 15
    problems = []
    for at in range(1, count + 1):
        server.start()
        clock = Clock()
        problem = outcome(Restarting(server, clock, at, server.start), clock)
        if problem:
            problems.append(problem)
            assert "the device restarted before or while" in problem
            assert clock.now_s < 1
        next_session(server, clock)
    assert len(problems) > count / 2


@pytest.mark.parametrize("lost", range(1, 4))
def test_restarted_while_the_news_of_it_are_lost(server: Server, lost: int) -> None:
    """STARTED does not arrive, neither at the start nor after the first requests."""
    server.start()
    clock = Clock()
    left = 0

    def swallow(data: bytes) -> bytes:
        nonlocal left
        if data and left:
            left -= 1
            return b""
        return data

    with Session(ServerTransport(server, clock, same, swallow), clock=clock) as session:
        infer(session)
        server.start()
        left = lost
        with pytest.raises(DeviceError, match="the device restarted before or while"):
            infer(session)
    assert left == 0
    next_session(server, clock)


@pytest.mark.parametrize("error", [TransportClosed("gone"), TransportTimeout("late")])
def test_a_stream_that_fails_at_every_call(server: Server, error: LinkError) -> None:
    def fail() -> None:
        raise error

    for at in range(1, calls(server) + 1):
        server.start()
        clock = Clock()
        transport = Restarting(server, clock, at, fail)
        problem = outcome(transport, clock)
        harmless = isinstance(error, TransportTimeout) and transport.log[at - 1] == "read"
        assert (problem == "") if harmless else (error.message in problem)
        next_session(server, clock)
