"""A debug probe with a Cortex-M4 behind it, for pyOCD's `remote:` probes: a line of JSON a request.

It is the chip's side that matters: a debug port, one memory access port, a ROM table with one core,
and memory that is RAM wherever it is written. Registers are those of the Armv7-M Architecture
Reference Manual, chapter C1, and of the Arm Debug Interface, version 5.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

DPIDR = 0x2BA01477
AHB_AP = 0x24770011
CTRL_AP = 0x02880000
ROM_TABLE, SCS = 0xE00FF000, 0xE000E000
CPUID, AIRCR, DHCSR, DCRSR, DCRDR, DEMCR = (
    *(0xE000ED00, 0xE000ED0C, 0xE000EDF0, 0xE000EDF4, 0xE000EDF8, 0xE000EDFC),
)
C_HALT, S_REGRDY, S_HALT, S_RESET = 1 << 1, 1 << 16, 1 << 17, 1 << 25
VC_CORERESET, SYSRESETREQ = 1, 1 << 2
CTRL_STAT, POWER = 4, 0x50000000
CSW, TAR, DRW, BANKED, IDR, BASE = 0x00, 0x04, 0x0C, 0x10, 0xFC, 0xF8
DEVICE_ENABLED = 1 << 6


def component(base: int, kind: int, part: int) -> dict[int, int]:
    """The identification registers of a CoreSight component of Arm's."""
    peripheral = [4, 0, 0, 0, part & 0xFF, 0xB0 | part >> 8, 0x0B, 0]
    identity = [0x0D, kind << 4, 0x05, 0xB1]
    values = [*peripheral, *identity]
    return {base + 0xFD0 + 4 * i: value for i, value in enumerate(values)}


@dataclass
class Chip:
    """A core that is debugged. It executes nothing."""

    words: dict[int, int] = field(default_factory=dict)
    locked: bool = False
    """An nRF52 with APPROTECT."""
    power: int = 0
    halted: bool = False
    was_reset: bool = False
    resets: int = 0

    def __post_init__(self) -> None:
        self.words.update(component(ROM_TABLE, 1, 0x4C4))
        self.words.update(component(SCS, 0xE, 0x00C))
        self.words |= {ROM_TABLE: SCS - ROM_TABLE & 0xFFFFFFFF | 3, ROM_TABLE + 4: 0}
        self.words |= {CPUID: 0x410FC241}

    def read(self, address: int) -> int:
        """The word at a multiple of four."""
        if address == DHCSR:
            state = S_REGRDY | (S_HALT if self.halted else 0) | (S_RESET if self.was_reset else 0)
            self.was_reset = False
            return state | self.words.get(DHCSR, 0) & 0xF
        return self.words.get(address, 0)

    def write(self, address: int, value: int) -> None:
        """Writes a word; the core's own registers act on it."""
        if address == DHCSR and value >> 16 == 0xA05F:
            self.halted = bool(value & C_HALT)
        if address == AIRCR and value & SYSRESETREQ:
            self.resets += 1
            self.was_reset = True
            self.halted = bool(self.words.get(DEMCR, 0) & VC_CORERESET)
            return
        self.words[address] = value & 0xFFFFFFFF

    def read_sized(self, address: int, bits: int) -> int:
        """A byte, a halfword or a word."""
        word = self.read(address & ~3)
        return word >> 8 * (address & 3) & (1 << bits) - 1

    def write_sized(self, address: int, value: int, bits: int) -> None:
        """A byte, a halfword or a word."""
        if bits == 32:
            self.write(address, value)
            return
        shift, mask = 8 * (address & 3), (1 << bits) - 1
        word = self.words.get(address & ~3, 0)
        self.words[address & ~3] = word & ~(mask << shift) | (value & mask) << shift

    def memory(self, address: int, count: int) -> bytes:
        """What is stored there."""
        return bytes(self.read_sized(address + i, 8) for i in range(count))


class Probe:
    """Answers the requests of one pyOCD."""

    def __init__(self, chip: Chip) -> None:
        self.chip = chip
        self.select = 0
        self.access: dict[int, int] = {}

    def answer(self, request: str, arguments: list[Any]) -> Any:
        """The result of a request; KeyError for one that isn't known."""
        handlers: dict[str, Callable[..., Any]] = {
            "readprop": self._property,
            "read_dp": self._read_port,
            "write_dp": self._write_port,
            "read_ap": self._read_access,
            "write_ap": self._write_access,
            "read_ap_multiple": lambda a, count: [self._read_access(a) for _ in range(count)],
            "write_ap_multiple": lambda a, values: [self._write_access(a, v) for v in values],
            # pyOCD then uses the port's registers.
            "get_memory_interface_for_ap": lambda _version, _address: None,
            "is_reset_asserted": lambda: False,
        }
        silent = ("hello", "open", "close", "lock", "unlock", "connect", "disconnect")
        silent += ("set_clock", "flush", "swj_sequence", "reset", "assert_reset")
        if request in silent:
            return None
        result = handlers[request](*arguments)
        return None if request.startswith("write") else result

    def _property(self, name: str) -> Any:
        return {
            "vendor_name": "microtvm",
            "product_name": "an emulated probe",
            "supported_wire_protocols": ["DEFAULT", "SWD"],
            "wire_protocol": "SWD",
            "capabilities": ["MANAGED_AP_SELECTION", "MANAGED_DPBANKSEL"],
        }[name]

    def _read_port(self, address: int) -> int:
        if address == CTRL_STAT:
            # What is powered up says so.
            return self.chip.power & POWER | (self.chip.power & POWER) << 1
        return DPIDR if address == 0 else 0

    def _write_port(self, address: int, value: int) -> None:
        if address == CTRL_STAT:
            self.chip.power = value

    def _place(self) -> tuple[int, int, int]:
        """Address, bits and byte lane of the next access; the address then moves on."""
        address, control = self.access.get(TAR, 0), self.access.get(CSW, 0)
        bits = 8 << (control & 7)
        if control >> 4 & 3:
            self.access[TAR] = address + bits // 8 & 0xFFFFFFFF
        return address, bits, 8 * (address & 3)

    def _read_access(self, address: int) -> int:
        if address >> 24 == 1 and self.chip.locked:
            # Nordic's control port, whose status says that the other one is protected.
            return CTRL_AP if address & 0xFF == IDR else 0
        if address >> 24:
            return 0
        if address == DRW:
            place, bits, lane = self._place()
            return self.chip.read_sized(place, bits) << lane & 0xFFFFFFFF
        if address & ~0xC == BANKED:
            return self.chip.read((self.access.get(TAR, 0) & ~0xF) + (address & 0xC))
        enabled = 0 if self.chip.locked else DEVICE_ENABLED
        known = {IDR: AHB_AP, BASE: ROM_TABLE | 3, CSW: self.access.get(CSW, 0) | enabled}
        return known.get(address, self.access.get(address, 0))

    def _write_access(self, address: int, value: int) -> None:
        if address == DRW:
            place, bits, lane = self._place()
            self.chip.write_sized(place, value >> lane, bits)
        elif address & ~0xC == BANKED:
            self.chip.write((self.access.get(TAR, 0) & ~0xF) + (address & 0xC), value)
        else:
            self.access[address] = value


@contextmanager
def serve(chip: Chip) -> Iterator[str]:
    """A probe for as long as the block lasts; the name by which pyOCD finds it."""
    server = socket.create_server(("127.0.0.1", 0))

    def work() -> None:
        with suppress(OSError):
            while True:
                peer, _ = server.accept()
                with peer, peer.makefile("rwb") as stream:
                    probe = Probe(chip)
                    for line in stream:
                        asked = json.loads(line)
                        reply: dict[str, Any] = {"id": asked["id"], "status": 0}
                        try:
                            reply["result"] = probe.answer(
                                asked["request"], asked.get("arguments", [])
                            )
                        except (KeyError, TypeError) as error:
                            reply |= {"status": 1, "error": repr(error)}
                        stream.write(json.dumps(reply).encode() + b"\n")
                        stream.flush()

    threading.Thread(target=work, daemon=True).start()
    try:
        yield f"remote:127.0.0.1:{server.getsockname()[1]}"
    finally:
        server.close()
