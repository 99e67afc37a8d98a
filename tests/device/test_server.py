"""What the C server answers to each request, request by request."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from microtvm.device.frame import FrameDecoder, Packet, crc32, frame_encode
from microtvm.device.status import Status
from microtvm.device.wire import Answer, Kind, number, parse_answer, parse_hello
from tests.device.harness import Server, tiny_inputs, tiny_output

NONCE = b"nonc"
X, BIAS, Y, HALF, SUMS, RUNS = range(6)


@dataclass
class Raw:
    """Frames sent by hand."""

    server: Server
    sequence: int = 1

    def send(self, sequence: int, kind: int, *fields: int | bytes) -> list[Answer]:
        """All answers to one request."""
        payload = b"".join(field if isinstance(field, bytes) else number(field) for field in fields)
        decoder = FrameDecoder()
        decoder.seed = crc32(NONCE)
        seed = 0 if kind == Kind.HELLO else decoder.seed
        sent = self.server.exchange(frame_encode(bytes([sequence % 256, kind]) + payload, seed))
        answers = []
        for event in decoder.feed(sent):
            assert isinstance(event, Packet)
            if event.data[1] in (Kind.STARTED, Kind.DAMAGED):
                continue
            parsed = parse_answer(event.data)
            assert parsed
            assert parsed[0] == sequence % 256
            assert parsed[1].kind == kind
            answers.append(parsed[1])
        return answers

    def ask(self, kind: int, *fields: int | bytes) -> Answer:
        """The last answer to the next request."""
        answer = self.send(self.sequence, kind, *fields)[-1]
        self.sequence += 1
        return answer

    def write(self, tensor: int, content: bytes) -> None:
        """An input, in pieces of 100 bytes."""
        for offset in range(0, len(content), 100):
            answer = self.ask(Kind.WRITE, tensor, offset, content[offset : offset + 100])
            assert answer.status == Status.OK

    def write_inputs(self, seed: int = 1) -> np.ndarray:
        """Random inputs; what the output must be."""
        inputs = tiny_inputs(seed)
        self.write(X, inputs["x"].tobytes())
        self.write(BIAS, inputs["bias"].tobytes())
        return tiny_output(inputs)

    def runs(self) -> int:
        """How often the first operator has run."""
        answer = self.ask(Kind.READ, RUNS, 0, 4)
        assert answer.status == Status.OK
        return int.from_bytes(answer.payload, "little")


@pytest.fixture
def raw(server: Server) -> Raw:
    server.start()
    raw = Raw(server)
    (answer,) = raw.send(0, Kind.HELLO, 2, NONCE, 3)
    assert parse_hello(answer.payload).model_name == "tiny"
    return raw


def test_the_state_is_small(server: Server) -> None:
    """On a 64-bit host; pointers are half as long on a target."""
    assert server.state_bytes() <= 256


def test_a_run(raw: Raw) -> None:
    expected = raw.write_inputs()
    accepted, result = raw.send(raw.sequence, Kind.RUN)
    assert accepted.status == Status.ACCEPTED
    assert accepted.payload == b""
    assert result.payload == number(3) + number(1000)
    raw.sequence += 1
    read = raw.ask(Kind.READ, Y, 0, 16)
    assert read.payload == expected.astype("<i4").tobytes()


def test_a_repeated_run_is_not_run_again(raw: Raw) -> None:
    raw.write_inputs()
    first = raw.send(raw.sequence, Kind.RUN)
    for _ in range(3):
        assert raw.send(raw.sequence, Kind.RUN) == first[1:]
    raw.sequence += 1
    count = raw.runs()
    raw.write_inputs()
    raw.ask(Kind.RUN)
    assert raw.runs() == count + 1


def test_a_repeated_write_writes_nothing(raw: Raw) -> None:
    raw.write_inputs()
    raw.send(raw.sequence, Kind.WRITE, X, 0, b"\1")
    (again,) = raw.send(raw.sequence, Kind.WRITE, X, 0, b"\2")
    assert again.status == Status.OK
    raw.sequence += 1
    assert raw.ask(Kind.READ, X, 0, 1).payload == b"\1"


def test_requests_may_overtake_a_missing_one(raw: Raw) -> None:
    missing = raw.sequence
    for ahead in range(1, 32):
        (answer,) = raw.send(missing + ahead, Kind.WRITE, BIAS, ahead % 16, b"\5")
        assert answer.status == Status.OK
        (answer,) = raw.send(missing + ahead, Kind.PING)
        assert answer.status == Status.OK
    (answer,) = raw.send(missing + 32, Kind.PING)
    assert answer.status == Status.ORDER
    (answer,) = raw.send(missing, Kind.PING, b"late")
    assert answer.payload == b"late"
    raw.sequence = missing + 32
    assert raw.ask(Kind.PING).status == Status.OK


@pytest.mark.parametrize("kind", [Kind.RUN, Kind.RESET])
def test_a_run_waits_for_all_earlier_requests(raw: Raw, kind: Kind) -> None:
    expected = raw.write_inputs()
    (refused,) = raw.send(raw.sequence + 1, kind)
    assert refused.status == Status.ORDER
    raw.ask(Kind.PING)
    assert raw.ask(Kind.RUN).status == Status.OK
    assert raw.ask(Kind.READ, Y, 0, 16).payload == expected.astype("<i4").tobytes()


def test_a_number_can_not_be_used_for_another_run(raw: Raw) -> None:
    raw.write_inputs()
    raw.send(raw.sequence, Kind.RUN)
    (answer,) = raw.send(raw.sequence, Kind.RUN_THROUGH, 0, 1)
    assert answer.status == Status.ORDER
    (answer,) = raw.send(raw.sequence - 1, Kind.RUN)
    assert answer.status == Status.ORDER


def test_sequence_numbers_wrap(raw: Raw) -> None:
    for count in range(600):
        assert raw.ask(Kind.PING, count).payload == number(count)


def test_inputs_must_be_written_before_a_run(raw: Raw) -> None:
    answer = raw.ask(Kind.RUN)
    assert (answer.status, answer.detail) == (Status.INPUT_MISSING, X)
    raw.write(X, bytes(299))
    assert raw.ask(Kind.RUN).status == Status.INPUT_MISSING
    assert raw.ask(Kind.READ, X, 0, 1).status == Status.INPUT_MISSING
    assert raw.ask(Kind.WRITE, X, 299, b"\0").status == Status.OK
    answer = raw.ask(Kind.RUN_THROUGH, 2, 1)
    assert (answer.status, answer.detail) == (Status.INPUT_MISSING, BIAS)
    raw.write(BIAS, bytes(16))
    assert raw.ask(Kind.RUN).status == Status.OK


def test_an_input_that_a_run_overwrote_must_be_written_again(raw: Raw) -> None:
    raw.write_inputs()
    assert raw.ask(Kind.RUN).status == Status.OK
    answer = raw.ask(Kind.RUN)
    assert (answer.status, answer.detail) == (Status.INPUT_OVERWRITTEN, X)
    assert raw.ask(Kind.READ, BIAS, 0, 16).status == Status.OK
    raw.write(X, bytes(300))
    assert raw.ask(Kind.RUN).status == Status.OK


def test_a_write_ends_the_inference(raw: Raw) -> None:
    raw.write_inputs()
    raw.ask(Kind.RUN)
    raw.ask(Kind.WRITE, BIAS, 0, b"\0")
    answer = raw.ask(Kind.READ, Y, 0, 1)
    assert (answer.status, answer.detail) == (Status.NOT_YET, 0)
    assert raw.ask(Kind.READ, X, 0, 1).status == Status.INPUT_OVERWRITTEN


def test_holding_between_operators(raw: Raw) -> None:
    expected = raw.write_inputs()
    answer = raw.ask(Kind.RUN_THROUGH, 0, 1)
    assert answer.payload == number(1) + number(1000)
    assert raw.ask(Kind.READ, HALF, 0, 200).status == Status.OK
    answer = raw.ask(Kind.READ, SUMS, 0, 16)
    assert (answer.status, answer.detail) == (Status.NOT_YET, 1)
    answer = raw.ask(Kind.RUN_THROUGH, 0, 0)
    assert (answer.status, answer.detail) == (Status.STEP, 1)
    answer = raw.ask(Kind.RUN_THROUGH, 2, 0)
    assert answer.payload == number(3) + number(2000)
    answer = raw.ask(Kind.READ, HALF, 0, 1)
    assert (answer.status, answer.detail) == (Status.GONE, 3)
    assert raw.ask(Kind.READ, Y, 0, 16).payload == expected.astype("<i4").tobytes()
    answer = raw.ask(Kind.RUN_THROUGH, 0, 1)
    assert (answer.status, answer.detail) == (Status.INPUT_OVERWRITTEN, X)


@pytest.mark.parametrize(
    ("kind", "fields", "status"),
    [
        (Kind.TENSOR, (6,), Status.INDEX),
        (Kind.TENSOR, (0, 0), Status.LENGTH),
        (Kind.TENSOR, (), Status.LENGTH),
        (Kind.TENSOR, (b"\xff\xff\xff\xff\x1f",), Status.LENGTH),
        (Kind.TENSOR, (b"\x80\x80\x80\x80\x80\x00",), Status.LENGTH),
        (Kind.TENSOR, (b"\x80",), Status.LENGTH),
        (Kind.TENSOR, (0xFFFFFFFF,), Status.INDEX),
        (Kind.OPERATOR, (3,), Status.INDEX),
        (Kind.OPERATOR, (), Status.LENGTH),
        (Kind.LOOKUP, (0, 2), Status.INDEX),
        (Kind.LOOKUP, (1, 1), Status.INDEX),
        (Kind.LOOKUP, (2, 0), Status.INDEX),
        (Kind.LOOKUP, (0,), Status.LENGTH),
        (Kind.WRITE, (6, 0, b"x"), Status.INDEX),
        (Kind.WRITE, (Y, 0, b"x"), Status.NOT_INPUT),
        (Kind.WRITE, (X, 300, b"x"), Status.RANGE),
        (Kind.WRITE, (X, 299, b"xy"), Status.RANGE),
        (Kind.WRITE, (X, 0xFFFFFFFF, b"xy"), Status.RANGE),
        (Kind.WRITE, (X, 0), Status.RANGE),
        (Kind.WRITE, (X,), Status.LENGTH),
        (Kind.READ, (6, 0, 1), Status.INDEX),
        (Kind.READ, (X, 0, 0), Status.RANGE),
        (Kind.READ, (X, 0, 257), Status.RANGE),
        (Kind.READ, (X, 200, 101), Status.RANGE),
        (Kind.READ, (X, 0xFFFFFFFF, 2), Status.RANGE),
        (Kind.READ, (X, 0, 1, 0), Status.LENGTH),
        (Kind.RUN, (0,), Status.LENGTH),
        (Kind.RUN_THROUGH, (3, 1), Status.INDEX),
        (Kind.RUN_THROUGH, (0,), Status.LENGTH),
        (Kind.STACK, (0,), Status.LENGTH),
        (Kind.RESET, (0,), Status.LENGTH),
    ],
)
def test_bad_requests(
    raw: Raw, kind: Kind, fields: tuple[int | bytes, ...], status: Status
) -> None:
    raw.write_inputs()
    assert raw.ask(kind, *fields).status == status
    assert raw.ask(Kind.RUN).status == Status.OK


@pytest.mark.parametrize(
    ("fields", "status", "detail"),
    [
        ((1, NONCE), Status.VERSION, 2),
        ((300, NONCE, b"of a later version"), Status.VERSION, 2),
        ((2, b"abc"), Status.LENGTH, 0),
        ((2, NONCE), Status.LENGTH, 0),
        ((2, NONCE, 0, 0), Status.LENGTH, 0),
        ((2, bytes.fromhex("9d0ad96d"), 0), Status.NONCE, 0),
    ],
)
def test_bad_hellos(raw: Raw, fields: tuple[int | bytes, ...], status: Status, detail: int) -> None:
    (answer,) = raw.send(0, Kind.HELLO, *fields)
    assert (answer.status, answer.detail) == (status, detail)
    assert raw.ask(Kind.PING).status == Status.OK


def test_a_repeated_hello_changes_nothing(raw: Raw) -> None:
    raw.write_inputs()
    raw.send(0, Kind.HELLO, 2, NONCE, 3)
    assert raw.ask(Kind.RUN).status == Status.OK


def test_a_new_hello_forgets_the_inputs(raw: Raw) -> None:
    raw.write_inputs()
    raw.send(0, Kind.HELLO, 2, b"else", 3)
    raw.send(0, Kind.HELLO, 2, NONCE, 3)
    raw.sequence = 1
    assert raw.ask(Kind.RUN).status == Status.INPUT_MISSING


def events(server: Server, sent: bytes) -> list[int]:
    """Kinds of the plain packets that the server sends."""
    decoder = FrameDecoder()
    packets = decoder.feed(server.exchange(sent))
    return [packet.data[1] for packet in packets if isinstance(packet, Packet)]


def test_what_the_server_says_unasked(server: Server) -> None:
    server.start()
    ping = bytes([1, Kind.PING])
    assert events(server, b"") == [Kind.STARTED]
    assert events(server, b"") == []
    assert events(server, frame_encode(ping)) == [Kind.STARTED]
    assert events(server, frame_encode(ping, crc32(NONCE))) == []
    raw = Raw(server)
    raw.send(0, Kind.HELLO, 2, NONCE, 3)
    assert events(server, b"\0noise\0") == [Kind.DAMAGED]
    assert events(server, b"\0noise\0") == []
    raw.ask(Kind.PING)
    assert events(server, frame_encode(ping, crc32(b"else"))) == [Kind.DAMAGED]
    raw.ask(Kind.PING)
    assert events(server, frame_encode(ping)) == [Kind.DAMAGED]
    raw.ask(Kind.PING)
    assert events(server, b"\0" + b"\xff" * 1000 + b"\0") == [Kind.DAMAGED]
    assert raw.ask(Kind.RESET).status == Status.OK
    assert events(server, frame_encode(ping, crc32(NONCE))) == [Kind.STARTED]


def test_a_restart_is_said_again(server: Server) -> None:
    """To a host that still talks in its old session: the first time and every second."""
    server.start()
    events(server, b"")
    old = frame_encode(bytes([1, Kind.PING]), crc32(NONCE))
    heard = [events(server, old) for _ in range(300)]
    assert heard == [[Kind.STARTED], []] * 150


def test_damage_is_said_again(server: Server) -> None:
    """What was said may have got lost, and what was sent again damaged again."""
    raw = Raw(server)
    server.start()
    raw.send(0, Kind.HELLO, 2, NONCE, 3)
    heard = [events(server, b"\0noise\0") for _ in range(300)]
    assert heard == [[Kind.DAMAGED], []] * 150
    raw.ask(Kind.PING)
    assert events(server, b"\0noise\0") == [Kind.DAMAGED]


def test_an_echo_of_the_device_dies_out(server: Server) -> None:
    """As on a line that loops back: what the server says is no request."""
    server.start()
    data = server.exchange(b"")
    for _ in range(10):
        data = server.exchange(data)
    assert data == b""
    Raw(server).send(0, Kind.HELLO, 2, NONCE, 3)
    data = server.exchange(b"\0noise\0")
    for _ in range(10):
        data = server.exchange(data)
    assert data == b""


def test_the_stack_and_the_table(raw: Raw) -> None:
    assert raw.ask(Kind.STACK).payload == number(1234)
    assert raw.ask(Kind.OPERATOR, 2).payload == b"add"
    assert raw.ask(Kind.LOOKUP, 0, 1).payload == number(BIAS)
    assert raw.ask(Kind.LOOKUP, 1, 0).payload == number(Y)


def test_an_unknown_request_is_refused(raw: Raw) -> None:
    decoder = FrameDecoder()
    decoder.seed = crc32(NONCE)
    unknown = max(kind for kind in Kind if kind < 0x80) + 1
    (event,) = decoder.feed(raw.server.exchange(frame_encode(bytes([1, unknown]), decoder.seed)))
    assert event.data == bytes([1, 0x80 | unknown, Status.REQUEST & 0xFF, 0])


def test_what_comes_during_a_run_is_refused_and_not_executed(raw: Raw, server: Server) -> None:
    """Neither is what is repeated after the run: it is executed then."""
    expected = raw.write_inputs()
    first, write = raw.sequence, raw.sequence + 1
    seed = crc32(NONCE)
    packets = [
        bytes([first, Kind.RUN_THROUGH, 2, 1]),
        bytes([write - 2, Kind.WRITE, BIAS, 0, 99]),
        bytes([write, Kind.WRITE, BIAS, 0, 99]),
        bytes([write, Kind.RUN]),
    ]
    decoder = FrameDecoder()
    decoder.seed = seed
    events = decoder.feed(server.exchange(b"".join(frame_encode(p, seed)[1:] for p in packets)))
    answers = [parse_answer(event.data) for event in events if isinstance(event, Packet)]
    found = [(a[0], a[1].kind, a[1].status) for a in answers if a]
    assert sorted(found) == sorted([
        (first, Kind.RUN_THROUGH, Status.ACCEPTED),
        (write - 2, Kind.WRITE, Status.OK),
        (write, Kind.WRITE, Status.BUSY),
        (write, Kind.RUN, Status.BUSY),
        (first, Kind.RUN_THROUGH, Status.OK),
    ])  # fmt: skip
    assert raw.send(write + 1, Kind.READ, Y, 0, 16)[0].payload == expected.astype("<i4").tobytes()
    assert raw.send(write + 2, Kind.RUN)[0].status == Status.ORDER
    assert raw.send(write, Kind.WRITE, BIAS, 0, b"\x63")[0].status == Status.OK
    assert raw.send(write + 2, Kind.READ, BIAS, 0, 1)[0].payload == b"\x63"
