"""`microtvm flash`, `microtvm ports`, and `microtvm run` on a board behind a serial port."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from microtvm import attach
from microtvm.cli import console
from microtvm.device import Session, Timing, Transport
from microtvm.device import find as find_module
from microtvm.device import volume as volume_module
from microtvm.device.transport import TransportClosed, open_transport
from microtvm.device.transport.exec import ExecTransport
from microtvm.project import load_project, registry
from microtvm.project_api import generate_project
from microtvm.target import list_boards, load_board
from tests.cli.conftest import CommandLine, pair_inputs
from tests.flash.bench import on_path, plug_in, stand_in
from tests.flash.serial_board import SerialBoard

BOARD = """
description = "a board behind a terminal, whose core is this machine's"
cpu = "host"
platforms = ["host"]
stack_bytes = 65536
usb = ["0483:374b"]

[flash.flasher]
argv = ["flasher", "-s", "{serial_number}", "-P", "{port}", "{elf}"]

[flash.other]
argv = ["other-flasher", "{hex}"]
"""


@pytest.fixture(autouse=True)
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is plugged in."""
    plug_in(monkeypatch)
    monkeypatch.setattr(find_module, "USB_DEVICES", tmp_path / "usb")
    monkeypatch.setattr(volume_module, "MOUNTS", tmp_path / "mounts")


@pytest.fixture(scope="module")
def made(pair: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the board's file and a project for it; nobody changes them."""
    folder = tmp_path_factory.mktemp("board")
    (folder / "board.toml").write_text(BOARD)
    generate_project(pair, str(folder / "board.toml"), folder / "project")
    return folder


@pytest.fixture
def project(made: Path) -> Path:
    return made / "project"


def test_dry_run_prints_the_command(
    cli: CommandLine, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither board nor tool nor image has to be there."""
    elf = project / "build" / "pair.elf"
    ended = cli.ok("flash", project, "--dry-run")
    command, note = ended.out.splitlines()
    assert shlex.split(command) == ["flasher", "-P", "{port}", str(elf)]
    assert note.startswith("# flasher is not installed; things to try: ")
    ended = cli.ok("flash", project, "--dry-run", "--tool", "other", "--json")
    assert ended.json == {
        "board": "board",
        "tool": "other",
        "argv": ["other-flasher", str(elf.parent / "flash" / "pair.hex")],
        "port": None,
        "installed": False,
        "flashed": False,
        "log": None,
    }
    assert not elf.exists()
    stand_in(tmp_path / "bin", "flasher", [])
    on_path(monkeypatch, tmp_path / "bin")
    note = cli.ok("flash", project, "--dry-run").out.splitlines()[1]
    assert note == "# flasher is installed: flasher"


def test_what_is_missing_is_said_before_anything_is_built(
    cli: CommandLine, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = cli.failed("flash", project)
    assert "flashing board needs flasher or other, which are not on the PATH" in message
    assert "things to try: flasher: install flasher" in message
    stand_in(tmp_path / "bin", "flasher", [])
    on_path(monkeypatch, tmp_path / "bin")
    message = cli.failed("flash", project)
    assert "board board was not found: no serial port of a USB device 0483:374b" in message
    message = cli.refused("flash", project, "--tool", "nope")
    assert "hint: its tools: flasher, other\n" in message
    plug_in(monkeypatch, ("/dev/ttyACM0", "0483:374b", "1"), ("/dev/ttyACM1", "0483:374b", "2"))
    message = cli.refused("flash", project)
    assert "/dev/ttyACM1 (0483:374b, Debug Probe, serial number 2)" in message
    message = cli.refused("flash", project, "--option", "speed=1")
    assert "platform host has no option 'speed'" in message
    message = cli.refused("build", project, "--option", "speed=1")
    assert "platform host has no option 'speed'" in message
    assert not (project / "build" / "pair.elf").exists()


def test_flash_and_run_on_a_serial_board(
    cli: CommandLine, pair: Path, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by its USB id, or named; the outputs are the host's."""
    inputs = tmp_path / "in.npz"
    np.savez(inputs, **pair_inputs(1))
    project = tmp_path / "project"
    cli.ok("create", pair, "--board", made / "board.toml", "-o", project)
    ended = cli.ok("run", pair, "--board", "host", "--input", inputs, "--json")
    expected = ended.json["outputs"]
    cli.ok("run", pair, "--board", "host", "--input", inputs, "--output", tmp_path / "e.npz")
    with SerialBoard(tmp_path / "flash") as board:
        plug_in(monkeypatch, (board.port, "0483:374b", "77"))
        elf = str(project.resolve() / "build" / "pair.elf")
        words = ["-s", "77", "-P", board.port, elf]
        stand_in(tmp_path / "bin", "flasher", words, then=board.copy_command(elf))
        on_path(monkeypatch, tmp_path / "bin")
        ended = cli.ok("flash", project)
        assert ended.out == (
            f"flashed pair to board at {board.port} with flasher; "
            f"run it with `microtvm run {project}`\n"
        )
        output = tmp_path / "out.npz"
        ended = cli.ok("run", project, "--input", inputs, "--output", output, "--json")
        assert ended.json["outputs"] == expected
        assert ended.json["seconds"] >= 0
        assert ended.json["instructions"] is None
        assert "in emulators only" in ended.json["cycles_note"]
        with np.load(output) as found, np.load(tmp_path / "e.npz") as wanted:
            assert set(found) == set(wanted)
            for name in wanted:
                np.testing.assert_array_equal(found[name], wanted[name])
        ended = cli.ok("run", project, "--port", board.port, "--input", inputs)
        assert "ms by the board's counter" in ended.out
        ended = cli.ok("diff", pair, "--project", project, "--port", board.port)
        assert "pair on board equals the reference" in ended.out
        assert cli.ok("flash", project, "--json").json["flashed"] is True


def test_model_is_flashed_and_run_in_one_command(
    cli: CommandLine, pair: Path, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board_file = made / "board.toml"
    with SerialBoard(tmp_path / "flash") as board:
        plug_in(monkeypatch, (board.port, "0483:374b", "77"))
        message = cli.refused("run", pair, "--board", board_file)
        assert "pair.tflite is not in the flash of board board" in message
        assert "--flash" in message
        elf = str((tmp_path / "kept").resolve() / "project" / "build" / "pair.elf")
        words = ["-s", "77", "-P", board.port, elf]
        stand_in(tmp_path / "bin", "flasher", words, then=board.copy_command(elf))
        on_path(monkeypatch, tmp_path / "bin")
        kept = ("--keep", tmp_path / "kept")
        ended = cli.ok("run", pair, "--board", board_file, "--flash", "--json", *kept)
        assert [o["name"] for o in ended.json["outputs"]] == ["odds", "diff"]


def test_options_go_to_the_steps_that_they_are_meant_for(
    cli: CommandLine, pair: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Building, flashing and opening in one command; creating too where a model is given."""
    entry = EntryPoint("optional", "tests.test_project_api:Optional", registry.ENTRY_POINTS)
    monkeypatch.setattr(registry, "entry_points", lambda **_: [entry])
    file = tmp_path / "board.toml"
    file.write_text(BOARD.replace('["host"]', '["host", "optional"]'))
    opened = []

    def open_url(url: str) -> Transport:
        opened.append(url)
        return open_transport(url.partition("?")[0])

    monkeypatch.setattr(attach, "open_transport", open_url)
    steps = ["--option", "level=3", "--option", "runner=slow", "--option", "speed=19200"]
    kept, created = tmp_path / "kept", ["--platform", "optional", "--option", "greeting=hi"]
    build = kept.resolve() / "project" / "build"
    with SerialBoard(tmp_path / "flash") as board:
        plug_in(monkeypatch, (board.port, "0483:374b", "77"))
        copy = board.copy_command(str(build / "pair.elf"))
        stand_in(tmp_path / "bin", "meta", ["flash", "-r", "slow", "-d", str(build)], then=copy)
        on_path(monkeypatch, tmp_path / "bin")
        cli.ok("run", pair, "--board", file, *created, *steps, "--flash", "--keep", kept, "--json")
        assert load_project(kept / "project").options == {"greeting": "hi"}
        cli.ok("run", kept / "project", *steps, "--json")
        cli.ok("flash", kept / "project", *steps[:4])
    assert opened == [f"serial:{board.port}?baud=19200"] * 2
    message = cli.refused("run", kept / "project", "--option", "greeting=hi")
    assert "was created with its option greeting" in message
    message = cli.refused("run", kept / "project", "--platform", "host")
    assert "has its board and platform already" in message
    message = cli.refused("flash", kept / "project", "--option", "runer=slow")
    assert "did you mean runner?" in message


def test_run_without_the_board(cli: CommandLine, pair: Path, made: Path, project: Path) -> None:
    assert "board board was not found" in cli.failed("run", project)
    assert "there is no serial port /dev/ttyACM9" in cli.refused(
        "run", project, "--port", "/dev/ttyACM9"
    )
    assert "can't be profiled: it has no emulator" in cli.refused("profile", project)


def test_board_that_does_not_answer(
    cli: CommandLine, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def impatient(link: Transport, metadata: Any, **_: Any) -> Session:
        return Session(link, metadata, timing=Timing(hello_s=0.5, retry_s=0.1))

    monkeypatch.setattr(attach, "Session", impatient)
    monkeypatch.setattr(console, "PATIENCE_S", 0.1)
    with SerialBoard(tmp_path / "flash") as board:
        ended = cli("run", project, "--port", board.port)
        assert ended.status == 1
        first, message = ended.err.split("\n", 1)
        assert first == f"waiting up to 20 s for the first answer of board at {board.port}"
        silent = cli.failed("run", project, "--port", board.port, "--json")
    for text in (message, silent):
        assert text.startswith("error: ")
        assert "no answer to the first request" in text
        assert "is this the board's port, and is this project in its flash? " in text
        assert f"microtvm flash {project} --port {board.port}; if it is" in text


def test_port_that_closes(cli: CommandLine, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anybody has answered, which says nothing of a stack."""

    class Closed(ExecTransport):
        def read(self, size: int, timeout_s: float) -> bytes:
            raise TransportClosed("the port is closed")

        def death(self, grace_s: float) -> str | None:
            return None

    monkeypatch.setattr(attach, "open_transport", lambda url: Closed(["cat"]))
    message = cli.failed("run", project, "--port", "/dev/null")
    assert "error: the port is closed while waiting for its first answer" in message
    assert "hint: is this the board's port, and is this project in its flash? " in message


def test_what_has_been_flashed_is_not_built_again(
    cli: CommandLine, pair: Path, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The port is looked at first."""
    project = tmp_path / "project"
    cli.ok("create", pair, "--board", made / "board.toml", "-o", project)
    message = cli.refused("run", project, "--port", tmp_path)
    assert f"{tmp_path} is a folder, no serial port" in message
    assert not (project / "build").exists()
    cli.ok("build", project)
    elf = project / "build" / "pair.elf"
    with SerialBoard(tmp_path / "flash") as board:
        shutil.copy(elf, tmp_path / "flash")
        monkeypatch.setenv("PATH", str(tmp_path / "empty"))
        ended = cli.ok("run", project, "--port", board.port, "--json")
    assert [o["name"] for o in ended.json["outputs"]] == ["odds", "diff"]


def test_port_that_another_program_has(
    cli: CommandLine, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither flashing nor running begins, and the program is named."""
    stand_in(tmp_path / "bin", "flasher", [])
    on_path(monkeypatch, tmp_path / "bin")
    with SerialBoard(tmp_path / "flash") as board:
        plug_in(monkeypatch, (board.port, "0483:374b", "77"))
        script = (
            f"import serial, time; port = serial.Serial({board.port!r}, exclusive=True); "
            "print(flush=True); time.sleep(60)"
        )
        with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            child.stdout.readline()
            try:
                for command in ("flash", "run"):
                    message = cli.failed(command, project)
                    assert f"{board.port} is in use by" in message
                    assert f"(process {child.pid})" in message
                    assert "hint: close the serial monitor" in message
            finally:
                child.kill()


def test_ports_are_listed(
    cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli.ok("ports").out == "there are no serial ports and no UF2 drives\n"
    assert cli.ok("ports", "--json").json == {"ports": [], "volumes": []}
    drive = tmp_path / "drive"
    drive.mkdir()
    (drive / "INFO_UF2.TXT").write_text("Model: Raspberry Pi RP2\nBoard-ID: RPI-RP2\n")
    (tmp_path / "mounts").write_text(f"/dev/sdb1 {drive} vfat rw 0 0\n")
    usb = next((str(u) for n in list_boards() for u in load_board(n).usb), "0483:374b")
    port = tmp_path / "ttyACM0"
    port.touch()
    plug_in(monkeypatch, (str(port), usb, "77"), ("/dev/ttyACM77", "", ""))
    boards = [n for n in list_boards() if usb in map(str, load_board(n).usb)]
    assert cli.ok("ports", "--json").json == {
        "ports": [
            {
                "device": str(port),
                "usb": usb,
                "serial_number": "77",
                "description": "Debug Probe",
                "boards": boards,
                "problem": "",
            },
            {
                "device": "/dev/ttyACM77",
                "usb": None,
                "serial_number": "",
                "description": "",
                "boards": [],
                "problem": "the port /dev/ttyACM77 is gone",
            },
        ],
        "volumes": [{"path": str(drive), "model": "Raspberry Pi RP2", "board_id": "RPI-RP2"}],
    }
    lines = cli.ok("ports").out.splitlines()
    assert [line.split()[0] for line in lines] == ["port", str(port), "/dev/ttyACM77", str(drive)]
