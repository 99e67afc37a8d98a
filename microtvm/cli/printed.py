"""What the application on a device prints, as a person at a terminal sees it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from microtvm.cli.console import errors

LONGEST_LINE = 1000
"""Letters after which a line is broken; a device need not end its lines."""
MOST_LINES = 10_000
"""The last ones are kept for --json."""


class Printed:
    """Collects text into lines, and shows each on standard error."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=MOST_LINES)
        self._rest = ""

    @property
    def lines(self) -> list[str]:
        """All of the lines, of which the last may not have ended."""
        return [*self._lines, *([_shown(self._rest)] if self._rest else [])]

    def heard(self, text: str) -> None:
        """A piece of text, with any number of lines' ends in it."""
        self._rest += text
        while True:
            line, end, rest = self._rest.partition("\n")
            if not end and len(line) < LONGEST_LINE:
                return
            if len(line) > LONGEST_LINE:
                line, rest = line[:LONGEST_LINE], line[LONGEST_LINE:] + end + rest
            self._rest = rest
            self._show(line)

    def end(self) -> None:
        """Nothing more will come."""
        if self._rest:
            self._show(self._rest)
            self._rest = ""

    def _show(self, line: str) -> None:
        shown = _shown(line)
        self._lines.append(shown)
        errors.print(f"device: {shown}", markup=False, emoji=False)


@contextmanager
def printed() -> Iterator[Printed]:
    """What is printed meanwhile; the last line is shown however it ends."""
    found = Printed()
    try:
        yield found
    finally:
        found.end()


def _shown(line: str) -> str:
    """Nothing in it makes a terminal do something; a carriage return may come before the end."""
    line = line.removesuffix("\r").replace("\t", " ")
    return "".join(letter if letter.isprintable() else "?" for letter in line)
