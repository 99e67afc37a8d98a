"""Serial ports of boards: found by USB ids, told apart by serial numbers, and what keeps one from
being opened."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from serial.tools import list_ports as pyserial_ports

from microtvm.errors import LinkError, MicrotvmError, UserError
from microtvm.target import Board, UsbId

USB_DEVICES = Path("/sys/bus/usb/devices")
PROCESSES = Path("/proc")

_CABLE = "is it plugged in, with a cable that carries data and not only power?"

# A braille display's driver takes this bridge's ports away, as Ubuntu ships it.
_CH340 = 0x1A86


@dataclass(frozen=True)
class Port:
    """A serial port of this machine."""

    device: str
    """What opens it: `/dev/ttyACM0`, `COM3`."""
    usb: UsbId | None = None
    """Of the USB device behind it; None for a port that is on no USB."""
    serial_number: str = ""
    """Of the USB device; empty if it has none."""
    description: str = ""
    """What the device calls itself."""

    def __str__(self) -> str:
        facts = [str(self.usb) if self.usb else "not USB", self.description]
        if self.serial_number:
            facts.append(f"serial number {self.serial_number}")
        return f"{self.device} ({', '.join(fact for fact in facts if fact)})"


def list_ports() -> list[Port]:
    """All serial ports, those on USB first, by name."""
    found = [
        Port(
            device=each.device,
            usb=None if each.vid is None or each.pid is None else UsbId(each.vid, each.pid),
            serial_number=each.serial_number or "",
            description=each.product or (each.description or "").replace("n/a", ""),
        )
        for each in pyserial_ports.comports()
    ]
    return sorted(found, key=lambda port: (port.usb is None, port.device))


def of_board(board: Board, ports: Iterable[Port]) -> list[Port]:
    """Those of the ports whose USB ids are the board's."""
    return [port for port in ports if port.usb in board.usb]


def find_port(board: Board, *, port: str = "", serial_number: str = "") -> Port:
    """The board's serial port.

    `port` names it, or `serial_number` is that of its USB device; without either it is the only one
    of the board's USB ids. LinkError if there is none, UserError for a choice that doesn't exist or
    has to be made.
    """
    ports = list_ports()
    if port:
        return _named(board, port, ports)
    found = of_board(board, ports) if board.usb else []
    if serial_number:
        chosen = [each for each in ports if each.serial_number == serial_number]
        found = [each for each in chosen if each in found] or chosen
        if not found:
            raise UserError(
                f"there is no serial port of a device with the serial number {serial_number}",
                hint=_plugged_in(ports),
            )
    if len(found) == 1:
        return found[0]
    if found:
        raise _several(board, found)
    if not board.usb:
        raise UserError(
            f"which serial port is board {board.name}'s? Its file has no USB ids",
            hint=f"add --port PORT; {_plugged_in(ports)}",
        )
    raise _missing(board, ports)


def _named(board: Board, name: str, ports: Sequence[Port]) -> Port:
    for each in ports:
        if each.device == name:
            return each
    # A URL of pyserial's, such as rfc2217://host:port.
    if "://" in name:
        return Port(name)
    path = Path(name)
    if not path.exists() and sys.platform != "win32":
        raise UserError(
            f"there is no serial port {name}",
            hint=_plugged_in(of_board(board, ports) or ports),
        )
    real = os.path.realpath(name)
    for each in ports:
        if each.device == real:
            return each
    return Port(name)


def _several(board: Board, found: Sequence[Port]) -> UserError:
    numbers = {each.serial_number for each in found}
    one = len(numbers) == 1 and "" not in numbers
    what = f"one device has {len(found)} serial ports" if one else f"there are {len(found)} of them"
    return UserError(
        f"which one is board {board.name}? {what}:\n" + "\n".join(f"  {each}" for each in found),
        hint="choose with --port" + ("" if one else " or --serial-number"),
    )


def _missing(board: Board, ports: Sequence[Port]) -> LinkError:
    ids = " or ".join(str(usb) for usb in board.usb)
    present = next((usb for usb in board.usb if _on_the_bus(usb)), None)
    if present is None:
        return LinkError(
            f"board {board.name} was not found: no serial port of a USB device {ids}",
            hint=f"{_CABLE} {_plugged_in(ports)}",
        )
    hint = (
        "is the driver brltty installed? It takes this device away: apt-get remove brltty"
        if present.vendor == _CH340
        else "its driver (cdc_acm, ftdi_sio, cp210x) may be missing, "
        "or the board waits in its bootloader: press reset"
    )
    return LinkError(
        f"board {board.name} is plugged in ({present}), but has no serial port", hint=hint
    )


def _plugged_in(ports: Sequence[Port]) -> str:
    shown = [each for each in ports if each.usb is not None] or ports
    if not shown:
        return "there are no serial ports at all"
    return "there are: " + "; ".join(str(each) for each in shown)


def _on_the_bus(usb: UsbId) -> bool:
    """Whether such a device is plugged in, as Linux tells."""
    for folder in USB_DEVICES.glob("*"):
        try:
            ids = [int((folder / f"id{kind}").read_text(), 16) for kind in ("Vendor", "Product")]
        except (OSError, ValueError):
            continue
        if ids == [usb.vendor, usb.product]:
            return True
    return False


def holders(device: str) -> list[str]:
    """The programs of this user that have the port open, each with its process id."""
    real = os.path.realpath(device)
    found = []
    for folder in PROCESSES.glob("[0-9]*"):
        if folder.name == str(os.getpid()):
            continue
        try:
            opened = {str(link.readlink()) for link in (folder / "fd").iterdir()}
            name = (folder / "comm").read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            continue
        if real in opened:
            found.append(f"{name} (process {folder.name})")
    return found


def port_problem(device: str) -> MicrotvmError | None:
    """What keeps the port from being used, as far as can be seen without opening it, which would
    reset some boards; None if nothing does."""
    path = Path(device)
    if "://" in device or sys.platform == "win32":
        return None
    if not path.exists():
        return LinkError(f"the port {device} is gone", hint=_CABLE)
    if not os.access(path, os.R_OK | os.W_OK):
        group = _group(path)
        return LinkError(
            f"this user may not open the port {device}: it belongs to the group {group}",
            hint=f"sudo usermod -a -G {group} $USER, then log out and in again",
        )
    programs = holders(device)
    if programs:
        return LinkError(
            f"the port {device} is in use by {' and '.join(programs)}",
            hint="close the serial monitor or session that has it",
        )
    return None


def _group(path: Path) -> str:
    try:
        return path.group()
    except (KeyError, OSError, NotImplementedError):
        return "dialout"
