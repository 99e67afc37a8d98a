"""What a device knew of its last crash, in words: cause, registers, operator, and with the image's
ELF file the function and the line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from microtvm.device.client import CRASH_HINT, Client
from microtvm.device.location import Location, locate
from microtvm.device.status import Status
from microtvm.device.wire import (
    NO_OPERATOR,
    SOME_OPERATOR,
    Kind,
    Request,
    describe,
    number,
    parse_crash,
)
from microtvm.errors import DeviceError

_REGISTER = re.compile(r" (\w+)=([0-9a-f]{8})\b")
_OPERATOR = "operator"
"""The register in the text that is none: the index of the operator that was running."""

PROGRAM_COUNTER = "pc"


WATCHDOG = "watchdog"
"""The cause of a crash where something did not end in time."""

_WATCHDOG_HINT = (
    "what ran never ends, or needs more time than the watchdog gives it: the option watchdog_s"
)


@dataclass(frozen=True)
class Crash:
    """A record of a crash."""

    cause: str
    """In the words of the device's port, e.g. `fault`."""
    operator: str
    """The name of the operator that was running; empty where none was, or where it isn't known."""
    registers: dict[str, int]
    """By the port's names; `pc` is where it happened."""
    during_run: bool
    """Whether an inference was under way."""
    location: Location | None = None
    """What `pc` is in the source; None without an ELF file or where that doesn't tell."""

    @property
    def hint(self) -> str:
        """What to look for."""
        return _WATCHDOG_HINT if self.cause == WATCHDOG else CRASH_HINT

    def __str__(self) -> str:
        words = self.cause
        if self.operator:
            words += f" in operator {self.operator}"
        elif self.during_run:
            words += " during an inference"
        if self.location:
            words += f", {self.location}"
        return words + "".join(f" {name}={value:08x}" for name, value in self.registers.items())


def parse_record(text: str, operators: Sequence[str], elf: Path | None) -> Crash:
    """A record from a device's text: the cause in words, then registers as `name=xxxxxxxx`.

    `operators` are the model's, by index.
    """
    cause, *_ = _REGISTER.split(text)
    registers = {name: int(value, 16) for name, value in _REGISTER.findall(text)}
    operator = registers.pop(_OPERATOR, NO_OPERATOR)
    counter = registers.get(PROGRAM_COUNTER, 0)
    known = operator < len(operators)
    return Crash(
        cause=cause.strip(),
        operator=operators[operator] if known else "",
        registers=registers,
        during_run=known or operator == SOME_OPERATOR,
        location=locate(elf, counter) if elf is not None and counter else None,
    )


def read_crash(client: Client, operators: Sequence[str], elf: Path | None = None) -> Crash:
    """The device's record, which it forgets once it is here. DeviceError where it has none."""
    answer = client.call(Request(Kind.CRASH, number(0)), "asking for the record of a crash")
    if answer.status != Status.OK:
        raise DeviceError(f"the device has no record of a crash: {describe(answer)}")
    record = parse_crash(answer.payload)
    client.call(Request(Kind.CRASH, number(1)), "asking to forget the record of a crash")
    text = f"{record.text} {_OPERATOR}={record.operator:08x}"
    return parse_record(text, operators, elf)
