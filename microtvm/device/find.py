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
from microtvm.target.bridge import CLASS_DRIVER, find_bridge

USB_DEVICES = Path("/sys/bus/usb/devices")
PROCESSES = Path("/proc")

_CABLE = "is it plugged in, with a cable that carries data and not only power?"


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
    location: str = ""
    """Where on the bus the device is, e.g. `1-4.2`; empty where the system doesn't tell."""

    @property
    def socket(self) -> str:
        """The device's place on the bus without the interface that the port is of: all ports of one
        device have the same, and no two devices do."""
        return self.location.partition(":")[0]

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
            location=each.location or "",
        )
        for each in pyserial_ports.comports()
    ]
    return sorted(found, key=lambda port: (port.usb is None, port.device))


def of_board(board: Board, ports: Iterable[Port]) -> list[Port]:
    """Those of the ports whose USB ids are the board's, its boot loader's too."""
    return [port for port in ports if port.usb in board.usb_ids]


def find_port(
    board: Board, *, port: str = "", serial_number: str = "", platform: str | None = None
) -> Port:
    """The board's serial port: the link of a platform's projects, or, without a platform, any that
    an image may be taken at.

    `port` names it, or `serial_number` is that of its USB device; without either it is the only one
    of the board's USB ids. LinkError if there is none, UserError for a choice that doesn't exist or
    has to be made.
    """
    ports = list_ports()
    if port:
        return _named(board, port, ports)
    ids = board.usb_ids if platform is None else board.link_usb(platform)
    found = [each for each in ports if each.usb in ids]
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
    if not ids:
        raise _unknown(board, platform or "", ports)
    raise _missing(board, ids, ports)


def _unknown(board: Board, platform: str, ports: Sequence[Port]) -> UserError:
    """Nothing tells which port it is."""
    uart = board.uart
    at = f", {uart.baud} baud" if uart and uart.baud else ""
    if uart is not None and board.on_pins(platform):
        return UserError(
            f"which serial port is board {board.name}'s? Its link for {platform} is the UART "
            f"{uart}, which no USB socket of the board leads to",
            hint=f"connect a serial adapter to {uart.pins or uart.name}{at}, and give its port "
            f"with --port PORT; {_plugged_in(ports)}",
        )
    link = f"; its link is the UART {uart}{at}" if uart and uart.name else ""
    return UserError(
        f"which serial port is board {board.name}'s? Its file has no USB ids{link}",
        hint=f"add --port PORT; {_plugged_in(ports)}",
    )


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
    devices = count_devices(found)
    one = devices == 1
    what = f"one device has {len(found)} serial ports" if one else f"there are {len(found)} of them"
    # Numbers that a maker has given twice tell nothing apart.
    told = len({each.serial_number for each in found}) == devices
    return UserError(
        f"which one is board {board.name}? {what}:\n"
        + "\n".join(f"  {each}{'' if one or told else _place(each)}" for each in found),
        hint="choose with --port" + (" or --serial-number" if told and not one else ""),
    )


def _place(port: Port) -> str:
    return f", plugged in at {port.socket}" if port.socket else ""


def count_devices(ports: Iterable[Port]) -> int:
    """How many USB devices the ports are of. Without a place on the bus, ports of one serial number
    are taken for one device's, and each without a number for its own."""
    return len(
        {
            (port.socket or port.serial_number or port.device, port.serial_number, port.usb)
            for port in ports
        }
    )


def _missing(board: Board, wanted: Sequence[UsbId], ports: Sequence[Port]) -> LinkError:
    ids = " or ".join(str(usb) for usb in wanted)
    present = next((usb for usb in wanted if _on_the_bus(usb)), None)
    if present is None:
        return LinkError(
            f"board {board.name} was not found: no serial port of a USB device {ids}",
            hint=f"{_CABLE} {_plugged_in(ports)}",
        )
    bridge = find_bridge(present.vendor)
    hint = bridge.problem if bridge is not None else ""
    return LinkError(
        f"board {board.name} is plugged in ({present}), but has no serial port",
        hint=hint
        or f"its driver {bridge.driver if bridge else CLASS_DRIVER} may be missing, "
        "or the board waits in its bootloader: press reset",
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
