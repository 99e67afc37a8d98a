"""Processes behind a link: started, watched, reaped, and quoted when they die."""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from microtvm.device.process import KEPT_BYTES, KEPT_LINES, Process
from microtvm.errors import ToolError


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def gone(pid: int) -> bool:
    """Whether there is no such process, not even a zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_the_last_lines_are_kept() -> None:
    lines = f"import sys\nfor i in range({KEPT_LINES * 100}): print('line', i, file=sys.stderr)"
    with Process(python(lines)) as process:
        assert process.death(10) == f"{Path(sys.executable).name} exited with status 0"
        printed = process.printed().splitlines()
    assert len(printed) == KEPT_LINES
    assert printed[-1] == f"line {KEPT_LINES * 100 - 1}"
    assert len("\n".join(printed)) < KEPT_BYTES


def test_output_never_blocks_a_process() -> None:
    with Process(python("print('x' * 10_000_000)")) as process:
        assert process.death(20) is not None


@pytest.mark.parametrize(
    ("code", "end"),
    [
        ("import sys; sys.exit(7)", "exited with status 7"),
        ("import os; os.abort()", "was killed by SIGABRT"),
        ("import os; os.kill(os.getpid(), 40)", "was killed by signal 40"),
    ],
)
def test_how_it_ended(code: str, end: str) -> None:
    with Process(python(code)) as process:
        assert process.death(10) == f"{process.name} {end}"


def test_it_is_reaped() -> None:
    with Process(python("import time; time.sleep(100)")) as process:
        assert process.death(0) is None
        assert not gone(process.pid)
    assert gone(process.pid)
    process.close()


def test_it_is_reaped_when_an_exception_passes() -> None:
    with pytest.raises(KeyError), Process(python("import time; time.sleep(100)")) as process:
        raise KeyError
    assert gone(process.pid)


def test_it_is_killed_if_it_does_not_listen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("microtvm.device.process.TERMINATE_S", 0.1)
    deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True)\n"
    with Process(python(deaf + "time.sleep(100)")) as process:
        while process.printed() != "deaf":
            time.sleep(0.01)
    assert process.death(0) == f"{process.name} was killed by SIGKILL"


def test_it_is_reaped_at_exit() -> None:
    """A program that forgets to close leaves nothing behind."""
    code = (
        "from microtvm.device.process import Process\n"
        "process = Process(['sleep', '100'])\n"
        "print(process.pid, flush=True)\n"
        "raise SystemExit(1)\n"
    )
    done = subprocess.run(python(code), capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert gone(int(done.stdout))


def test_a_killed_process_is_noticed() -> None:
    with Process(python("import time; time.sleep(100)")) as process:
        os.kill(process.pid, signal.SIGKILL)
        assert process.death(10) == f"{process.name} was killed by SIGKILL"


def test_a_missing_program() -> None:
    with pytest.raises(ToolError, match="no-such-emulator is not installed") as caught:
        Process(["no-such-emulator", "-machine", "x"])
    assert "no-such-emulator -machine x" in caught.value.hint


def test_interrupted_while_it_starts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What a signal's handler raises in the constructor leaves no process behind."""
    pid_file = tmp_path / "pid"
    code = f"import os, time; open({str(pid_file)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    closers: list[Callable[[], None]] = []
    monkeypatch.setattr(atexit, "register", closers.append)

    def interrupted(_event: threading.Event, _timeout: float | None = None) -> bool:
        raise SystemExit(143)

    with monkeypatch.context() as patch:
        patch.setattr(threading.Event, "wait", interrupted)
        with pytest.raises(SystemExit):
            Process(python(code))
    deadline = time.monotonic() + 60
    while not (pid_file.exists() and pid_file.read_text()) and time.monotonic() < deadline:
        time.sleep(0.01)
    for close in closers:
        close()
    assert gone(int(pid_file.read_text()))


def test_closed_before_it_starts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The interruption may come before the thread that starts the process has begun."""
    touched = tmp_path / "touched"
    closers: list[Callable[[], None]] = []
    starts: list[Callable[[], None]] = []
    monkeypatch.setattr(atexit, "register", closers.append)

    def interrupted(thread: threading.Thread) -> None:
        starts.append(thread.run)
        raise SystemExit(143)

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", interrupted)
        with pytest.raises(SystemExit):
            Process(python(f"open({str(touched)!r}, 'w')"))
    for call in closers + starts:
        call()
    assert len(starts) == 1
    assert not touched.exists()
