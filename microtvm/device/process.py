"""Processes behind a link, emulators or host programs: watched, and reaped whatever happens."""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from microtvm.errors import ToolError

TERMINATE_S = 3.0
"""How long a process has to end by itself after SIGTERM; then it is killed."""

KEPT_BYTES = 8192
"""How much of what a process printed last is kept."""

KEPT_LINES = 20

JOIN_S = 1.0
"""How long to wait for the rest of the output of a process that has ended: its children may keep
the pipe."""


def _signal_name(number: int) -> str:
    known = {item.value: item.name for item in signal.Signals}
    return known.get(number, f"signal {number}")


class Process:
    """A child process. What it prints (its standard error, and its standard output unless that is
    the link) is read all the time, so that it never waits for us, and its end is kept."""

    def __init__(
        self, argv: Sequence[str], *, piped: bool = False, folder: Path | None = None
    ) -> None:
        """Starts `argv`, no shell; with `piped`, its standard input and output are for the caller.

        Raises ToolError if the program is missing or can't be started.
        """
        self.argv = tuple(argv)
        self._kept = bytearray()
        self._lock = threading.Lock()
        pipe = subprocess.PIPE
        try:
            self._child = subprocess.Popen(
                self.argv,
                stdin=pipe if piped else subprocess.DEVNULL,
                stdout=pipe,
                stderr=pipe if piped else subprocess.STDOUT,
                cwd=folder,
                bufsize=0,
            )
        except FileNotFoundError as error:
            raise ToolError(
                f"{self.name} is not installed", hint=f"the command was {' '.join(self.argv)}"
            ) from error
        except OSError as error:
            raise ToolError(f"can't start {self.argv[0]}: {error.strerror}") from error
        atexit.register(self.close)
        output = self._child.stderr if piped else self._child.stdout
        assert output is not None
        self._reader = threading.Thread(target=self._keep, args=(output,), daemon=True)
        self._reader.start()

    @property
    def name(self) -> str:
        """The program, without its folder."""
        return Path(self.argv[0]).name

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._child.pid

    def take_pipes(self) -> tuple[int, int]:
        """Descriptors of the process's standard output and input, which the caller closes; once
        only."""
        output, child_input = self._child.stdout, self._child.stdin
        assert output is not None
        assert child_input is not None
        pipes = os.dup(output.fileno()), os.dup(child_input.fileno())
        output.close()
        child_input.close()
        return pipes

    def _keep(self, output: IO[bytes]) -> None:
        with output:
            while part := output.read(4096):
                with self._lock:
                    self._kept += part
                    del self._kept[:-KEPT_BYTES]

    def printed(self) -> str:
        """The last lines that the process printed."""
        if self._child.poll() is not None:
            self._reader.join(JOIN_S)
        with self._lock:
            text = self._kept.decode("utf-8", "replace")
        return "\n".join(text.splitlines()[-KEPT_LINES:])

    def death(self, grace_s: float) -> str | None:
        """How the process ended, after waiting for that for at most `grace_s`; None while it
        runs."""
        try:
            status = self._child.wait(grace_s)
        except subprocess.TimeoutExpired:
            return None
        if status < 0:
            return f"{self.name} was killed by {_signal_name(-status)}"
        return f"{self.name} exited with status {status}"

    def close(self) -> None:
        """Ends and reaps the process: SIGTERM, and SIGKILL if it takes longer than TERMINATE_S."""
        atexit.unregister(self.close)
        if self._child.poll() is None:
            self._child.terminate()
            try:
                self._child.wait(TERMINATE_S)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()
        self._reader.join(JOIN_S)
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe is not None and not self._reader.is_alive():
                pipe.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
