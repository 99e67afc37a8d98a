"""`serial:PORT?baud=115200`: a serial port, by pyserial; PORT is a path, `COM3`, or a URL of
pyserial's."""

from __future__ import annotations

from typing import Any

import serial

from microtvm.device.find import port_problem
from microtvm.device.transport.base import Transport, closed, split_options, timed_out
from microtvm.errors import LinkError, UserError

DEFAULT_BAUD = 115200


class SerialTransport(Transport):
    """An open port of pyserial's, which it owns."""

    def __init__(self, port: Any, name: str) -> None:
        self.name = name
        self._port = port

    def read(self, limit_bytes: int, timeout_s: float) -> bytes:
        if not self._port.is_open:
            raise closed(self.name)
        try:
            self._port.timeout = timeout_s
            data: bytes = self._port.read(1)
            if data and limit_bytes > 1:
                waiting = min(self._port.in_waiting, limit_bytes - 1)
                data += self._port.read(waiting) if waiting else b""
        except (serial.SerialException, OSError) as error:
            raise closed(self.name, error) from error
        if not data:
            raise timed_out(self.name, "nothing came", timeout_s)
        return data

    def write(self, data: bytes, timeout_s: float) -> None:
        if not self._port.is_open:
            raise closed(self.name)
        try:
            self._port.write_timeout = timeout_s
            self._port.write(data)
        except serial.SerialTimeoutException:
            raise timed_out(self.name, "can't write", timeout_s) from None
        except (serial.SerialException, OSError) as error:
            raise closed(self.name, error) from error

    def close(self) -> None:
        self._port.close()


def open_url(rest: str) -> Transport:
    """Opens the port, alone; UserError for a bad speed, LinkError if there is no such port or it is
    in use."""
    path, options = split_options(f"serial:{rest}", rest, {"baud": str(DEFAULT_BAUD)})
    baud = options["baud"]
    if not (baud.isascii() and baud.isdigit() and int(baud) > 0):
        raise UserError(f"serial:{rest}: {baud!r} is no speed in baud")
    try:
        port = serial.serial_for_url(path, baudrate=int(baud), exclusive=True)
    except (serial.SerialException, OSError, ValueError) as error:
        problem = port_problem(path)
        raise LinkError(
            f"can't open serial:{path}: {problem.message if problem else error}",
            hint=problem.hint
            if problem
            else "is the board plugged in, the port free, and this user in the group dialout?",
        ) from error
    return SerialTransport(port, f"serial:{path}")
