"""Which frame to send next: sequence numbers, the device's window, retransmission.

No input or output happens here. Every transmission that reaches the device whole gets one answer,
in order; so an answer to a later transmission, or the report of damage, tells which one was lost,
without waiting.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from microtvm.device.frame import frame_encode
from microtvm.device.status import Status
from microtvm.device.wire import Answer, Kind, Request

MOST_IN_FLIGHT = 32
"""How far ahead of a missing request the device keeps track of others."""

FIRST_SEQUENCE = 1


@dataclass(eq=False)
class _Flight:
    index: int
    sequence: int
    kind: int
    frame: bytes
    answered: bool = False
    accepted: bool = False


@dataclass(eq=False)
class _Sent:
    flight: _Flight
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
        self._requests: list[Request] = []
        self._answers: list[Answer | None] = []
        self._begun = 0
        self.cancelling = False
        """Whether the present run has been asked to stop."""
        self._flights: dict[int, _Flight] = {}
        self._again: deque[_Flight] = deque()
        self._sent = deque(
            _Sent(_Flight(-1, 0, Kind.HELLO, frame, answered=True)) for frame in under_way
        )
        self.retransmissions = 0
        """How many frames were sent again, since the session began."""

    def submit(self, requests: Sequence[Request]) -> None:
        """The next requests; all earlier ones are answered."""
        assert self.finished
        self._requests = list(requests)
        self._answers = [None] * len(requests)
        self._begun = 0
        self.cancelling = False

    def cancel(self) -> bool:
        """Asks the device to stop the run that it has accepted; its answer comes last. False where
        that has been asked already, or there is no run."""
        if not self.accepted or self.cancelling:
            return False
        self.cancelling = True
        self._requests.append(Request(Kind.CANCEL))
        self._answers.append(None)
        return True

    def runs(self, sequence: int) -> bool:
        """Whether this is the number of the run that the device has accepted."""
        flight = self._flights.get(sequence)
        return flight is not None and flight.accepted

    @property
    def finished(self) -> bool:
        """Whether all requests are answered."""
        return self._begun == len(self._requests) and not self._flights

    @property
    def accepted(self) -> bool:
        """Whether the device is computing and will answer the one request in flight when it is
        done."""
        return any(flight.accepted for flight in self._flights.values())

    @property
    def answers(self) -> list[Answer]:
        """The answers, in the order of the requests, once `finished`."""
        return [answer for answer in self._answers if answer is not None]

    @property
    def answered(self) -> int:
        """How many requests are answered so far."""
        return self._begun - len(self._flights)

    def next_frame(self) -> bytes | None:
        """What to send now; None while the window is full or there is nothing to send."""
        while self._again and self._again[0].answered:
            self._again.popleft()
        if self._again:
            flight = self._again[0]
            if not self._has_room(flight.frame):
                return None
            self._again.popleft()
            self.retransmissions += 1
        else:
            if self._begun == len(self._requests):
                return None
            oldest = next(iter(self._flights), self._sequence)
            if (self._sequence - oldest) % 256 >= MOST_IN_FLIGHT:
                return None
            request = self._requests[self._begun]
            packet = bytes([self._sequence, request.kind]) + request.payload
            frame = frame_encode(packet, self._seed)
            if not self._has_room(frame):
                return None
            flight = _Flight(self._begun, self._sequence, request.kind, frame)
            self._flights[self._sequence] = flight
            self._sequence = (self._sequence + 1) % 256
            self._begun += 1
        self._sent.append(_Sent(flight))
        return flight.frame

    def _has_room(self, frame: bytes) -> bool:
        used = sum(len(sent.flight.frame) for sent in self._sent if not sent.lost)
        return used == 0 or used + len(frame) <= self._window_bytes

    def on_answer(self, sequence: int, answer: Answer) -> bool:
        """An answer arrived; whether it is news."""
        matching = [
            sent
            for sent in self._sent
            if sent.flight.sequence == sequence and sent.flight.kind == answer.kind
        ]
        if not matching:
            return False
        match = next((sent for sent in matching if not sent.lost), matching[-1])
        flight = match.flight
        if answer.status == Status.ACCEPTED:
            news = not flight.accepted
            flight.accepted = True
            return news
        while True:
            passed = self._sent.popleft()
            if passed is match:
                break
            if not passed.lost:
                self._send_again(passed.flight)
        if flight.answered:
            return False
        flight.answered = True
        del self._flights[sequence]
        self._answers[flight.index] = answer
        return True

    def on_restart(self) -> bool:
        """The device says that it has started; whether it was asked to: that is its answer."""
        if [request.kind for request in self._requests] != [Kind.RESET]:
            return False
        for flight in self._flights.values():
            flight.answered = True
            self._answers[flight.index] = Answer(Kind.RESET, Status.OK, b"")
        self._flights.clear()
        return True

    def on_damage(self) -> None:
        """A frame was damaged, on the way there or back: the oldest one that nothing was heard
        of."""
        for sent in self._sent:
            if not sent.lost:
                sent.lost = True
                self._send_again(sent.flight)
                return

    def on_silence(self) -> None:
        """Nothing has been heard for a while: no answer that would be of no use will come either. A
        device that computes is only asked again, within its window."""
        for sent in self._sent:
            sent.lost |= sent.flight.answered
        waiting = [flight for flight in self._flights.values() if not flight.accepted]
        if waiting:
            for sent in self._sent:
                sent.lost |= sent.flight is waiting[0]
        for flight in (waiting or list(self._flights.values()))[:1]:
            self._send_again(flight)

    def _send_again(self, flight: _Flight) -> None:
        under_way = any(sent.flight is flight and not sent.lost for sent in self._sent)
        if flight.accepted:
            under_way = False
        if not flight.answered and flight not in self._again and not under_way:
            self._again.append(flight)
