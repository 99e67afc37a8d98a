"""Tools that are missing or die: status 1 or a note, what to try, and no process left behind."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from microtvm.attach import require_emulator
from microtvm.device.count import build_plugin
from microtvm.errors import BoardError
from microtvm.target import load_board
from tests.cli.conftest import M4, CommandLine
from tests.conftest import require_tool
from tests.project.image import TINY


def test_no_make(cli: CommandLine, pair: Path, only_these_programs: Any) -> None:
    only_these_programs("cc")
    message = cli.failed("run", pair, "--board", "host")
    assert "building for host needs make, which is not on the PATH" in message
    assert "things to try: apt-get install make" in message


def test_no_compiler(cli: CommandLine, pair: Path, only_these_programs: Any) -> None:
    only_these_programs("make", "qemu-system-arm")
    message = cli.failed("run", pair, "--board", M4)
    assert "needs arm-none-eabi-gcc, which is not on the PATH" in message
    assert "things to try: apt-get install gcc-arm-none-eabi" in message


@pytest.mark.parametrize(
    ("board", "program", "package"),
    [
        (M4, "qemu-system-arm", "qemu-system-arm"),
        ("qemu-riscv32", "qemu-system-riscv32", "qemu-system-misc"),
    ],
)
def test_no_emulator(
    cli: CommandLine,
    pair: Path,
    tmp_path: Path,
    only_these_programs: Any,
    board: str,
    program: str,
    package: str,
) -> None:
    """It is said before anything is compiled or built."""
    only_these_programs("make")
    message = cli.failed("run", pair, "--board", board, "--keep", tmp_path / "k")
    assert f"running on {board} needs {program}, which is not on the PATH" in message
    assert f"things to try: apt-get install {package}" in message
    assert not (tmp_path / "k").exists()


def test_doctor_tells_what_is_missing(cli: CommandLine, only_these_programs: Any) -> None:
    only_these_programs("make")
    tools = {tool["name"]: tool for tool in cli.ok("doctor", "--json").json["tools"]}
    assert tools["make"]["found"]
    assert not tools["qemu-system-arm"]["found"]
    assert tools["qemu-system-arm"]["install"] == "apt-get install qemu-system-arm"
    assert "missing" in cli.ok("doctor").out


def test_compiling_needs_no_tool(
    cli: CommandLine, pair: Path, tmp_path: Path, only_these_programs: Any
) -> None:
    only_these_programs()
    cli.ok("compile", pair, "--board", M4, "-o", tmp_path / "c")
    cli.ok("create", tmp_path / "c", "--board", M4, "-o", tmp_path / "p")


def test_compiler_that_fails(cli: CommandLine, pair: Path, tmp_path: Path) -> None:
    require_tool("make")
    require_tool("cc")
    cli.ok("create", pair, "--board", "host", "-o", tmp_path / "p")
    source = tmp_path / "p" / "model" / "pair.c"
    source.write_text(source.read_text() + "\n#error this is wrong\n")
    for command in ("build", "run"):
        message = cli.failed(command, tmp_path / "p")
        assert "#error this is wrong" in message
        assert "make.log" in message


@pytest.fixture
def library(tmp_path: Path, cli: CommandLine) -> Path:
    """A hand-written library with a place for a statement where its first operator begins."""
    require_tool("arm-none-eabi-gcc")
    require_tool("qemu-system-arm")
    folder = tmp_path / "library"
    shutil.copytree(TINY, folder)
    source = folder / "tiny.c"
    text = source.read_text()
    # Counting instructions needs the function's name.
    changed = text.replace(
        "static void run(uint8_t *arena)", "static void tiny_run(uint8_t *arena)"
    )
    changed = changed.replace(".run = run,", ".run = tiny_run,")
    changed = changed.replace(
        "static void product(uint8_t *arena)\n{", "static void product(uint8_t *arena)\n{\n    HERE"
    )
    assert changed.count("tiny_run") == 2
    assert changed.count("HERE") == 1
    source.write_text(changed)
    return folder


def project_with(library: Path, statement: str, cli: CommandLine) -> Path:
    """The project of the library with the statement in its place."""
    source = library / "tiny.c"
    source.write_text(source.read_text().replace("HERE", statement))
    cli.ok("create", library, "--board", M4, "-o", library.parent / "p")
    return library.parent / "p"


def children(pid: int) -> list[tuple[int, bytes]]:
    """The processes that `pid` has started, with their commands."""
    found = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        # A thread or a process may end while it is looked at.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for word in (thread / "children").read_text().split():
                found.append((int(word), Path(f"/proc/{word}/cmdline").read_bytes()))
    return found


@contextlib.contextmanager
def command_line(project: Path) -> Iterator[subprocess.Popen[str]]:
    """`microtvm run PROJECT --json`, whose program never ends by itself; it ends with the test."""
    argv = [sys.executable, "-m", "microtvm", "run", str(project), "--json"]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        argv, stdout=pipe, stderr=pipe, text=True, preexec_fn=heed_signals
    ) as child:
        try:
            yield child
        except BaseException:
            child.kill()
            raise


def heed_signals() -> None:
    """In a child: a test run in the background of a shell has SIGINT ignored, and hands that on."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)


def emulator_of(pid: int) -> int:
    """The emulator that the command line `pid` has started, as soon as it has."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for child, command in children(pid):
            if b"-kernel" in command:
                return child
        time.sleep(0.05)
    raise AssertionError("no emulator was started")


@pytest.mark.qemu
@pytest.mark.skipif(sys.platform != "linux", reason="looks for the emulator in /proc")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_emulator_ends_with_the_command(
    number: signal.Signals, cli: CommandLine, library: Path
) -> None:
    project = project_with(library, "for (;;) { }", cli)
    cli.ok("build", project)
    with command_line(project) as child:
        emulator = emulator_of(child.pid)
        child.send_signal(number)
        _out, err = child.communicate(timeout=60)
    assert child.returncode not in (0, -number)
    assert "Traceback" not in err
    assert not Path(f"/proc/{emulator}").exists()


DROPPED = """
import importlib, os, signal, sys, time

main = importlib.import_module("microtvm.cli.main")

class Finalised:
    def __del__(self):
        os.kill(os.getpid(), int(sys.argv[1]))
        for _ in range(1000):
            pass

def status(argv):
    Finalised()
    time.sleep(60)

main._status = status
main.main([])
"""


@pytest.mark.parametrize(
    ("number", "status"),
    [
        (signal.SIGTERM, 128 + signal.SIGTERM),
        (signal.SIGHUP, 128 + signal.SIGHUP),
        (signal.SIGINT, -signal.SIGINT),
    ],
)
def test_signal_while_an_object_is_finalised(number: signal.Signals, status: int) -> None:
    """Python drops what a handler raises there; the command ends all the same."""
    done = subprocess.run(
        [sys.executable, "-c", DROPPED, str(int(number))],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        preexec_fn=heed_signals,
    )
    assert "Exception ignored" in done.stderr
    assert done.returncode == status


@pytest.mark.qemu
@pytest.mark.skipif(sys.platform != "linux", reason="looks for the emulator in /proc")
def test_emulator_killed_in_mid_run(cli: CommandLine, library: Path) -> None:
    assert build_plugin().reason == ""
    project = project_with(library, "for (;;) { }", cli)
    cli.ok("build", project)
    with command_line(project) as child:
        emulator = emulator_of(child.pid)
        time.sleep(1.5)  # until the run that never ends has begun; if not, it dies a little earlier
        os.kill(emulator, signal.SIGKILL)
        out, err = child.communicate(timeout=60)
    assert (child.returncode, out) == (1, "")
    assert "qemu-system-arm was killed by SIGKILL" in err
    assert "Traceback" not in err


@pytest.mark.qemu
def test_fault_on_the_target_is_told(cli: CommandLine, library: Path) -> None:
    project = project_with(library, '__asm__ volatile("udf #0");', cli)
    message = cli.failed("run", project)
    line = (project / "model" / "tiny.c").read_text().split("udf")[0].count("\n") + 1
    assert "crashed while running the model: fault during an inference, at product" in message
    assert f"(tiny.c:{line}) exception=00000006 pc=" in message


def test_reader_that_has_had_enough(pair: Path) -> None:
    """As `microtvm ... | head` does: no traceback."""
    argv = [sys.executable, "-m", "microtvm", "boards", "--json"]
    reading, writing = os.pipe()
    with subprocess.Popen(argv, stdout=writing, stderr=subprocess.PIPE, text=True) as child:
        os.close(writing)
        os.close(reading)
        _, err = child.communicate(timeout=60)
    assert err == ""
    assert child.returncode == 1


@pytest.mark.qemu
def test_image_whose_run_cannot_be_followed(cli: CommandLine, library: Path) -> None:
    """The function that counts are asked of is there, but it is another that runs."""
    project = project_with(library, "", cli)
    source = project / "model" / "tiny.c"
    text = source.read_text()
    # A table that the linker keeps, for the sake of the function that nobody calls.
    other = "static void other(uint8_t *arena)\n{\n    product(arena);\n    squash(arena);\n}\n"
    other += "static void (*volatile table[])(uint8_t *) = {other, tiny_run};\n"
    other += "static void through(uint8_t *arena)\n{\n    table[0](arena);\n}\n"
    head = "static const uint16_t input_shape"
    changed = text.replace(".run = tiny_run,", ".run = through,").replace(head, f"{other}\n{head}")
    source.write_text(changed)
    assert "tiny_run was entered 0 times in one inference" in cli.failed("run", project)


def test_board_without_an_emulator() -> None:
    board = dataclasses.replace(load_board(M4), emulator=None)
    with pytest.raises(BoardError, match=f"board {M4} has no emulator") as caught:
        require_emulator(board)
    assert "serial port" in caught.value.hint
