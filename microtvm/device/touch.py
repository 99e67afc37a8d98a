"""Resets boards with a USB port of their own into their boot loader, as Arduino's tools do."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import serial

from microtvm.device.find import Port, list_ports, of_board
from microtvm.errors import LinkError
from microtvm.target import Board

TOUCH_S = 8.0
"""How long a board has to appear anew after its port was opened at 1200 baud."""

TOUCH_BAUD = 1200

_POLL_S = 0.1


def touch(board: Board, port: Port, *, wait_s: float = TOUCH_S) -> Port:
    """Opens the port at 1200 baud, upon which boards with a USB port of their own enter their boot
    loader; the port that the board has then.

    One that was in its boot loader already keeps its port. LinkError if the port went and no other
    came.
    """
    before = list_ports()
    open_at_1200(port)
    deadline_s = time.monotonic() + wait_s
    gone = False
    while time.monotonic() < deadline_s:
        now = list_ports()
        fresh = [each for each in of_board(board, now) if each not in before]
        if fresh:
            return fresh[0]
        here = [each for each in now if each.device == port.device]
        if here and gone:
            return here[0]
        gone = gone or not here
        time.sleep(_POLL_S)
    if gone:
        raise LinkError(
            f"board {board.name} left {port.device} for its boot loader, and did not come back",
            hint="press reset twice, quickly, and flash again",
        )
    return port


def open_at_1200(port: Port) -> None:
    """Opens the port and closes it; LinkError if it is in use."""
    try:
        opened = serial.Serial(port.device, TOUCH_BAUD)
        opened.dtr = False
        opened.close()
    except (serial.SerialException, OSError) as error:
        # It may be gone by the time that it is closed: that is what was wanted.
        if Path(port.device).exists() or sys.platform == "win32":
            raise LinkError(
                f"can't open {port.device} to reset the board: {error}",
                hint="close the serial monitor that has it; or press reset twice, quickly",
            ) from error
