"""Sockets as transports; `tcp.py` and `unix.py` make them."""

from __future__ import annotations

import select
import socket
import time

from microtvm.device.transport.base import Transport, closed, timed_out


class SocketTransport(Transport):
    """A connected stream socket, which it owns."""

    def __init__(self, connection: socket.socket, name: str) -> None:
        self.name = name
        self._socket = connection
        self._open = True
        connection.setblocking(False)
        self._readable = select.poll()
        self._readable.register(connection, select.POLLIN)
        self._writable = select.poll()
        self._writable.register(connection, select.POLLOUT)

    def read(self, limit_bytes: int, timeout_s: float) -> bytes:
        if not self._open:
            raise closed(self.name)
        try:
            self._readable.poll(timeout_s * 1000)
            data = self._socket.recv(limit_bytes)
        except BlockingIOError:
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
                rest = rest[self._socket.send(rest) :]
            except BlockingIOError:
                left_s = deadline_s - time.monotonic()
                if left_s <= 0.0:
                    raise timed_out(self.name, "can't write", timeout_s) from None
                self._writable.poll(left_s * 1000)
            except OSError as error:
                raise closed(self.name, error.strerror) from error

    def close(self) -> None:
        self._open = False
        self._socket.close()
