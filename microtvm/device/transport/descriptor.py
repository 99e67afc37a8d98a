"""File descriptors as transports; `pty.py` and `exec.py` make them."""

from __future__ import annotations

import os
import select
import time

from microtvm.device.transport.base import Transport, closed, timed_out


class DescriptorTransport(Transport):
    """Reads from one descriptor and writes to another (which may be the same); it owns both."""

    def __init__(self, read_fd: int, write_fd: int, name: str) -> None:
        self.name = name
        self._read_fd = read_fd
        self._write_fd = write_fd
        self._open = True
        for descriptor in self._descriptors():
            os.set_blocking(descriptor, False)

    def _descriptors(self) -> set[int]:
        return {self._read_fd, self._write_fd}

    def _wait(self, descriptor: int, event: int, timeout_s: float) -> bool:
        poll = select.poll()
        poll.register(descriptor, event)
        return bool(poll.poll(max(timeout_s, 0.0) * 1000))

    def read(self, limit_bytes: int, timeout_s: float) -> bytes:
        if not self._open:
            raise closed(self.name)
        if not self._wait(self._read_fd, select.POLLIN, timeout_s):
            raise timed_out(self.name, "nothing came", timeout_s)
        try:
            data = os.read(self._read_fd, limit_bytes)
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
            if not self._wait(self._write_fd, select.POLLOUT, deadline_s - time.monotonic()):
                raise timed_out(self.name, "can't write", timeout_s)
            try:
                rest = rest[os.write(self._write_fd, rest) :]
            except BlockingIOError:
                continue
            except OSError as error:
                raise closed(self.name, error.strerror) from error

    def close(self) -> None:
        if self._open:
            self._open = False
            for descriptor in self._descriptors():
                os.close(descriptor)
