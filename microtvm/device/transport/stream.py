"""Sockets as transports; `tcp.py` and `unix.py` make them."""

from __future__ import annotations

import socket
import time

from microtvm.device.transport.base import Transport, closed, timed_out


class SocketTransport(Transport):
    """A connected stream socket, which it owns."""

    def __init__(self, connection: socket.socket, name: str) -> None:
        self.name = name
        self._socket = connection
        self._open = True

    def read(self, limit_bytes: int, timeout_s: float) -> bytes:
        if not self._open:
            raise closed(self.name)
        try:
            self._socket.settimeout(timeout_s)
            data = self._socket.recv(limit_bytes)
        except (TimeoutError, BlockingIOError):
            raise timed_out(self.name, "nothing came", timeout_s) from None
        except OSError as error:
            raise closed(self.name, error.strerror) from error
        if not data:
            raise closed(self.name)
        return data

    def write(self, data: bytes, timeout_s: float) -> None:
        if not self._open:
            raise closed(self.name)
        deadline_s = time.monotonic() + timeout_s
        rest = memoryview(data)
        while rest:
            try:
                self._socket.settimeout(max(deadline_s - time.monotonic(), 0.0))
                rest = rest[self._socket.send(rest) :]
            except (TimeoutError, BlockingIOError):
                raise timed_out(self.name, "can't write", timeout_s) from None
            except OSError as error:
                raise closed(self.name, error.strerror) from error

    def close(self) -> None:
        self._open = False
        self._socket.close()
