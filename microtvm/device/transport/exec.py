"""`exec:PROGRAM ARGUMENTS`: a process whose standard input and output are the link. No shell is
involved."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from microtvm.device.process import Process
from microtvm.device.transport.base import Transport
from microtvm.device.transport.descriptor import DescriptorTransport
from microtvm.errors import UserError


class ExecTransport(DescriptorTransport):
    """The pipes of a process that it starts and reaps."""

    def __init__(self, argv: Sequence[str]) -> None:
        self.process = Process(argv, piped=True)
        super().__init__(*self.process.take_pipes(), f"exec:{argv[0]}")

    def close(self) -> None:
        super().close()
        self.process.close()

    def death(self, grace_s: float) -> str | None:
        return self.process.death(grace_s)

    def printed(self) -> str:
        return self.process.printed()


def open_url(rest: str) -> Transport:
    """Starts the process; UserError for no program, ToolError if it can't be started."""
    try:
        argv = shlex.split(rest)
    except ValueError as error:
        raise UserError(f"exec:{rest}: {error}") from error
    if not argv:
        raise UserError("exec: names no program")
    return ExecTransport(argv)
