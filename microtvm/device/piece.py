"""Requests that move data, cut into shorter ones: on a bad line short frames arrive more often."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from microtvm.device.status import Status
from microtvm.device.wire import Answer, Kind, Reader, Request, number

_MOVING = frozenset({Kind.WRITE, Kind.READ})


def data_bytes(request: Request) -> int:
    """How much data a WRITE or a READ moves; 0 for any other request."""
    return _taken_apart(request)[2] if request.kind in _MOVING else 0


def cut(request: Request, first_bytes: int) -> tuple[Request, Request]:
    """The same data (more than `first_bytes` > 0) moved by two requests, `first_bytes` by the
    first one."""
    tensor, offset, count, data = _taken_apart(request)
    assert 0 < first_bytes < count
    pieces = []
    for start, end in ((0, first_bytes), (first_bytes, count)):
        place = number(tensor) + number(offset + start)
        rest = data[start:end] if request.kind == Kind.WRITE else number(end - start)
        pieces.append(Request(request.kind, place + rest))
    return pieces[0], pieces[1]


def of_piece(request: Request, answer: Answer) -> Answer:
    """What of an answer is for this request, where it may be that to the longer one that began at
    the same place."""
    if request.kind != Kind.READ or answer.status != Status.OK:
        return answer
    return replace(answer, payload=answer.payload[: data_bytes(request)])


def join(answers: Sequence[Answer]) -> Answer:
    """The answer to a request whose pieces were answered so, in the order of their places: the
    first error, or all data."""
    for answer in answers:
        if answer.status != Status.OK:
            return answer
    return replace(answers[0], payload=b"".join(answer.payload for answer in answers))


def place(request: Request) -> int:
    """The offset of a WRITE or a READ within its tensor; 0 for any other request."""
    return _taken_apart(request)[1]


def _taken_apart(request: Request) -> tuple[int, int, int, bytes]:
    """Tensor, offset, how much data, and what of it the request has."""
    if request.kind not in _MOVING:
        return 0, 0, 0, b""
    reader = Reader(request.payload, request.kind.name)
    tensor, offset = reader.number("tensor"), reader.number("offset")
    if request.kind == Kind.READ:
        return tensor, offset, reader.number("count"), b""
    data = reader.rest("data", len(request.payload))
    return tensor, offset, len(data), data
