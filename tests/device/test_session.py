"""Sessions with the C server: what a user sees."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from microtvm.device import Session, load_metadata
from microtvm.device.frame import FrameDecoder, Packet, crc32, frame_encode
from microtvm.device.status import Status
from microtvm.device.wire import Kind, number
from microtvm.errors import DeviceError, LinkError, UserError
from tests.device.harness import (
    Clock,
    Server,
    ServerTransport,
    open_tiny,
    same,
    tiny_inputs,
    tiny_output,
)


@pytest.fixture
def session(server: Server) -> Iterator[Session]:
    with open_tiny(server) as session:
        yield session


def metadata(**changes: object) -> dict[str, Any]:
    """What a compiler would say of the hand-written model."""
    rows = [
        ("x", "serving_x:0", [1, 300], "int8", 0.5, -3, 0, 1),
        ("bias", "serving_bias:0", [4], "int32", None, None, 0, 3),
        ("y", "StatefulPartitionedCall:0", [4], "int32", [0.25, 0.5], [0, 0], 3, 3),
        ("half", "model/half", [1, 300], "int8", 1.0, 0, 1, 2),
        ("sums", "model/sums", [4], "int32", 0.25, 0, 2, 3),
        ("runs", "", [1], "int32", None, None, 1, 3),
    ]
    keys = ("name", "source", "shape", "dtype", "scale", "zero_point", "live_from", "live_to")
    content = {
        "format": 1,
        "name": "tiny",
        "hash": bytes(range(16)).hex(),
        "tensors": [dict(zip(keys, row, strict=True)) for row in rows],
        "inputs": [0, 1],
        "outputs": [2],
        "operators": [{"name": name} for name in ("halve", "sum", "add")],
        "fused": {"model/floor": "halve"},
    }
    return content | changes


def test_run(session: Session) -> None:
    for seed in range(3):
        inputs = tiny_inputs(seed)
        outputs = session.run(inputs)
        assert list(outputs) == ["y"]
        assert outputs["y"].dtype == np.int32
        np.testing.assert_array_equal(outputs["y"], tiny_output(inputs))
    assert session.last_run is not None
    assert (session.last_run.step, session.last_run.ticks) == (3, 3000)
    assert session.retransmissions == 0


def test_whole_run(session: Session) -> None:
    inputs = tiny_inputs()
    np.testing.assert_array_equal(session.run(inputs, whole=True)["y"], tiny_output(inputs))
    assert session.last_run is not None
    assert (session.last_run.step, session.last_run.ticks) == (3, 1000)


def test_the_device_describes_its_model(session: Session) -> None:
    assert session.model.name == "tiny"
    assert session.operators == ("halve", "sum", "add")
    assert [tensor.name for tensor in session.model.inputs] == ["x", "bias"]
    assert [tensor.name for tensor in session.model.outputs] == ["y"]
    described = {
        t.name: (t.dtype.name, t.shape, t.scale, t.zero_point) for t in session.model.tensors
    }
    assert described == {
        "x": ("int8", (1, 300), 0.5, -3),
        "bias": ("int32", (4,), 0.0, 0),
        "y": ("int32", (4,), 0.25, 0),
        "half": ("int8", (1, 300), 1.0, 0),
        "sums": ("int32", (4,), 0.25, 0),
        "runs": ("int32", (1,), 0.0, 0),
    }


def test_metadata_agrees_with_the_device(server: Server, tmp_path: Path) -> None:
    server.start()
    clock = Clock()
    path = tmp_path / "metadata.json"
    path.write_text(json.dumps(metadata()))
    with Session(ServerTransport(server, clock, same, same), path, clock=clock) as session:
        inputs = tiny_inputs()
        by_source = {"serving_x:0": inputs["x"], "serving_bias:0": inputs["bias"]}
        np.testing.assert_array_equal(session.run(by_source)["y"], tiny_output(inputs))
        assert session.read("StatefulPartitionedCall:0").shape == (4,)
        with pytest.raises(UserError, match=r"'model/floor' of .* was fused into operator halve"):
            session.read("model/floor")
        with pytest.raises(UserError, match="input x of model tiny is given twice"):
            session.run({"x": inputs["x"], "serving_x:0": inputs["x"]})
    asked = open_tiny(server).model
    known = load_metadata(metadata())
    for ours, theirs in zip(known.tensors, asked.tensors, strict=True):
        assert (ours.name, ours.shape, ours.dtype, ours.live_from, ours.live_to) == (
            theirs.name,
            theirs.shape,
            theirs.dtype,
            theirs.live_from,
            theirs.live_to,
        )


def test_another_model_on_the_device(server: Server) -> None:
    server.start()
    clock = Clock()
    transport = ServerTransport(server, clock, same, same)
    with pytest.raises(DeviceError, match=r"runs model tiny of hash 0001.*, hash ffff") as caught:
        Session(transport, metadata(hash="ff" * 16), clock=clock)
    assert "build and flash" in caught.value.hint
    assert transport.closed


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"format": 2}, "has format 2; this version reads 1"),
        ({"hash": "00"}, "damaged: hash has 1 bytes"),
        ({"inputs": [9]}, "damaged: tuple index out of range"),
        ({"tensors": [{}]}, "lacks the key 'dtype'"),
        ({"tensors": [{"name": "x", "dtype": "complex64"}]}, "has the type complex64"),
        ({"operators": 3}, "damaged"),
    ],
)
def test_bad_metadata(changes: dict[str, object], problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        load_metadata(metadata(**changes))


def test_metadata_that_is_no_file_or_no_json(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"can't read .*absent: No such file"):
        load_metadata(tmp_path / "absent")
    path = tmp_path / "metadata.json"
    for text, problem in (("{", "is not JSON"), ("[]", "is not a JSON object")):
        path.write_text(text)
        with pytest.raises(UserError, match=problem):
            load_metadata(path)


@pytest.mark.parametrize(
    ("change", "problem", "hint"),
    [
        ({"z": np.zeros(1)}, "model tiny has no input 'z'", "there is x, bias"),
        ({"biass": np.zeros(1)}, "model tiny has no input 'biass'", "did you mean bias?"),
        ({"x": np.zeros((300,), np.int8)}, r"x has shape \[1, 300\], the array \[300\]", ""),
        (
            {"x": np.zeros((1, 300), np.float32)},
            "x is of type int8, .* is float32",
            "x / 0.5) + -3",
        ),
        ({"bias": np.zeros(4, np.int64)}, "bias is of type int32, the array is int64", ""),
        ({"bias": "text"}, "bias is of type int32, the array is str", ""),
    ],
)
def test_bad_inputs(session: Session, change: dict[str, Any], problem: str, hint: str) -> None:
    with pytest.raises(UserError, match=problem) as caught:
        session.run(tiny_inputs() | change)
    assert hint in caught.value.hint
    assert session.run(tiny_inputs())


def test_a_missing_input(session: Session) -> None:
    with pytest.raises(UserError, match="no array for input bias of model tiny") as caught:
        session.run({"x": tiny_inputs()["x"]})
    assert caught.value.hint == "given: x"


def test_big_endian_arrays_are_taken(session: Session) -> None:
    inputs = tiny_inputs()
    swapped = {"x": inputs["x"], "bias": inputs["bias"].astype(">i4")}
    np.testing.assert_array_equal(session.run(swapped)["y"], tiny_output(inputs))


def test_every_tensor_in_between(session: Session) -> None:
    inputs = tiny_inputs()
    half = np.floor_divide(inputs["x"], 2)
    session.run_through("halve", inputs)
    np.testing.assert_array_equal(session.read("x"), inputs["x"])
    np.testing.assert_array_equal(session.read("half"), half)
    with pytest.raises(
        UserError, match=r"sums can't be read after 1 of 3 .* not been computed"
    ) as e:
        session.read("sums")
    assert e.value.hint == "read it after run_through('sum')"
    first = int(session.read("runs")[0])
    run = session.run_through(1)
    assert run.step == 2
    assert session.read("runs")[0] == first
    np.testing.assert_array_equal(session.read("sums"), half.reshape(4, 75).sum(1))
    with pytest.raises(UserError, match=r"x can't be read after 2 of 3 .* memory has been reused"):
        session.read("x")
    session.run_through("halve")
    assert session.read("runs")[0] == first + 1
    session.run_through("add")
    np.testing.assert_array_equal(session.read("y"), tiny_output(inputs))


def test_run_through_what_is_not_there(session: Session) -> None:
    with pytest.raises(UserError, match="has no operator 'halv'") as caught:
        session.run_through("halv", tiny_inputs())
    assert caught.value.hint == "did you mean halve?"
    with pytest.raises(UserError, match="has no operator 3: it has 3, counted from 0"):
        session.run_through(3, tiny_inputs())
    with pytest.raises(UserError, match="model tiny has no inputs yet"):
        session.run_through(0)


def test_read_before_anything(session: Session) -> None:
    with pytest.raises(UserError, match="reading tensor x: an input has not been written: x"):
        session.read("x")
    with pytest.raises(UserError, match="has no tensor 'hal'") as caught:
        session.read("hal")
    assert caught.value.hint == "did you mean half?"
    session.run(tiny_inputs())
    with pytest.raises(UserError, match="can't be read after 3 of 3 operators"):
        session.read("x")


def test_profile(session: Session) -> None:
    profile = session.profile(tiny_inputs())
    assert [(row.name, row.ticks) for row in profile.operators] == [
        ("halve", 1000),
        ("sum", 1000),
        ("add", 1000),
    ]
    assert (profile.ticks, profile.ticks_hz) == (3000, 25_000_000)
    assert session.profile() == profile
    np.testing.assert_array_equal(session.read("y"), tiny_output(tiny_inputs()))


def test_stack_and_ping(session: Session) -> None:
    assert session.stack_peak() == 1234
    assert session.ping() < 10


def test_reset_begins_anew(session: Session) -> None:
    session.run(tiny_inputs())
    session.reset()
    with pytest.raises(UserError, match="reading tensor x: an input has not been written"):
        session.read("x")
    assert session.run_through("halve").step == 1
    np.testing.assert_array_equal(session.run(tiny_inputs(5))["y"], tiny_output(tiny_inputs(5)))


class LoseFirstFrame:
    """The way to the host, with the first frame lost once that is asked for."""

    def __init__(self) -> None:
        self.armed = False

    def __call__(self, data: bytes) -> bytes:
        if self.armed:
            self.armed = False
            return data[data.index(b"\0\0") + 1 :]
        return data


def test_a_reset_whose_answer_is_lost(server: Server) -> None:
    line = LoseFirstFrame()
    with open_tiny(server, to_host=line) as session:
        line.armed = True
        session.reset()
        assert not line.armed
        assert session.ping() < 10


def test_a_device_that_restarts_is_noticed(server: Server) -> None:
    with open_tiny(server) as session:
        session.run(tiny_inputs())
        server.start()
        with pytest.raises(DeviceError, match="device restarted before or while pinging"):
            session.ping()


def test_a_device_that_restarts_unheard_is_noticed(server: Server) -> None:
    with open_tiny(server) as session:
        server.start()
        server.exchange(b"")
        with pytest.raises(DeviceError, match="restarted before or while writing the inputs"):
            session.run(tiny_inputs())


def test_another_host_on_the_line_is_noticed(server: Server) -> None:
    """No answer to one session is ever taken for one to another."""
    with open_tiny(server) as session:
        inputs = tiny_inputs()
        session.run(inputs)
        with open_tiny(server) as other:
            other.run(tiny_inputs(7))
        with pytest.raises(LinkError, match="no answer while pinging"):
            session.ping()


def test_progress_counts_bytes(session: Session) -> None:
    seen: list[tuple[int, int]] = []
    session.run(tiny_inputs(), progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (316, 316)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def refusal(status: Status, detail: int = 0) -> bytes:
    """What follows the kind in an answer that is an error."""
    return bytes([status & 0xFF]) + number(detail)


class Changed:
    """The way to the host, with the answers of one kind replaced."""

    def __init__(self, kind: Kind, payload: bytes) -> None:
        self._kind = kind
        self._payload = payload
        self.seed = 0

    def __call__(self, data: bytes) -> bytes:
        result = b""
        decoder = FrameDecoder()
        decoder.seed = self.seed
        for event in decoder.feed(data):
            assert isinstance(event, Packet)
            packet = event.data
            if packet[1] == 0x80 | Kind.HELLO:
                self.seed = crc32(packet[4:8])
            if packet[1] == 0x80 | self._kind:
                packet = packet[:2] + self._payload
            result += frame_encode(packet, 0 if event.plain else self.seed)
        return result


@pytest.mark.parametrize(
    ("kind", "payload", "problem"),
    [
        (Kind.TENSOR, b"\0", "answer to TENSOR is malformed: dtype is cut off"),
        (
            Kind.TENSOR,
            refusal(Status.INDEX),
            "refused asking for its description: there is no tensor",
        ),
        (Kind.OPERATOR, b"\0" + b"op", "two tensors or operators of one name: op$"),
        (Kind.LOOKUP, b"\0\6", "answer to LOOKUP is malformed: tensor is 6, at most 5"),
        (Kind.READ, b"\0", "0 bytes came instead of 16 while reading tensor y"),
        (
            Kind.READ,
            refusal(Status.RANGE),
            "reading tensor y: the bytes asked for do not lie within",
        ),
        (Kind.RUN_THROUGH, b"\0\4\0", "RUN_THROUGH is malformed: step is 4, at most 3"),
        (Kind.WRITE, refusal(Status.BUSY), "writing the inputs: a run is under way"),
        (Kind.RUN_THROUGH, refusal(Status.INPUT_MISSING, 99), "an input has not been written: 99"),
    ],
)
def test_a_device_that_lies(server: Server, kind: Kind, payload: bytes, problem: str) -> None:
    with (
        pytest.raises((LinkError, DeviceError, UserError), match=problem),
        open_tiny(server, to_host=Changed(kind, payload)) as session,
    ):
        session.run(tiny_inputs())


@pytest.mark.parametrize(
    ("payload", "problem"),
    [
        (b"\0", "HELLO is malformed: protocol is cut off"),
        (refusal(Status.VERSION, 3), "speaks version 3 of"),
        (refusal(Status.LENGTH), "refuses a session: the request is malformed"),
    ],
)
def test_a_hello_that_is_refused(server: Server, payload: bytes, problem: str) -> None:
    with pytest.raises(LinkError, match=problem):
        open_tiny(server, to_host=Changed(Kind.HELLO, payload))


def test_a_ping_that_comes_back_changed(server: Server) -> None:
    with (
        open_tiny(server, to_host=Changed(Kind.PING, b"\0ab")) as session,
        pytest.raises(LinkError, match=r"a ping of .* came back as 6162"),
    ):
        session.ping()


def test_nobody_there(server: Server) -> None:
    with pytest.raises(LinkError, match="no answer to the first request within 20 s; it printed n"):
        open_tiny(server, to_host=lambda data: b"")
    with pytest.raises(LinkError, match=r"it printed last:\nlogin: ") as caught:
        open_tiny(server, to_host=lambda data: b"login: \r\n")
    assert "is the board powered" in caught.value.hint


def test_text_between_frames_does_no_harm(server: Server) -> None:
    with open_tiny(server, to_host=lambda data: b"I: thread\r\n" + data + b"I: done") as session:
        np.testing.assert_array_equal(session.run(tiny_inputs())["y"], tiny_output(tiny_inputs()))


@pytest.mark.parametrize(
    "use",
    [
        lambda session: session.run(tiny_inputs(0)),
        lambda session: session.run_through("halve", tiny_inputs(0)),
        lambda session: session.read("x"),
        lambda session: session.ping(),
    ],
)
def test_closed_session_says_so(session: Session, use: Callable[[Session], object]) -> None:
    session.close()
    with pytest.raises(UserError, match=r"the session with model .* is closed"):
        use(session)
