"""Processes behind a link: started, watched, reaped, and quoted when they die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
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
