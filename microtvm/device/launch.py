"""Ways to open a session: a URL, a process of the host, an emulator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from microtvm.device.client import Timing
from microtvm.device.process import Process
from microtvm.device.session import Session
from microtvm.device.transport import Transport, open_transport
from microtvm.device.transport.exec import ExecTransport
from microtvm.device.transport.unix import Listener
from microtvm.errors import DeviceError, UserError

CONNECT_S = 20.0
"""How long an emulator has to connect to its serial socket."""

SERIAL_PLACEHOLDER = "{serial}"


def open_session(
    url: str,
    metadata: Path | Mapping[str, Any] | None = None,
    *,
    elf: Path | None = None,
    timing: Timing | None = None,
) -> Session:
    """A session over a URL such as `serial:/dev/ttyACM0?baud=115200`; see `Session` for what it
    raises."""
    return Session(open_transport(url), metadata, elf=elf, timing=timing)


def open_process(
    argv: Sequence[str],
    metadata: Path | Mapping[str, Any] | None = None,
    *,
    elf: Path | None = None,
    timing: Timing | None = None,
) -> Session:
    """A session with a host process that has its link on standard input and output; the session
    reaps it."""
    return Session(ExecTransport(argv), metadata, elf=elf, timing=timing)


def open_emulator(
    argv: Sequence[str],
    metadata: Path | Mapping[str, Any] | None = None,
    *,
    elf: Path | None = None,
    timing: Timing | None = None,
) -> Session:
    """A session with an emulator, which it starts and reaps.

    One or more words of `argv` have the placeholder `{serial}`, for QEMU's name of the character
    device behind the target's UART. Raises ToolError when the program is missing, DeviceError when
    it ends at once, and what Session raises.
    """
    return Session(EmulatorTransport(argv), metadata, elf=elf, timing=timing)


class EmulatorTransport(Transport):
    """The UART of an emulator's target. The emulator connects to a socket that already listens: no
    race."""

    def __init__(self, argv: Sequence[str], *, connect_s: float = CONNECT_S) -> None:
        if not any(SERIAL_PLACEHOLDER in word for word in argv):
            raise UserError(
                f"the emulator's command lacks the placeholder {SERIAL_PLACEHOLDER}: "
                f"{' '.join(argv)}"
            )
        listener = Listener()
        try:
            serial = f"unix:{listener.path}"
            process = Process([word.replace(SERIAL_PLACEHOLDER, serial) for word in argv])
            try:
                self._stream = listener.accept(process.name, connect_s, lambda: _check(process))
            except BaseException:
                process.close()
                raise
        finally:
            listener.close()
        self.name = process.name
        self.process = process

    def read(self, limit_bytes: int, timeout_s: float) -> bytes:
        return self._stream.read(limit_bytes, timeout_s)

    def write(self, data: bytes, timeout_s: float) -> None:
        self._stream.write(data, timeout_s)

    def close(self) -> None:
        self.process.close()
        self._stream.close()

    def death(self, grace_s: float) -> str | None:
        return self.process.death(grace_s)

    def printed(self) -> str:
        return self.process.printed()


def _check(process: Process) -> None:
    death = process.death(0.0)
    if death:
        raise DeviceError(f"{death} before it connected; it printed:\n{process.printed()}")
