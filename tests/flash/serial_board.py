"""A board behind a serial port: a pseudo-terminal, and a program that a flash tool puts there."""

from __future__ import annotations

import os
import pty
import subprocess
import threading
import tty
from pathlib import Path
from types import TracebackType
from typing import Self

from microtvm.target import UsbId

LOOK_S = 0.02


class SerialBoard:
    """It runs whatever is put into its flash, with the terminal as standard input and output;
    until then it is silent."""

    usb = UsbId(0x0483, 0x374B)

    def __init__(self, flash: Path) -> None:
        self._flash = flash
        self._master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        self.port = os.ttyname(self._slave)
        self._program: subprocess.Popen[bytes] | None = None
        self._off = threading.Event()
        self._thread = threading.Thread(target=self._live, daemon=True)

    def copy_command(self, elf: str) -> str:
        """Python that puts an image into the flash, whole."""
        part, whole = f"{self._flash}.part", str(self._flash)
        return f"import shutil; shutil.copy({elf!r}, {part!r}); os.replace({part!r}, {whole!r})"

    def _live(self) -> None:
        held = 0
        while not self._off.wait(LOOK_S):
            found = self._flash.stat().st_ino if self._flash.exists() else 0
            if found != held:
                held = found
                self._stop()
                self._program = subprocess.Popen(
                    [str(self._flash)], stdin=self._master, stdout=self._master
                )

    def _stop(self) -> None:
        if self._program is not None:
            self._program.kill()
            self._program.wait()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._off.set()
        self._thread.join()
        self._stop()
        os.close(self._master)
        os.close(self._slave)
