"""What all commands share: where output goes, progress, tables, and how errors end a command."""

from __future__ import annotations

import json
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from microtvm.errors import MicrotvmError

errors = Console(stderr=True, soft_wrap=True, highlight=False)
"""Standard error: messages and progress."""

PATIENCE_S = 2.0
"""What takes longer without a word may be taken for hanging."""
LONG = ("building with ", "waiting ")
"""How the texts of steps begin of which that is known."""


def emit_json(value: Any) -> None:
    """One JSON object on standard output."""
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


def emit_text(text: str) -> None:
    """Plain text on standard output."""
    sys.stdout.write(text if text.endswith("\n") else text + "\n")


def emit_table(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> None:
    """A table on standard output; columns of numbers are aligned to the right."""
    table = Table(title=title or None, title_justify="left", box=None, pad_edge=False)
    for index, column in enumerate(columns):
        cells = [row[index] for row in rows if row[index]]
        numeric = bool(cells) and all(map(_numeric, cells))
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    console = Console(file=sys.stdout, highlight=False)
    if console.is_terminal:
        console.print(table, markup=False)
        return
    # Whoever reads a table without a terminal may be a program: nothing is cut, wrapped or padded.
    console = Console(file=sys.stdout, highlight=False, width=4096)
    with console.capture() as capture:
        console.print(table, markup=False)
    emit_text("\n".join(line.rstrip() for line in capture.get().splitlines()))


def _numeric(cell: str) -> bool:
    return cell.replace(",", "").replace(".", "").replace("-", "").replace("%", "").isdigit()


@contextmanager
def progress(quiet: bool, *, always: bool = False) -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar on standard error, if that is a terminal and `quiet` is false; `always` for
    what takes minutes: a line for each step where it is no terminal. Otherwise
    those of LONG are told there, once they have taken PATIENCE_S."""
    if always and not quiet and not errors.is_terminal:
        yield lambda what, done, total: errors.print(f"[{done + 1}/{total}] {what}", markup=False)
        return
    if quiet:
        yield lambda what, done, total: None
        return
    if not errors.is_terminal:
        with _Patience() as patience:
            yield patience.report
        return
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=errors,
        transient=True,
    ) as bar:
        task = bar.add_task("", total=None)

        def report(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total)

        yield report


class _Patience:
    """Tells of a step only when it has taken long."""

    def __init__(self) -> None:
        self._timer: threading.Timer | None = None
        self._what = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def report(self, what: str, _done: int, _total: int) -> None:
        if what == self._what:
            return
        self._stop()
        self._what = what
        if what.startswith(LONG):
            self._timer = threading.Timer(PATIENCE_S, self._tell)
            self._timer.daemon = True
            self._timer.start()

    def _tell(self) -> None:
        errors.print(self._what, markup=False)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None


def warn(text: str) -> None:
    """Print what may go wrong on standard error; nothing if there is no text."""
    if text:
        errors.print(f"warning: {text}", style="yellow", markup=False)


def report_error(error: MicrotvmError, verbose: bool) -> int:
    """Print a failure and what to try; returns the exit status."""
    if verbose:
        errors.print(traceback.format_exc(), markup=False)
    errors.print(f"error: {error.message}", style="red", markup=False)
    if error.hint:
        errors.print(f"hint: {error.hint}", markup=False)
    return error.exit_status
