"""A device that says anything: the host raises a MicrotvmError or gives a result, and never holds
more than it said it would, nor waits for longer."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from microtvm.device import Session, description
from microtvm.device.client import KEPT_TEXT_BYTES, Client, Timing
from microtvm.device.crash import parse_record
from microtvm.device.description import QUESTIONS_AT_ONCE
from microtvm.device.frame import (
    LONGEST_FRAME_BYTES,
    Damage,
    FrameDecoder,
    Packet,
    cobs_decode,
    cobs_encode,
    crc32,
    frame_encode,
)
from microtvm.device.transport import Transport, TransportTimeout
from microtvm.device.wire import (
    ANSWER,
    LARGEST_TENSOR_BYTES,
    Kind,
    Reader,
    number,
    parse_answer,
    parse_crash,
    parse_hello,
    parse_progress,
    parse_tensor,
)
from microtvm.errors import LinkError, MicrotvmError
from tests.device.harness import Clock

EXAMPLES = 80
LONGEST_S = 2000.0
"""Simulated: the longest silence of a run, twice, and what comes before it."""
MOST_BYTES = 40 << 20

TIMING = Timing(hello_s=5.0, answer_s=5.0, run_s=60.0)


class Liar(Transport):
    """Answers each frame with what a function makes of it; `flood` comes when nothing else does."""

    name = "liar"

    def __init__(self, clock: Clock, reply: Callable[[Packet], bytes], flood: bytes = b"") -> None:
        self._clock = clock
        self._reply = reply
        self.flood = flood
        self._decoder = FrameDecoder()
        self._waiting = b""

    def read(self, limit_bytes: int, timeout_s: float) -> bytes:
        if not self._waiting:
            self._clock.now_s += max(timeout_s, 1e-3)
            self._waiting = self.flood
        if not self._waiting:
            raise TransportTimeout("nothing")
        data, self._waiting = self._waiting[:limit_bytes], self._waiting[limit_bytes:]
        return data

    def write(self, data: bytes, timeout_s: float) -> None:
        for event in self._decoder.feed(data):
            assert isinstance(event, Packet)
            if event.data[1] == Kind.HELLO:
                self._decoder.seed = crc32(event.data[3:7])
            self._waiting += self._reply(event)

    def close(self) -> None:
        pass

    def frame(self, packet: bytes, *, plain: bool = False) -> bytes:
        return frame_encode(packet, 0 if plain else self._decoder.seed)


def answer(request: Packet, payload: bytes, status: int = 0) -> bytes:
    return bytes([request.data[0], request.data[1] | ANSWER, status]) + payload


def hello(request: Packet, *numbers: int, name: bytes = b"liar") -> bytes:
    fields = b"".join(number(value) for value in numbers)
    return answer(request, number(2) + request.data[3:7] + bytes(16) + fields + name)


HONEST = (256, 128, 256, 2, 1, 1, 1, 64, 1000, 15)


def use(clock: Clock, transport: Transport) -> None:
    """All that a session can be asked for; only a MicrotvmError may come of it."""
    calls: list[Callable[[Session], object]] = [
        lambda s: s.run({t.name: np.zeros(t.shape, t.dtype) for t in s.model.inputs}),
        lambda s: s.read(s.model.tensors[0].name if s.model.tensors else "none"),
        lambda s: s.profile(),
        Session.stack_peak,
        Session.ping,
        Session.reset,
    ]
    for call in calls:
        start_s = clock.now_s
        try:
            with Session(transport, timing=TIMING, clock=clock) as session:
                session.on_log(lambda text: None)
                session.on_progress(lambda name: None)
                call(session)
        except MicrotvmError:
            pass
        assert clock.now_s - start_s < LONGEST_S


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.binary(max_size=600))
@example(b"\0\x02\0" * 200)
@example(b"\0mtvm: fault pc=0000012c\0")
def test_any_bytes(data: bytes) -> None:
    clock = Clock()
    use(clock, Liar(clock, lambda _: data))
    clock = Clock()
    use(clock, Liar(clock, lambda _: b"", flood=data))


KINDS = st.sampled_from([*Kind, *(kind | ANSWER for kind in Kind if kind < ANSWER), 0, 255])
STATUSES = st.sampled_from([0, 0, 0, 1, 0xEC, 0xFA, 0x80, 77])
NUMBERS = st.one_of(
    st.integers(0, 8), st.sampled_from([127, 128, 255, 256, 65535, 65536, 1 << 30, (1 << 32) - 1])
)
PAYLOADS = st.one_of(
    st.binary(max_size=40),
    st.lists(NUMBERS, max_size=12).map(lambda values: b"".join(map(number, values))),
    st.just(number(1) + number(1) + number(4) + number(4) + bytes(4) + bytes(3) + b"x"),
    st.just(b"name"),
)


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.data())
def test_whole_packets_of_any_kind(data: st.DataObject) -> None:
    """What carries the session's CRC gets past the decoder."""
    clock = Clock()
    drawn = 0

    def reply(request: Packet) -> bytes:
        nonlocal drawn
        drawn += 1
        if drawn > 40:
            return b""
        if request.data[1] == Kind.HELLO and data.draw(st.integers(0, 4)):
            numbers = HONEST if data.draw(st.booleans()) else data.draw(st.tuples(*[NUMBERS] * 10))
            return liar.frame(hello(request, *numbers), plain=True)
        sent = b""
        for _ in range(data.draw(st.integers(0, 3))):
            kind = data.draw(st.one_of(st.just(request.data[1] | ANSWER), KINDS))
            sequence = data.draw(st.one_of(st.just(request.data[0]), st.integers(0, 255)))
            packet = bytes([sequence, kind, data.draw(STATUSES)]) + data.draw(PAYLOADS)
            sent += liar.frame(packet, plain=data.draw(st.integers(0, 3)) == 0)
        return sent

    liar = Liar(clock, reply)
    use(clock, liar)


@pytest.mark.parametrize(
    "event",
    [
        bytes([0, Kind.STARTED]),
        bytes([0, Kind.DAMAGED]),
        bytes([0, Kind.LOG]) + b"text",
        bytes([1, Kind.PROGRESS, 0]),
        bytes([1, Kind.PING | ANSWER, 1]),
        b"",
    ],
    ids=lambda event: event.hex() or "noise",
)
def test_what_never_stops_is_given_up(event: bytes) -> None:
    """Nothing that is no news keeps a request alive."""
    clock = Clock()
    flood = frame_encode(event) if event else b"\0\x05\0"

    def reply(request: Packet) -> bytes:
        if request.data[1] == Kind.HELLO:
            return liar.frame(hello(request, *HONEST), plain=True)
        return liar.frame(event) if event else b""

    liar = Liar(clock, reply, flood)
    with pytest.raises(MicrotvmError):
        Session(liar, timing=TIMING, clock=clock)
    assert clock.now_s < LONGEST_S


def test_a_run_that_never_ends_is_given_up() -> None:
    """The device says that it goes on, whatever it is asked."""
    clock = Clock()
    running = 0

    def reply(request: Packet) -> bytes:
        nonlocal running
        if request.data[1] == Kind.HELLO:
            said = hello(request, 256, 128, 256, 0, 0, 0, 1, 64, 0, 0)
            return liar.frame(said, plain=True)
        if request.data[1] == Kind.OPERATOR:
            return liar.frame(answer(request, b"endless"))
        if request.data[1] == Kind.RUN_THROUGH:
            running = request.data[0]
            liar.flood = liar.frame(bytes([running, Kind.PROGRESS, 0]))
            return liar.frame(answer(request, b"", 1))
        return b""

    liar = Liar(clock, reply)
    with Session(liar, timing=TIMING, clock=clock) as session:
        with pytest.raises(LinkError, match=r"within 30 s, and the device does not stop within"):
            session.run({}, timeout_s=30)
        assert 30 < clock.now_s < LONGEST_S


def test_text_is_not_hoarded() -> None:
    clock = Clock()
    client = Client(Liar(clock, lambda _: b"", b"\0" + b"text " * 500 + b"\0"), TIMING, clock=clock)
    with pytest.raises(LinkError, match="text text") as caught:
        client.hello()
    assert len(caught.value.message) < 2 * KEPT_TEXT_BYTES


class Storyteller(Liar):
    """A device with one tensor of as many bytes as it likes, which it gives out in pieces."""

    def __init__(self, clock: Clock, tensor_bytes: int, arena_bytes: int, read_bytes: int) -> None:
        super().__init__(clock, self._tell)
        self._sizes = tensor_bytes, arena_bytes, read_bytes

    def _tell(self, request: Packet) -> bytes:
        tensor_bytes, arena_bytes, read_bytes = self._sizes
        kind = request.data[1]
        if kind == Kind.HELLO:
            said = hello(request, 256, 128, read_bytes, 1, 0, 1, 0, arena_bytes, 0, 0)
            return self.frame(said, plain=True)
        if kind == Kind.TENSOR:
            rows = tensor_bytes // 65535 or 1
            shape = number(2) + number(rows) + number(tensor_bytes // rows)
            row = number(2) + shape + number(tensor_bytes) + bytes(4) + bytes(3) + b"x"
            return self.frame(answer(request, row))
        if kind == Kind.LOOKUP:
            return self.frame(answer(request, number(0)))
        return self.frame(answer(request, b"", 0xF0) if kind == Kind.READ else b"")


def test_a_tensor_is_in_the_arena() -> None:
    clock = Clock()
    with pytest.raises(LinkError, match=r"tensor x of 1000 bytes .* arena of 999"):
        Session(Storyteller(clock, 1000, 999, 1), clock=clock)
    Session(Storyteller(clock, 1000, 1000, 1), clock=clock).close()


def test_a_huge_tensor_costs_nothing_before_it_is_there() -> None:
    """The size is the device's word: a read that fails at once must not have made room for it."""
    clock = Clock()
    size = LARGEST_TENSOR_BYTES // 65535 * 65535
    with Session(Storyteller(clock, size, (1 << 32) - 1, 1), clock=clock) as session:
        tracemalloc.start()
        with pytest.raises(MicrotvmError):
            session.read("x")
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak_bytes < MOST_BYTES


def describing(clock: Clock, *counts: int, padding: int = 0) -> Liar:
    """A device with so many tensors, inputs, outputs and operators; names of tensors have so many
    bytes more."""

    def reply(request: Packet) -> bytes:
        kind = request.data[1]
        if kind == Kind.HELLO:
            said = hello(request, 256, 128, 256, *counts, 64, 0, 0)
            return liar.frame(said, plain=True)
        index = Reader(request.data[2:], "a request").number("index")
        row = number(1) + number(0) + number(1) + bytes(4) + bytes(3)
        payloads = {
            Kind.TENSOR: row + b"t%x" % index + b"x" * padding,
            Kind.OPERATOR: b"f%x" % index,
            Kind.LOOKUP: number(0),
        }
        return liar.frame(answer(request, payloads[Kind(kind)]))

    liar = Liar(clock, reply)
    return liar


def test_a_description_is_asked_for_in_parts() -> None:
    clock = Clock()
    count = 2 * QUESTIONS_AT_ONCE + 1
    with Session(describing(clock, count, 1, 1, count), timing=TIMING, clock=clock) as session:
        names = [tensor.name for tensor in session.model.tensors]
        assert names == [f"t{index:x}" for index in range(count)]
        assert list(session.operators) == [f"f{index:x}" for index in range(count)]


def test_an_answer_is_no_larger_than_what_is_asked_for() -> None:
    """65535 names of 60000 bytes would be 4 GB."""
    clock = Clock()
    liar = describing(clock, 65535, 0, 0, 0, padding=60000)
    tracemalloc.start()
    with pytest.raises(LinkError, match="tensor name is 't0x"):
        Session(liar, timing=TIMING, clock=clock)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < MOST_BYTES


def test_a_description_is_not_hoarded(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of a table together: exactly so much, and one byte more."""
    count = 2 * QUESTIONS_AT_ONCE
    counts = 0, 0, 0, count
    total = sum(len(f"f{index:x}") for index in range(count))
    assert total < description.LARGEST_DESCRIPTION_BYTES == 1 << 20
    monkeypatch.setattr(description, "LARGEST_DESCRIPTION_BYTES", total)
    clock = Clock()
    Session(describing(clock, *counts), timing=TIMING, clock=clock).close()
    monkeypatch.setattr(description, "LARGEST_DESCRIPTION_BYTES", total - 1)
    with pytest.raises(LinkError, match=f"description of its model has more than {total - 1} byte"):
        Session(describing(clock, *counts), timing=TIMING, clock=clock)


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(st.binary(max_size=300), max_size=8), st.integers(0, (1 << 32) - 1))
def test_the_decoder_takes_anything(parts: list[bytes], seed: int) -> None:
    """And gives the same, however the stream is cut."""
    whole, cut = FrameDecoder(), FrameDecoder()
    whole.seed = cut.seed = seed
    stream = b"".join(parts)
    together = whole.feed(stream)
    apart = [event for part in parts for event in cut.feed(part)]
    assert together == apart
    assert whole.partial == cut.partial
    assert sum(len(event.data) for event in together) <= len(stream)


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.binary(min_size=2, max_size=600), st.binary(max_size=100), st.integers(0, (1 << 32) - 1))
def test_a_frame_after_anything_arrives(packet: bytes, noise: bytes, seed: int) -> None:
    assert cobs_decode(cobs_encode(packet)) == packet
    decoder = FrameDecoder()
    decoder.seed = seed
    events = decoder.feed(noise + frame_encode(packet, seed))
    assert events[-1] == Packet(packet, plain=seed == 0)


def test_the_decoder_holds_no_more_than_it_says() -> None:
    decoder = FrameDecoder()
    for _ in range(50):
        assert decoder.feed(b"x" * LONGEST_FRAME_BYTES) == []
        assert len(decoder.partial) == LONGEST_FRAME_BYTES
    (event,) = decoder.feed(b"\0")
    assert event == Damage(b"x" * LONGEST_FRAME_BYTES)


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.one_of(st.binary(max_size=120), PAYLOADS))
def test_every_parser_takes_anything(data: bytes) -> None:
    for parse in (parse_answer, parse_hello, parse_progress, parse_tensor, parse_crash):
        try:
            parse(data)
        except LinkError:
            continue
    parse_record(data.decode("ascii", "replace"), ("one",), None)


def test_a_client_is_of_no_use_without_a_session() -> None:
    clock = Clock()
    client = Client(Liar(clock, lambda _: b""), TIMING, clock=clock)
    with pytest.raises(LinkError, match="no answer to the first request within 5 s"):
        client.hello()
    with pytest.raises(LinkError, match="the session did not begin"):
        client.exchange([], "asking")
