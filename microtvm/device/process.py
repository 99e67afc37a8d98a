"""Processes behind a link, emulators or host programs: watched, and reaped whatever happens."""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
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
        self,
        argv: Sequence[str],
        *,
        piped: bool = False,
        folder: Path | None = None,
        sink: Callable[[bytes], None] | None = None,
    ) -> None:
        """Starts `argv`, no shell; with `piped`, its standard input and output are for the caller.
        `sink` gets what it prints as it comes, in a thread of its own.

        Raises ToolError if the program is missing or can't be started.
        """
        self.argv = tuple(argv)
        self._folder = folder
        self._piped = piped
        self._sink = sink
        self._kept = bytearray()
        self._lock = threading.Lock()
        self._ready = threading.Event()
        self._closed = False
        self._error: OSError | None = None
        self._started: subprocess.Popen[bytes] | None = None
        atexit.register(self.close)
        # Signal handlers run in the main thread, and what they raise may come between any two of
        # its instructions: a process that another thread starts is known as soon as it exists.
        self._thread = threading.Thread(target=self._live, daemon=True)
        self._thread.start()
        self._ready.wait()
        if self._error is not None:
            atexit.unregister(self.close)
            raise self._refusal(self._error) from self._error

    def _live(self) -> None:
        """Starts the process, and reads what it prints until it closes that."""
        pipe = subprocess.PIPE
        try:
            with self._lock:
                if self._closed:
                    return
                self._started = subprocess.Popen(
                    self.argv,
                    stdin=pipe if self._piped else subprocess.DEVNULL,
                    stdout=pipe,
                    stderr=pipe if self._piped else subprocess.STDOUT,
                    cwd=self._folder,
                    bufsize=0,
                )
        except OSError as error:
            self._error = error
            return
        finally:
            self._ready.set()
        output = self._child.stderr if self._piped else self._child.stdout
        assert output is not None
        self._keep(output)

    def _refusal(self, error: OSError) -> ToolError:
        if isinstance(error, FileNotFoundError):
            return ToolError(
                f"{self.name} is not installed", hint=f"the command was {' '.join(self.argv)}"
            )
        return ToolError(f"can't start {self.argv[0]}: {error.strerror}")

    @property
    def _child(self) -> subprocess.Popen[bytes]:
        assert self._started is not None
        return self._started

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
                if self._sink is not None:
                    self._sink(part)

    def printed(self) -> str:
        """The last lines that the process printed."""
        if self._child.poll() is not None:
            self._thread.join(JOIN_S)
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

    @property
    def status(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs."""
        return self._child.poll()

    def close(self) -> None:
        """Ends and reaps the process: SIGTERM, and SIGKILL if it takes longer than TERMINATE_S."""
        with self._lock:
            self._closed = True
        if self._started is not None:
            self._reap(self._started)
        atexit.unregister(self.close)

    def _reap(self, child: subprocess.Popen[bytes]) -> None:
        if child.poll() is None:
            child.terminate()
            try:
                child.wait(TERMINATE_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        self._thread.join(JOIN_S)
        for pipe in (child.stdin, child.stdout):
            if pipe is not None and not self._thread.is_alive():
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
