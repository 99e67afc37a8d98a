"""A boot loader that speaks STK500 version 1, as Arduino's do, behind a pseudo-terminal.

The protocol is Atmel's application note AVR061.
"""

from __future__ import annotations

import os
import pty
import threading
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

OK, IN_SYNC, END = 0x10, 0x14, 0x20
GET_SYNC, GET_PARAMETER, SET_DEVICE, SET_DEVICE_EXT = 0x30, 0x41, 0x42, 0x45
ENTER, LEAVE, LOAD_ADDRESS, UNIVERSAL = 0x50, 0x51, 0x55, 0x56
PROGRAM_PAGE, READ_PAGE, READ_SIGNATURE = 0x64, 0x74, 0x75

M328P = bytes([0x1E, 0x95, 0x0F])
FLASH_BYTES = 32768


@dataclass
class BootLoader:
    """What it holds, and what it was asked."""

    signature: bytes = M328P
    worn: bool = False
    """One bit of its flash comes out wrong."""
    flash: bytearray = field(default_factory=lambda: bytearray([0xFF]) * FLASH_BYTES)
    left: bool = False
    """The new program was started."""
    path: str = ""
    _address: int = 0
    _master: int = -1

    def _read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            data += os.read(self._master, count - len(data))
        return data

    def _answer(self, payload: bytes = b"") -> None:
        os.write(self._master, bytes([IN_SYNC]) + payload + bytes([OK]))

    def serve(self) -> None:
        """Answers until the terminal is closed."""
        try:
            while True:
                self._serve_one()
        except OSError:
            return

    def _serve_one(self) -> None:
        (command,) = self._read(1)
        if command == PROGRAM_PAGE:
            high, low, memory = self._read(3)
            data = self._read(high << 8 | low)
            assert memory == ord("F")
            assert self._read(1) == bytes([END])
            self.flash[self._address : self._address + len(data)] = data
            if self.worn and self._address == 0:
                self.flash[0] ^= 1
            self._answer()
            return
        lengths = {GET_PARAMETER: 1, SET_DEVICE: 20, LOAD_ADDRESS: 2, UNIVERSAL: 4, READ_PAGE: 3}
        length = self._read(1)[0] if command == SET_DEVICE_EXT else lengths.get(command, 0)
        body = self._read(length - (1 if command == SET_DEVICE_EXT else 0))
        assert self._read(1) == bytes([END])
        if command == LOAD_ADDRESS:
            # In words.
            self._address = 2 * int.from_bytes(body, "little")
            self._answer()
        elif command == READ_PAGE:
            count = body[0] << 8 | body[1]
            self._answer(bytes(self.flash[self._address : self._address + count]))
        elif command == READ_SIGNATURE:
            self._answer(self.signature)
        elif command in (GET_PARAMETER, UNIVERSAL):
            self._answer(b"\x03")
        else:
            self.left = self.left or command == LEAVE
            self._answer()


@contextmanager
def boot_loader(**facts: object) -> Iterator[BootLoader]:
    """One that answers at `path` for as long as the block lasts."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    board = BootLoader(**facts)  # type: ignore[arg-type]
    board.path, board._master = os.ttyname(slave), master
    thread = threading.Thread(target=board.serve, daemon=True)
    thread.start()
    try:
        yield board
    finally:
        os.close(slave)
        thread.join(2)
        os.close(master)
