"""`lossy:drop=0.001&delay=0.01&seed=7:URL`: the stream of another URL over a bad line, to see what
an application does then."""

from __future__ import annotations

import math
import random
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, fields
from urllib.parse import parse_qsl

from microtvm.device.transport.base import Transport, TransportTimeout, timed_out
from microtvm.errors import UserError

LONGEST_SPAN_BYTES = 256
"""Of what is repeated or changes places at once: some frames are shorter."""


@dataclass(frozen=True)
class Rates:
    """What happens to which fraction of the bytes, each way."""

    drop: float = 0.0
    """They are lost."""
    flip: float = 0.0
    """One bit of them changes."""
    duplicate: float = 0.0
    """They come once more, in spans of up to LONGEST_SPAN_BYTES."""
    reorder: float = 0.0
    """They change places with what follows, in spans of up to LONGEST_SPAN_BYTES each."""
    delay: float = 0.0
    """They come late, and all that follows: by up to `delay_s`."""
    split: float = 0.0
    """They come apart from what is before them."""


KINDS = tuple(field.name for field in fields(Rates))


def _mean_span(kind: str) -> float:
    """How many bytes one event of a kind concerns."""
    one = (1 + LONGEST_SPAN_BYTES) / 2
    return {"duplicate": one, "reorder": 2 * one}.get(kind, 1.0)


class _Line:
    """One direction."""

    def __init__(self, rates: Rates, seed: str, delay_s: float, damage: Counter[str]) -> None:
        self._random = random.Random(seed)
        self._rates = {kind: getattr(rates, kind) / _mean_span(kind) for kind in KINDS}
        self._delay_s = delay_s
        self._damage = damage
        self._gaps = {kind: self._gap(kind) for kind in KINDS}

    def _gap(self, kind: str) -> float:
        """How many bytes pass until the next event: the geometric distribution."""
        rate = self._rates[kind]
        if rate <= 0:
            return math.inf
        return math.floor(math.log(1 - self._random.random()) / math.log1p(-rate))

    def carry(self, data: bytes) -> list[tuple[float, bytes]]:
        """What comes out, in pieces; how many seconds later than the piece before each comes."""
        pieces: list[tuple[float, bytes]] = []
        out = bytearray()
        later_s = 0.0
        at = 0
        while True:
            kind = min(KINDS, key=self._gaps.__getitem__)
            passed = min(self._gaps[kind], len(data) - at)
            self._pass(int(passed))
            out += data[at : at + int(passed)]
            at += int(passed)
            if at == len(data):
                break
            self._damage[kind] += 1
            if kind in ("delay", "split"):
                pieces.append((later_s, bytes(out)))
                out.clear()
                later_s = self._random.uniform(0, self._delay_s) if kind == "delay" else 0.0
                concerned = data[at : at + 1]
                out += concerned
            else:
                concerned, changed = self._change(kind, data[at:])
                out += changed
            at += len(concerned)
            self._pass(len(concerned))
            self._gaps[kind] = self._gap(kind)
        pieces.append((later_s, bytes(out)))
        return [piece for piece in pieces if piece[1] or piece[0]]

    def _pass(self, count: int) -> None:
        for kind in KINDS:
            self._gaps[kind] = max(self._gaps[kind] - count, 0)

    def _change(self, kind: str, data: bytes) -> tuple[bytes, bytes]:
        """What is taken from the front of `data`, and what comes instead."""
        if kind == "drop":
            return data[:1], b""
        if kind == "flip":
            return data[:1], bytes([data[0] ^ 1 << self._random.randrange(8)])
        first = data[: self._span()]
        if kind == "duplicate":
            return first, first + first
        second = data[len(first) : len(first) + self._span()]
        return first + second, second + first

    def _span(self) -> int:
        return self._random.randint(1, LONGEST_SPAN_BYTES)


class LossyTransport(Transport):
    """Damages what passes through another transport, which it owns; the same seed does the same
    to the same bytes in the same pieces."""

    def __init__(
        self,
        inner: Transport,
        rates: Rates,
        *,
        seed: int = 0,
        delay_s: float = 0.1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock` is what the inner transport's time-outs go by."""
        self.name = inner.name
        self.damage: Counter[str] = Counter()
        """How often each kind of damage was done."""
        self._inner = inner
        self._clock = clock
        self._there = _Line(rates, f"there {seed}", delay_s, self.damage)
        self._back = _Line(rates, f"back {seed}", delay_s, self.damage)
        self._going: deque[tuple[float, bytes]] = deque()
        self._coming: deque[tuple[float, bytes]] = deque()

    def read(self, limit_bytes: int, timeout_s: float) -> bytes:
        deadline_s = self._clock() + timeout_s
        while True:
            self._send(timeout_s)
            now_s = self._clock()
            if self._coming and self._coming[0][0] <= now_s:
                due_s, data = self._coming.popleft()
                if len(data) > limit_bytes:
                    self._coming.appendleft((due_s, data[limit_bytes:]))
                return data[:limit_bytes]
            until_s = min([deadline_s, *(queue[0][0] for queue in self._queues() if queue)])
            try:
                data = self._inner.read(limit_bytes, max(until_s - now_s, 0.0))
            except TransportTimeout:
                if self._clock() >= deadline_s:
                    raise timed_out(self.name, "nothing came", timeout_s) from None
            else:
                self._queue(self._coming, self._back.carry(data))

    def write(self, data: bytes, timeout_s: float) -> None:
        self._queue(self._going, self._there.carry(data))
        self._send(timeout_s)

    def _queues(self) -> tuple[deque[tuple[float, bytes]], ...]:
        return self._going, self._coming

    def _queue(self, queue: deque[tuple[float, bytes]], pieces: list[tuple[float, bytes]]) -> None:
        due_s = max([self._clock(), *(due_s for due_s, _ in list(queue)[-1:])])
        for later_s, piece in pieces:
            due_s += later_s
            if piece:
                queue.append((due_s, piece))

    def _send(self, timeout_s: float) -> None:
        """What is due; what is late goes with a later call."""
        while self._going and self._going[0][0] <= self._clock():
            self._inner.write(self._going.popleft()[1], timeout_s)

    def close(self) -> None:
        for queue in self._queues():
            queue.clear()
        self._inner.close()

    def death(self, grace_s: float) -> str | None:
        return self._inner.death(grace_s)

    def printed(self) -> str:
        return self._inner.printed()


def open_url(rest: str) -> Transport:
    """Opens the other URL; UserError for what is no rate below 1, no seed or no time.

    `delay_s` is the longest delay; the default is 0.1.
    """
    from microtvm.device.transport import open_transport

    query, _, url = rest.partition(":")
    given = dict(parse_qsl(query, keep_blank_values=True))
    known = (*KINDS, "seed", "delay_s")
    for key in given:
        if key not in known:
            raise UserError(
                f"lossy:{rest}: unknown option {key!r}", hint=f"known options: {', '.join(known)}"
            )
    try:
        seed = int(given.pop("seed", "0"))
        delay_s = float(given.pop("delay_s", "0.1"))
        rates = {kind: float(value) for kind, value in given.items()}
        if not (0 <= delay_s < math.inf and all(0 <= rate < 1 for rate in rates.values())):
            raise ValueError("a rate is 0 or more and below 1, a delay 0 or more")
    except ValueError as error:
        raise UserError(f"lossy:{rest}: {error}", hint="write lossy:drop=0.01&seed=1:URL") from None
    return LossyTransport(open_transport(url), Rates(**rates), seed=seed, delay_s=delay_s)
