"""Sessions with processes: the host port end to end, emulators, and every way for them to fail."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from microtvm.device import (
    EmulatorTransport,
    Session,
    Timing,
    open_emulator,
    open_process,
    open_session,
)
from microtvm.device.transport.exec import ExecTransport
from microtvm.errors import DeviceError, LinkError, ToolError, UserError
from tests.conftest import require_tool
from tests.device.harness import (
    RUNTIME,
    SERVER_SOURCES,
    TESTS_C,
    compile_c,
    tiny_inputs,
    tiny_output,
)

ABORT, EXIT, HANG, REPORT, RESTART = range(1, 6)
"""`enum fault` of `tests/c/faulty.c`."""

# Stands for QEMU: connects to the socket that it is told, prints a line, and becomes the program.
EMULATOR = """
import os, socket, sys
link = socket.socket(socket.AF_UNIX)
link.connect(sys.argv[1].removeprefix("unix:"))
print("emulating", flush=True)
os.dup2(link.fileno(), 0)
os.dup2(link.fileno(), 1)
os.execv(sys.argv[2], sys.argv[2:])
"""

# The same, but a child keeps the link open when the emulator itself ends.
SPLIT_EMULATOR = """
import os, socket, sys, time
link = socket.socket(socket.AF_UNIX)
link.connect(sys.argv[1].removeprefix("unix:"))
if os.fork():
    sys.exit(9)
time.sleep(2)
"""


@pytest.fixture(scope="module")
def faulty_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    server = [source for source in SERVER_SOURCES if source.parent == RUNTIME / "src"]
    return compile_c(
        require_tool("gcc"),
        tmp_path_factory.mktemp("faulty") / "faulty",
        *("-DMTVM_MODEL=faulty_model", "-DMTVM_ARENA_BYTES=2", TESTS_C / "faulty.c"),
        *(RUNTIME / "port" / "host" / "main.c", *server),
    )


def emulate(program: Path, script: str = EMULATOR) -> list[str]:
    return [sys.executable, "-c", script, "{serial}", str(program)]


def fault(number: int) -> dict[str, np.ndarray]:
    return {"fault": np.array([number], np.uint8)}


@pytest.fixture(params=["exec", "process", "emulator"])
def session(request: pytest.FixtureRequest, tiny_program: Path) -> Iterator[Session]:
    if request.param == "exec":
        opened = open_session(f"exec:{tiny_program}")
    elif request.param == "process":
        opened = open_process([str(tiny_program)])
    else:
        opened = open_emulator(emulate(tiny_program))
    with opened as session:
        yield session


def test_a_process_end_to_end(session: Session) -> None:
    """The address sanitizer is in the process: a bad access would end it."""
    for seed in range(20):
        inputs = tiny_inputs(seed)
        np.testing.assert_array_equal(session.run(inputs)["y"], tiny_output(inputs))
    profile = session.profile(inputs)
    assert [row.name for row in profile.operators] == ["halve", "sum", "add"]
    assert profile.ticks > 0
    assert session.ping() < 10
    with pytest.raises(DeviceError, match="asking for the stack's peak: the board can't do this"):
        session.stack_peak()
    session.reset()
    np.testing.assert_array_equal(session.run(inputs)["y"], tiny_output(inputs))
    assert session.retransmissions == 0


def processes(program: Path, fault_number: int) -> DeviceError:
    """What is raised when a process fails as it is told."""
    with open_process([str(program)]) as session, pytest.raises(DeviceError) as caught:
        session.run(fault(fault_number))
    return caught.value


@pytest.mark.parametrize(
    ("number", "problem", "printed"),
    [
        (ABORT, "faulty was killed by SIGABRT while running the model", "about to abort"),
        (EXIT, "faulty exited with status 3 while running the model", "about to exit"),
        (REPORT, "the device crashed while running the model: fault pc=0000012c", ""),
        (RESTART, "the device restarted before or while running the model", ""),
    ],
)
def test_a_crash_is_told_with_the_last_words(
    faulty_program: Path, number: int, problem: str, printed: str
) -> None:
    error = processes(faulty_program, number)
    assert error.message.startswith(problem)
    assert printed in error.message
    assert error.hint


def test_a_model_that_hangs(faulty_program: Path) -> None:
    timing = Timing(answer_s=0.5)
    with open_process([str(faulty_program)], timing=timing) as session:
        problem = r"within 0\.3 s, and the device does not stop within 0\.5 s"
        with pytest.raises(LinkError, match=f"no result while running the model {problem}"):
            session.run(fault(HANG), timeout_s=0.3)
        with pytest.raises(LinkError, match="can't be used any more"):
            session.ping()


@pytest.mark.parametrize("emulated", [False, True])
def test_killed_in_mid_run(faulty_program: Path, emulated: bool) -> None:
    transport = (
        EmulatorTransport(emulate(faulty_program))
        if emulated
        else ExecTransport([str(faulty_program)])
    )
    process = transport.process
    with Session(transport) as session:
        timer = threading.Timer(0.3, os.kill, (process.pid, signal.SIGKILL))
        timer.start()
        with pytest.raises(DeviceError, match=r"was killed by SIGKILL while running") as caught:
            session.run(fault(HANG))
        timer.join()
    assert ("emulating" in caught.value.message) == emulated


def test_an_emulator_that_ends_while_its_link_stays_open(tiny_program: Path) -> None:
    with pytest.raises(DeviceError, match="exited with status 9 while waiting for its first"):
        open_emulator(emulate(tiny_program, SPLIT_EMULATOR))


def test_an_emulator_that_does_not_start() -> None:
    argv = [sys.executable, "-c", "import sys; sys.exit('no such machine')", "{serial}"]
    with pytest.raises(DeviceError, match=r"exited with status 1 before it con.*\nno such machine"):
        open_emulator(argv)
    with pytest.raises(ToolError, match="qemu-system-pdp11 is not installed"):
        open_emulator(["qemu-system-pdp11", "-serial", "{serial}"])
    with pytest.raises(UserError, match=r"lacks the placeholder \{serial\}: qemu -kernel x"):
        open_emulator(["qemu", "-kernel", "x"])


def test_an_emulator_that_never_connects() -> None:
    argv = [sys.executable, "-c", "import time; time.sleep(60)", "{serial}"]
    with pytest.raises(LinkError, match=r"did not connect to its serial socket within 0\.2 s"):
        EmulatorTransport(argv, connect_s=0.2)


def test_something_else_on_the_line() -> None:
    timing = Timing(hello_s=0.4, retry_s=0.1)
    with pytest.raises(LinkError, match=r"no answer to the first request within 0\.4 s"):
        open_session("exec:cat", timing=timing)
    with pytest.raises(DeviceError, match=r"true exited with status 0 (while|to)"):
        open_session("exec:true", timing=timing)
