"""Reads the counts that the plugin appends, while QEMU runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from microtvm.errors import ToolError


@dataclass(frozen=True)
class Activation:
    """One completed activation of a function: first instruction to return, both counted.

    What it called and the interrupts that it suffered are included. An instruction that a condition
    skips counts, as it does on the processor. `loads` and `stores` are memory accesses as QEMU
    makes them: an LDM of four registers is four, a Helium load one per element; an atomic counts
    once each way per execution. `cycles` is an estimate by the core's table of timings, None where
    QEMU was given none.
    """

    label: str
    instructions: int
    loads: int
    stores: int
    cycles: int | None = None


class CountReader:
    """Follows the plugin's output file.

    An activation is in the file when its function has returned: whoever hears from the device what
    followed finds it there.
    """

    def __init__(self, output: Path) -> None:
        self._output = output
        self._offset_bytes = 0

    def new(self) -> list[Activation]:
        """The activations completed since the last call, as they ended: callees first.

        Empty before QEMU has created the file. Raises ToolError for a line that the plugin can't
        have written.
        """
        try:
            with self._output.open("rb") as stream:
                stream.seek(self._offset_bytes)
                content = stream.read()
        except FileNotFoundError:
            return []
        complete = content[: content.rfind(b"\n") + 1]
        self._offset_bytes += len(complete)
        return [self._parse(line) for line in complete.decode("ascii", "replace").splitlines()]

    def _parse(self, line: str) -> Activation:
        fields = line.split(" ")
        if len(fields) not in (4, 5) or not all(field.isdecimal() for field in fields[1:]):
            raise ToolError(f"{self._output}: not a line of counts: {line!r}")
        return Activation(unquote(fields[0]), *(int(field) for field in fields[1:]))
