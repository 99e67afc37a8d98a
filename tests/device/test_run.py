"""Runs that are watched, stopped, repeated, and end in a crash."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest

from microtvm.device.client import RestartError, Timing
from microtvm.device.crash import read_crash
from microtvm.device.frame import FrameDecoder, Packet, crc32, frame_encode
from microtvm.device.status import Status
from microtvm.device.wire import Kind, number
from microtvm.errors import CancelledError, DeviceError, LinkError
from tests.device.harness import Server, open_tiny, tiny_inputs, tiny_output

HZ = 25_000_000


class Traffic:
    """Requests that pass, by kind; damages none."""

    def __init__(self) -> None:
        self.kinds: list[int] = []
        self.seed = 0
        self.bytes = 0

    def __call__(self, data: bytes) -> bytes:
        decoder = FrameDecoder()
        decoder.seed = self.seed
        self.bytes += len(data)
        for event in decoder.feed(data):
            assert isinstance(event, Packet)
            self.kinds.append(event.data[1])
            if event.data[1] == Kind.HELLO:
                self.seed = crc32(event.data[3:7])
        return data


def test_progress_is_told_four_times_a_second(server: Server) -> None:
    with open_tiny(server) as session:
        heard: list[str] = []
        session.on_progress(heard.append)
        server.tick(HZ // 8)
        session.run(tiny_inputs())
        assert heard == ["sum", "add"]
        heard.clear()
        server.tick(HZ // 16)
        session.run(tiny_inputs())
        assert heard == ["add"]
        heard.clear()
        server.tick(HZ // 64)
        session.run(tiny_inputs())
        session.run(tiny_inputs(), whole=True)
        assert heard == []
        session.on_progress(None)
        server.tick(HZ)
        session.run(tiny_inputs())


class Endless:
    """A device that never ends its run: it says how far it is, and stops when it is told to."""

    def __init__(self, *, stops: bool = True) -> None:
        self._stops = stops
        self._seed = 0
        self._run: bytes | None = None
        self.cancelled = 0

    def to_device(self, data: bytes) -> bytes:
        passed = b""
        for event in self._decoded(data):
            if event[1] == Kind.HELLO:
                self._seed = crc32(event[3:7])
                passed += frame_encode(event)
            elif event[1] == Kind.RUN_THROUGH:
                self._run = event
            elif event[1] == Kind.CANCEL:
                self.cancelled += 1
                self._cancel = event
            else:
                passed += frame_encode(event, self._seed)
        return passed

    def _decoded(self, data: bytes) -> Iterator[bytes]:
        decoder = FrameDecoder()
        decoder.seed = self._seed
        for event in decoder.feed(data):
            assert isinstance(event, Packet)
            yield event.data

    def to_host(self, data: bytes) -> bytes:
        if self._run is None:
            return data
        answer = bytes([self._run[0], 0x80 | self._run[1]])
        if not self.cancelled:
            progress = bytes([self._run[0], Kind.PROGRESS]) + number(1)
            stale = bytes([self._run[0] - 1, Kind.PROGRESS]) + number(2)
            packets = [answer + b"\x01", stale, progress]
        elif self._stops:
            packets = [
                answer + bytes([Status.CANCELLED & 0xFF]) + number(1),
                bytes([self._cancel[0], 0x80 | Kind.CANCEL, 0]),
            ]
            self._run = None
        else:
            packets = []
        return data + b"".join(frame_encode(packet, self._seed) for packet in packets)


def test_run_that_takes_too_long_is_stopped(server: Server) -> None:
    device = Endless()
    with open_tiny(server, to_device=device.to_device, to_host=device.to_host) as session:
        message = "takes longer than 5 s: the device was stopped after 1 of 3 operators, before sum"
        with pytest.raises(LinkError, match=message):
            session.run(tiny_inputs(), timeout_s=5)
        assert device.cancelled == 1
        assert session.ping() >= 0
    stubborn = Endless(stops=False)
    with (
        open_tiny(server, to_device=stubborn.to_device, to_host=stubborn.to_host) as session,
        pytest.raises(LinkError, match="in operator 1 within 5 s, and the device does not stop"),
    ):
        session.run(tiny_inputs(), timeout_s=5)
    assert stubborn.cancelled > 2


def test_run_is_stopped_from_another_thread(server: Server) -> None:
    device = Endless()
    with open_tiny(server, to_device=device.to_device, to_host=device.to_host) as session:
        session.on_progress(lambda _: threading.Thread(target=session.cancel).start())
        with pytest.raises(CancelledError, match="stopped after 1 of 3 operators, before sum"):
            session.run(tiny_inputs())
        session.on_progress(None)
        assert session.ping() >= 0
    stubborn = Endless(stops=False)
    with open_tiny(server, to_device=stubborn.to_device, to_host=stubborn.to_host) as session:
        session.on_progress(lambda _: session.cancel())
        with pytest.raises(LinkError, match="the device does not stop within 20 s while running"):
            session.run(tiny_inputs())


@pytest.mark.parametrize("whole", [False, True])
def test_run_whose_inputs_are_being_written_does_not_begin(server: Server, whole: bool) -> None:
    traffic = Traffic()
    stops = [Kind.WRITE]

    def to_device(data: bytes) -> bytes:
        traffic(data)
        if traffic.kinds[-1] in stops:
            session.cancel()
        return data

    with open_tiny(server, to_device=to_device) as session:
        with pytest.raises(CancelledError, match="stopped before running the model"):
            session.run(tiny_inputs(), whole=whole)
        with pytest.raises(CancelledError, match="stopped before running through sum"):
            session.run_through("sum", tiny_inputs(2))
        assert not {Kind.RUN, Kind.RUN_THROUGH} & set(traffic.kinds)
        stops.clear()
        inputs = tiny_inputs(3)
        np.testing.assert_array_equal(session.run(inputs, whole=whole)["y"], tiny_output(inputs))


def test_profile_is_stopped_between_its_runs(server: Server) -> None:
    """A request to stop that comes when one operator's run has ended, before the next one's."""
    results = 0

    def to_host(data: bytes) -> bytes:
        nonlocal results
        results += armed and bool(data)
        if armed and results == 1:
            session.cancel()
        return data

    armed = False
    with open_tiny(server, to_host=to_host) as session:
        session.run_through("halve", tiny_inputs())
        armed = True
        with pytest.raises(CancelledError, match="stopped before profiling sum"):
            session.profile()
        armed = False
        assert len(session.profile().operators) == 3


def test_device_that_holds_after_a_stop_goes_on(server: Server) -> None:
    """On the C server itself: what has run is there, and the rest can follow."""
    traffic = Traffic()
    inputs = tiny_inputs()
    with open_tiny(server, to_device=traffic) as session:
        session.run_through("halve", inputs)
        session.cancel()
        session.run_through("sum")
        half = session.read("half").astype(np.int64)
        np.testing.assert_array_equal(half.ravel(), inputs["x"].ravel() // 2)
        np.testing.assert_array_equal(session.run(inputs)["y"], tiny_output(inputs))


def test_silence_in_a_run_names_the_operator(server: Server) -> None:
    class Mute(Endless):
        said = 0

        def to_host(self, data: bytes) -> bytes:
            if self._run is None:
                return data
            self.said += 1
            return super().to_host(data) if self.said == 1 else b""

    device = Mute()
    timing = Timing(run_s=30)
    with (
        open_tiny(
            server, to_device=device.to_device, to_host=device.to_host, timing=timing
        ) as session,
        pytest.raises(
            LinkError, match="no result while running the model, in operator 1 within 30"
        ),
    ):
        session.run(tiny_inputs())


def test_inputs_that_stay_are_not_sent_again(server: Server) -> None:
    """`x` is overwritten by the run, `bias` stays to its end."""
    traffic = Traffic()
    with open_tiny(server, to_device=traffic) as session:
        first, second = tiny_inputs(1), tiny_inputs(2)
        session.run(first)
        traffic.kinds.clear()
        both = {"x": second["x"], "bias": first["bias"]}
        np.testing.assert_array_equal(session.run(both)["y"], tiny_output(both))
        assert traffic.kinds.count(Kind.WRITE) == 3
        traffic.kinds.clear()
        np.testing.assert_array_equal(session.run(second)["y"], tiny_output(second))
        assert traffic.kinds.count(Kind.WRITE) == 4
        session.run_through("halve", second)
        traffic.kinds.clear()
        session.run_through("halve", second)
        assert traffic.kinds.count(Kind.WRITE) == 0
        session.reset()
        traffic.kinds.clear()
        np.testing.assert_array_equal(session.run(second)["y"], tiny_output(second))
        assert traffic.kinds.count(Kind.WRITE) == 4


def test_batches_stream(server: Server) -> None:
    taken: list[int] = []

    def rows() -> Iterator[dict[str, np.ndarray]]:
        for seed in range(4):
            taken.append(seed)
            yield {"x": tiny_inputs(seed)["x"], "bias": tiny_inputs(0)["bias"]}

    with open_tiny(server) as session:
        for count, outputs in enumerate(session.run_many(rows()), start=1):
            assert taken == list(range(count))
            inputs = {"x": tiny_inputs(count - 1)["x"], "bias": tiny_inputs(0)["bias"]}
            np.testing.assert_array_equal(outputs["y"], tiny_output(inputs))
    assert taken == [0, 1, 2, 3]


def test_applications_text_comes_beside_the_answers(server: Server) -> None:
    printed = [b""]

    def with_text(data: bytes) -> bytes:
        text, printed[0] = printed[0], b""
        return (server.log(text) if text else b"") + data

    with open_tiny(server, to_host=with_text) as session:
        heard: list[str] = []
        printed[0] = b"nobody listens"
        session.ping()
        session.on_log(heard.append)
        printed[0] = b"x" * 300 + "ä".encode()
        session.ping()
        assert [len(text) for text in heard] == [128, 128, 45]
        assert "".join(heard) == "x" * 300 + "ä"
        assert session.retransmissions == 0
        session.on_log(None)


def test_text_is_not_sent_to_who_does_not_want_it(server: Server) -> None:
    server.start()
    assert server.log(b"before any session") == b""
    server.exchange(frame_encode(bytes([0, Kind.HELLO]) + number(2) + b"nonc" + number(0)))
    assert server.log(b"unwanted") == b""


FAULT = b"fault exception=00000003 pc=0000012c cfsr=00000400"


def test_record_of_a_crash_is_there_for_the_next_session(server: Server) -> None:
    server.crash(FAULT)
    with open_tiny(server) as session:
        crash = session.last_crash
        assert crash is not None
        assert (crash.cause, crash.operator, crash.during_run) == ("fault", "", False)
        assert crash.registers == {"exception": 3, "pc": 0x12C, "cfsr": 0x400}
        assert str(crash) == "fault exception=00000003 pc=0000012c cfsr=00000400"
    with open_tiny(server) as session:
        assert session.last_crash is None
        with pytest.raises(DeviceError, match="has no record of a crash: there is no tensor"):
            read_crash(session._client, session.operators)


def test_long_record_is_cut(server: Server) -> None:
    server.crash(b"overrun " + b"r0=12345678 " * 40)
    with open_tiny(server) as session:
        assert session.last_crash is not None
        assert session.last_crash.cause == "overrun"


class Crashing:
    """A device that crashes in the n-th operator: it notes the fault, and starts again."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.armed = False

    def __call__(self, data: bytes) -> bytes:
        if self.armed and data:
            self.armed = False
            self._server.crash(FAULT)
            self._server.start()
            return self._server.exchange(b"")
        return data


def test_crash_in_a_session_is_explained(server: Server) -> None:
    line = Crashing(server)
    with open_tiny(server, to_host=line) as session:
        session.run(tiny_inputs())
        line.armed = True
        with pytest.raises(RestartError, match=r"restarted .* it noted: fault exception=0000") as e:
            session.run(tiny_inputs(2))
        assert "stack" in e.value.hint
        inputs = tiny_inputs(3)
        np.testing.assert_array_equal(session.run(inputs)["y"], tiny_output(inputs))


def test_crash_of_before_is_not_the_reason_of_a_restart(server: Server) -> None:
    """The next restart leaves no record: what the one before left is not said to be of it."""
    server.crash(FAULT)
    with open_tiny(server) as session:
        assert session.last_crash is not None
        server.start()
        with pytest.raises(RestartError, match="restarted before or while writing") as caught:
            session.run_through("halve", tiny_inputs())
        assert "it noted" not in caught.value.message
        assert session.last_crash is not None


def test_nothing_is_held_by_a_device_that_has_restarted(server: Server) -> None:
    """Noticed while reading, when the inputs are known to be there, and half of the run is over."""
    inputs = tiny_inputs()
    with open_tiny(server) as session:
        for again in (None, inputs):
            session.run_through("halve", inputs)
            server.start()
            with pytest.raises(RestartError, match="restarted before or while reading"):
                session.read("half")
            assert session.run_through("sum", again).step == 2
        np.testing.assert_array_equal(session.run(inputs)["y"], tiny_output(inputs))


def test_last_words_can_do_nothing_to_a_terminal(server: Server) -> None:
    words = b""
    with open_tiny(server, to_host=lambda data: data + words) as session:
        words = b"\0mtvm: \x1b[2Jfault\x9b\r\n pc=0000012c\0"
        with pytest.raises(DeviceError, match=r"crashed while pinging: \?\[2Jfault") as caught:
            session.ping()
        assert caught.value.message.isprintable()
        assert session.last_crash is not None
        assert session.last_crash.registers == {"pc": 0x12C}
