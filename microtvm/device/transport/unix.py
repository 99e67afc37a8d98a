"""`unix:PATH`: a Unix socket that someone listens on; and the listener to which an emulator
connects."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import monotonic

from microtvm.device.transport.base import CONNECT_TIMEOUT_S, Transport, split_options
from microtvm.device.transport.stream import SocketTransport
from microtvm.errors import LinkError, ToolError

LONGEST_PATH_BYTES = 103
"""The shortest `sun_path` of the systems in use is 104 bytes, with the final zero."""

ACCEPT_SLICE_S = 0.05


def open_url(rest: str) -> Transport:
    """Connects; LinkError if nobody listens there."""
    path, _ = split_options(f"unix:{rest}", rest, {})
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(CONNECT_TIMEOUT_S)
        connection.connect(path)
    except OSError as error:
        connection.close()
        raise LinkError(f"can't connect to unix:{path}: {error}") from error
    return SocketTransport(connection, f"unix:{path}")


class Listener:
    """A Unix socket in a folder of its own that waits for one connection: whoever connects can't
    come too early."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="mtvm")
        self.path = Path(self._folder.name) / "link"
        if len(str(self.path).encode()) > LONGEST_PATH_BYTES:
            self._folder.cleanup()
            raise ToolError(
                f"the path {self.path} is too long for a Unix socket",
                hint="set TMPDIR to a shorter path",
            )
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(str(self.path))
        self._socket.listen(1)

    def accept(self, name: str, timeout_s: float, check: Callable[[], None]) -> Transport:
        """The connection, as a transport called `name`; `check` is called while waiting and may
        raise.

        LinkError when nobody connects within `timeout_s`.
        """
        deadline_s = monotonic() + timeout_s
        self._socket.settimeout(ACCEPT_SLICE_S)
        while True:
            try:
                connection, _ = self._socket.accept()
            except TimeoutError:
                check()
                if monotonic() >= deadline_s:
                    raise LinkError(
                        f"{name} did not connect to its serial socket within {timeout_s:g} s"
                    ) from None
            else:
                return SocketTransport(connection, name)

    def close(self) -> None:
        """Closes the listening socket and removes its folder; an accepted connection stays."""
        self._socket.close()
        self._folder.cleanup()
