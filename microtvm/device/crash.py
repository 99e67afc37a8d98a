"""What a device knew of its last crash, in words: cause, registers, operator, and with the image's
ELF file the function and the line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from microtvm.device.client import Client
from microtvm.device.status import Status
from microtvm.device.wire import (
    SOME_OPERATOR,
    Kind,
    Request,
    describe,
    number,
    parse_crash,
)
from microtvm.errors import DeviceError

_REGISTER = re.compile(r"(\w+)=([0-9a-f]{8})\b")


@dataclass(frozen=True)
class Crash:
    """A record of a crash that a device kept over its reset."""

    cause: str
    """In the words of the device's port, e.g. `fault`."""
    operator: str
    """The name of the operator that was running; empty where none was, or where it isn't known."""
    registers: dict[str, int]
    """By the port's names; `pc` is where it happened."""
    during_run: bool
    """Whether an inference was under way."""

    def __str__(self) -> str:
        where = f" in operator {self.operator}" if self.operator else ""
        if self.during_run and not self.operator:
            where = " during an inference"
        shown = "".join(f" {name}={value:08x}" for name, value in self.registers.items())
        return f"{self.cause}{where}{':' if shown else ''}{shown}"


def read_crash(client: Client, operators: Sequence[str]) -> Crash:
    """The device's record, which it forgets once it is here. DeviceError where it has none."""
    answer = client.call(Request(Kind.CRASH, number(0)), "asking for the record of a crash")
    if answer.status != Status.OK:
        raise DeviceError(f"the device has no record of a crash: {describe(answer)}")
    record = parse_crash(answer.payload)
    client.call(Request(Kind.CRASH, number(1)), "asking to forget the record of a crash")
    cause, *_ = _REGISTER.split(record.text)
    known = record.operator < len(operators)
    return Crash(
        cause=cause.strip() or "nothing",
        operator=operators[record.operator] if known else "",
        registers={name: int(value, 16) for name, value in _REGISTER.findall(record.text)},
        during_run=known or record.operator == SOME_OPERATOR,
    )
