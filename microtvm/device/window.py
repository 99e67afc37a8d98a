"""Which frame to send next: sequence numbers, the device's window, retransmission.

No input or output happens here. Every transmission that reaches the device whole gets one answer,
in order; so an answer to a later transmission, or the report of damage, tells which one was lost,
without waiting. What is lost often is sent in shorter pieces.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from microtvm.device.frame import frame_encode
from microtvm.device.piece import cut, data_bytes, join, of_piece, place
from microtvm.device.status import Status
from microtvm.device.wire import LARGEST_READ_BYTES, Answer, Kind, Request

MOST_IN_FLIGHT = 32
"""How far ahead of a missing request the device keeps track of others."""

FIRST_SEQUENCE = 1

SHORTEST_PIECE_BYTES = 16
"""Data is not cut into less: that is what arrives best where one byte in twenty is lost."""


@dataclass(eq=False)
class _Flight:
    index: int
    sequence: int
    request: Request
    frame: bytes
    answered: bool = False
    accepted: bool = False


@dataclass(eq=False)
class _Sent:
    flight: _Flight
    length: int
    lost: bool = False


class Window:
    """The requests of one session on their way. `submit` some, send what `next_frame` gives, report
    what arrives."""

    def __init__(self, window_bytes: int, seed: int, under_way: Sequence[bytes] = ()) -> None:
        """`seed` is the CRC of the session's nonce, `under_way` are frames of HELLO that may be
        still on their way."""
        self._window_bytes = window_bytes
        self._seed = seed
        self._sequence = FIRST_SEQUENCE
        self._piece_bytes = LARGEST_READ_BYTES
        self._waiting: deque[tuple[int, Request]] = deque()
        self._answers: list[list[tuple[int, Answer]]] = []
        self._missing: list[int] = []
        self._resetting = False
        self.answered = 0
        """How many of the requests are answered so far."""
        self.cancelling = False
        """Whether the present run has been asked to stop."""
        self._flights: dict[int, _Flight] = {}
        self._again: deque[_Flight] = deque()
        self._sent = deque(
            _Sent(_Flight(-1, 0, Request(Kind.HELLO), frame, answered=True), len(frame))
            for frame in under_way
        )
        self._reported = False
        self.retransmissions = 0
        """How many frames were sent again, since the session began."""

    def submit(self, requests: Sequence[Request]) -> None:
        """The next requests; all earlier ones are answered."""
        assert self.finished
        self._answers = []
        self._missing = []
        self._resetting = [request.kind for request in requests] == [Kind.RESET]
        self.answered = 0
        self.cancelling = False
        for request in requests:
            self._add(request)

    def _add(self, request: Request) -> None:
        self._waiting.append((len(self._answers), request))
        self._answers.append([])
        self._missing.append(1)

    def cancel(self) -> bool:
        """Asks the device to stop the run that it has accepted; its answer comes last. False where
        that has been asked already, or there is no run."""
        if not self.accepted or self.cancelling:
            return False
        self.cancelling = True
        self._add(Request(Kind.CANCEL))
        return True

    def on_progress(self, sequence: int) -> bool:
        """The device says that it executes the run of this number: it has accepted it, whether its
        answer has come or not. False where there is no such run."""
        flight = self._flights.get(sequence)
        if flight is None or flight.request.kind != Kind.RUN_THROUGH:
            return False
        flight.accepted = True
        return True

    @property
    def finished(self) -> bool:
        """Whether all requests are answered."""
        return not self._waiting and not self._flights

    @property
    def accepted(self) -> bool:
        """Whether the device is computing and will answer the one request in flight when it is
        done."""
        return any(flight.accepted for flight in self._flights.values())

    @property
    def answers(self) -> list[Answer]:
        """The answers, in the order of the requests, once `finished`."""
        return [
            pieces[0][1]
            if len(pieces) == 1
            else join([answer for _, answer in sorted(pieces, key=lambda piece: piece[0])])
            for pieces in self._answers
        ]

    def next_frame(self) -> bytes | None:
        """What to send now; None while the window is full or there is nothing to send."""
        while self._again and self._again[0].answered:
            self._again.popleft()
        if self._again:
            flight = self._again[0]
            self._shorten(flight)
            if not self._has_room(flight.frame):
                return None
            self._again.popleft()
            self.retransmissions += 1
        else:
            oldest = next(iter(self._flights), self._sequence)
            if not self._waiting or (self._sequence - oldest) % 256 >= MOST_IN_FLIGHT:
                return None
            index, request = self._waiting[0]
            flight = _Flight(index, self._sequence, request, b"")
            if data_bytes(request) > self._piece_bytes:
                self._waiting.popleft()
                flight.request = self._cut(index, request)
                self._waiting.appendleft((index, flight.request))
            self._encode(flight)
            if not self._has_room(flight.frame):
                return None
            self._waiting.popleft()
            self._flights[self._sequence] = flight
            self._sequence = (self._sequence + 1) % 256
        self._sent.append(_Sent(flight, len(flight.frame)))
        return flight.frame

    def _encode(self, flight: _Flight) -> None:
        packet = bytes([flight.sequence, flight.request.kind]) + flight.request.payload
        flight.frame = frame_encode(packet, self._seed)

    def _shorten(self, flight: _Flight) -> None:
        """A repetition is answered for what it asks, also where the device has executed the longer
        request; the rest, which may be executed then for the second time, moves the same data."""
        if data_bytes(flight.request) > self._piece_bytes:
            flight.request = self._cut(flight.index, flight.request)
            self._encode(flight)

    def _cut(self, index: int, request: Request) -> Request:
        """The first piece; the rest waits."""
        first, rest = cut(request, self._piece_bytes)
        self._waiting.appendleft((index, rest))
        self._missing[index] += 1
        return first

    def _has_room(self, frame: bytes) -> bool:
        used = sum(sent.length for sent in self._sent if not sent.lost)
        return used == 0 or used + len(frame) <= self._window_bytes

    def on_answer(self, sequence: int, answer: Answer) -> bool:
        """An answer arrived; whether it is news."""
        run = self._flights.get(sequence)
        is_run = run is not None and run.accepted and run.request.kind == answer.kind
        if run and is_run and answer.status != Status.ACCEPTED:
            # The result comes by itself: it is no transmission's answer.
            self._settle(run, answer)
            return True
        matching = [
            sent
            for sent in self._sent
            if sent.flight.sequence == sequence and sent.flight.request.kind == answer.kind
        ]
        if not matching:
            return False
        match = next((sent for sent in matching if not sent.lost), matching[-1])
        flight = match.flight
        self._reported = False
        while self._sent.popleft() is not match:
            pass
        news = False
        if answer.status == Status.ACCEPTED:
            news = not flight.accepted
            flight.accepted = True
        elif not flight.answered:
            news = True
            self._settle(flight, answer)
        for other in self._flights.values():
            if not other.accepted:
                self._send_again(other)
        return news

    def _settle(self, flight: _Flight, answer: Answer) -> None:
        flight.answered = True
        del self._flights[flight.sequence]
        index, count = flight.index, data_bytes(flight.request)
        if count:
            self._answers[index].append((place(flight.request), of_piece(flight.request, answer)))
        else:
            self._answers[index].append((0, answer))
        self._missing[index] -= 1
        self.answered += self._missing[index] == 0
        if count >= self._piece_bytes:
            self._piece_bytes = min(count + count // 2, LARGEST_READ_BYTES)

    def on_restart(self) -> bool:
        """The device says that it has started; whether it was asked to: that is its answer."""
        for flight in list(self._flights.values()) if self._resetting else ():
            self._settle(flight, Answer(Kind.RESET, Status.OK, b""))
        return self._resetting

    def on_damage(self) -> None:
        """The device says that a frame arrived damaged: the oldest one that nothing was heard of.
        A frame may be damaged so that it is reported twice, and takes no more room for it."""
        under_way = [sent for sent in self._sent if not sent.lost]
        if under_way and not self._reported:
            self._reported = True
            under_way[0].lost = True
            self._send_again(under_way[0].flight)
        else:
            self.on_noise()

    def on_noise(self) -> None:
        """Something arrived damaged: the answer to the oldest frame that nothing was heard of, or
        what the device said unasked. So it is sent again, and counts as well as before."""
        copies: dict[_Flight, int] = {}
        for sent in self._sent:
            if not sent.flight.answered:
                copies[sent.flight] = copies.get(sent.flight, 0) + (not sent.lost)
        for flight in self._flights.values():
            copies.setdefault(flight, 0)
        if copies:
            self._repeat(min(copies, key=copies.__getitem__))

    def on_silence(self) -> None:
        """Nothing has been heard for a while: nothing is under way any more, and the oldest request
        is tried again. A device that computes is only asked again, within its window."""
        waiting = [flight for flight in self._flights.values() if not flight.accepted]
        if not self.accepted:
            for sent in self._sent:
                sent.lost = True
        for flight in (waiting or list(self._flights.values()))[:1]:
            self._repeat(flight)

    def _send_again(self, flight: _Flight) -> None:
        """Unless it is under way."""
        if not any(sent.flight is flight and not sent.lost for sent in self._sent):
            self._repeat(flight)

    def _repeat(self, flight: _Flight) -> None:
        if flight.answered or flight in self._again:
            return
        self._again.append(flight)
        # What is sent from now on is half as long as what was lost.
        if count := data_bytes(flight.request):
            shorter = max(count // 2, SHORTEST_PIECE_BYTES)
            self._piece_bytes = min(self._piece_bytes, shorter)
