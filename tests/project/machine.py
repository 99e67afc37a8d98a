"""An emulated board on the other end of a socket, without the driver: bytes out, bytes in."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from microtvm.target import Board

_WAIT_S = 10.0


class Machine:
    """Runs an image; QEMU connects to a socket that listens already, so nothing is lost."""

    def __init__(self, board: Board, elf: Path, folder: Path) -> None:
        assert board.emulator is not None
        path = folder / "serial"
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen(1)
            listener.settimeout(_WAIT_S)
            self._process = subprocess.Popen(
                board.emulator.command(elf, f"unix:{path}"),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
            self._link, _ = listener.accept()
        self._link.settimeout(0.05)
        self._pending = b""
        self._ended = False

    def __enter__(self) -> Machine:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._link.close()
        self._process.kill()
        self._process.communicate()

    def send(self, data: bytes) -> None:
        """All of `data`, which must be little enough for the socket's buffer."""
        self._link.sendall(data)

    def receive(self, size: int) -> bytes:
        """Exactly `size` bytes, or fewer if they don't come."""
        return self._receive(lambda: size if len(self._pending) >= size else 0, size)

    def receive_until(self, end: bytes) -> bytes:
        """What comes up to and with `end`, or all that comes if it doesn't."""

        def complete() -> int:
            at = self._pending.find(end)
            return at + len(end) if at >= 0 else 0

        return self._receive(complete)

    def wake(self) -> None:
        """Sends until something comes back: a start or a reset loses what arrives meanwhile."""
        deadline = time.monotonic() + _WAIT_S
        while not self._fill() and time.monotonic() < deadline:
            self.send(b"?")
        while self._fill():
            pass
        self._pending = b""

    def _receive(self, complete: Callable[[], int], most: int | None = None) -> bytes:
        """Reads until `complete` gives a number of bytes, and takes them."""
        deadline = time.monotonic() + _WAIT_S
        while not complete() and time.monotonic() < deadline and not self._ended:
            self._fill()
        taken = complete() or most or len(self._pending)
        found, self._pending = self._pending[:taken], self._pending[taken:]
        return found

    def _fill(self) -> bool:
        """Whether anything came within the socket's time-out."""
        try:
            data = self._link.recv(4096)
        except TimeoutError:
            return False
        self._ended = not data
        self._pending += data
        return bool(data)
