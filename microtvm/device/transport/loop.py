"""`loop:`: what is written is read again; and pairs of streams in memory, for tests."""

from __future__ import annotations

import queue
import time

from microtvm.device.transport.base import Transport, closed, timed_out
from microtvm.errors import UserError


class LoopTransport(Transport):
    """Reads from one queue and writes to another; an empty chunk says that the writer closed."""

    def __init__(self, incoming: queue.Queue[bytes], outgoing: queue.Queue[bytes]) -> None:
        self.name = "loop:"
        self._incoming = incoming
        self._outgoing = outgoing
        self._rest = b""
        self._open = True
        self._ended = False

    def read(self, limit_bytes: int, timeout_s: float) -> bytes:
        deadline_s = time.monotonic() + timeout_s
        while self._open and not self._ended and not self._rest:
            try:
                self._rest = self._incoming.get(timeout=max(deadline_s - time.monotonic(), 1e-6))
            except queue.Empty:
                raise timed_out(self.name, "nothing came", timeout_s) from None
            self._ended = not self._rest
        if not self._open or self._ended:
            raise closed(self.name)
        data, self._rest = self._rest[:limit_bytes], self._rest[limit_bytes:]
        return data

    def write(self, data: bytes, timeout_s: float) -> None:
        if not self._open or self._ended:
            raise closed(self.name)
        if data:
            self._outgoing.put(bytes(data))

    def close(self) -> None:
        if self._open:
            self._open = False
            self._outgoing.put(b"")


def loop_pair() -> tuple[LoopTransport, LoopTransport]:
    """Two streams: what is written to one is read from the other, also by another thread."""
    there: queue.Queue[bytes] = queue.Queue()
    back: queue.Queue[bytes] = queue.Queue()
    return LoopTransport(back, there), LoopTransport(there, back)


def open_url(rest: str) -> Transport:
    """A stream that echoes."""
    if rest:
        raise UserError(f"loop:{rest}: nothing comes after loop:")
    echo: queue.Queue[bytes] = queue.Queue()
    return LoopTransport(echo, echo)
