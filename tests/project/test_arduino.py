"""Projects for Arduino: what is in them, what arduino-lint says, tools, and what goes wrong."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from microtvm.attach import require_simavr
from microtvm.device.count import PluginBuild
from microtvm.errors import BoardError, FitError, ToolError, UserError
from microtvm.project import (
    Library,
    Project,
    Value,
    arduino,
    build_project,
    create_project,
    load_project,
    measure,
    read_library,
)
from microtvm.project.arduino import Arduino, builder_argv, cli_argv
from microtvm.target import Board, list_boards, load_board
from tests.conftest import require_tool
from tests.project.arduino_lint import RULES, complaints
from tests.project.image import HERE, TINY

MEGA = "arduino-mega2560"
OTHERS = {
    "nano-33-ble": ("cortex-m4", "arduino:mbed_nano:nano33ble", {}),
    "portenta-h7": ("cortex-m7", "arduino:mbed_portenta:envie_m7", {}),
    "due": ("cortex-m3", "arduino:sam:arduino_due_x_dbg", {"receive_ring": 128}),
    "rp2040": ("cortex-m0plus", "rp2040:rp2040:rpipico", {"receive_ring": 256}),
    "teensy41": ("cortex-m7", "teensy:avr:teensy41", {"serial": "SerialUSB"}),
    "uno-r4": ("cortex-m4", "arduino:renesas_uno:minima", {"receive_ring": 512}),
}
"""Cores of other families, as a board's file may have them."""


def tiny(folder: Path, cpu: str = "") -> Path:
    """The hand-written library, whose C is any core's."""
    shutil.copytree(TINY, folder)
    file = folder / "metadata.json"
    file.write_text(re.sub(r'"cpu": "[^"]*"', f'"cpu": "{cpu}"', file.read_text()))
    return folder


@pytest.fixture
def mega() -> Board:
    return load_board(MEGA)


@pytest.fixture
def project(tmp_path: Path, mega: Board) -> Project:
    return create_project(tiny(tmp_path / "tiny"), mega, tmp_path / "p")


def test_project_is_a_sketchbook(project: Project) -> None:
    files = {str(f.relative_to(project.folder)) for f in project.folder.rglob("*") if f.is_file()}
    source = "libraries/tiny/src"
    assert {
        "README.md",
        "tiny_server/tiny_server.ino",
        "libraries/tiny/library.properties",
        "libraries/tiny/keywords.txt",
        "libraries/tiny/examples/Server/Server.ino",
        "libraries/tiny/examples/StandAlone/StandAlone.ino",
        f"{source}/tiny.c",
        f"{source}/tiny.h",
        f"{source}/mtvm_arduino.cpp",
        f"{source}/mtvm_config.h",
        f"{source}/mtvm_server.c",
    } <= files
    assert not [file for file in files if file.endswith((".j2", ".py", ".toml"))]
    assert load_project(project.folder) == project
    assert project.library.folder == project.folder / source


def test_the_linter_has_nothing_to_say(project: Project) -> None:
    library = project.folder / "libraries" / "tiny"
    assert complaints(library, [project.folder / "tiny_server"]) == []


@pytest.mark.parametrize(
    ("file", "old", "new", "rule"),
    [
        ("library.properties", "name=tiny", "name=tiny library", "LP015"),
        ("library.properties", "version=1.0.0", "version=1.0", "LP021"),
        ("library.properties", "category=Data Processing", "category=Networks", "LP038"),
        ("library.properties", "includes=tiny.h", "includes=small.h", "LP052"),
        ("library.properties", "architectures=avr", "architectures=AVR", "LP046"),
        ("library.properties", "url=https://", "url=", "LP041"),
        ("src/mtvm_arduino.h", "<Arduino.h>", "<arduino.h>", "LC001"),
    ],
)
def test_the_linter_finds_what_is_wrong(
    project: Project, file: str, old: str, new: str, rule: str
) -> None:
    library = project.folder / "libraries" / "tiny"
    text = (library / file).read_text()
    assert old in text
    (library / file).write_text(text.replace(old, new))
    assert rule in RULES
    assert rule in complaints(library, [])


def test_options_reach_the_library(tmp_path: Path, mega: Board) -> None:
    made = create_project(
        tiny(tmp_path / "tiny"),
        mega,
        tmp_path / "p",
        options={
            "author": "Ada <ada@example.org>",
            "version": "2.1.0",
            "url": "https://example.org/tiny",
            "baud": 57600,
        },
    )
    text = (made.folder / "libraries" / "tiny" / "library.properties").read_text()
    assert "author=Ada <ada@example.org>\nmaintainer=Ada <ada@example.org>\n" in text
    assert "version=2.1.0\n" in text
    assert "url=https://example.org/tiny\n" in text
    assert "Serial.begin(57600);" in (made.folder / "tiny_server/tiny_server.ino").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"author": "me\ncategory=Nope"}, "option author of platform arduino must be one line"),
        ({"version": "1"}, "option version .* must be a version such as 1.0.0, found '1'"),
        ({"url": "javascript:x"}, "option url .* must be an address that begins with https://"),
        ({"baud": -5}, "option baud .* must be 300 to 4000000, found -5"),
    ],
)
def test_wrong_options_are_refused(
    options: dict[str, Value], message: str, tmp_path: Path, mega: Board
) -> None:
    with pytest.raises(UserError, match=message):
        create_project(tiny(tmp_path / "tiny"), mega, tmp_path / "p", options=options)
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize("name", OTHERS)
def test_other_cores_have_projects(name: str, tmp_path: Path) -> None:
    """The sketch waits for the port, the window fits the ring, the library names its core."""
    cpu, fqbn, rest = OTHERS[name]
    settings: dict[str, str | int] = {"fqbn": fqbn, **rest}
    board = dataclasses.replace(
        load_board("qemu-mps2-an386"),
        name=name,
        cpu=dataclasses.replace(load_board("qemu-mps2-an386").cpu, name=cpu),
        uart=None,
        platforms=("arduino",),
        settings={"arduino": settings},
    )
    context = Arduino().context(board, _library(tmp_path), dict(_defaults()))
    assert context["architecture"] == fqbn.split(":")[1]
    assert context["window"] == int(settings.get("receive_ring", 64)) // 2
    assert context["serial"] == settings.get("serial", "Serial")
    Arduino().check(board, dict(_defaults()))


@pytest.mark.parametrize("name", [n for n in list_boards() if "arduino" in load_board(n).platforms])
def test_every_board_of_arduinos_has_a_project(name: str, tmp_path: Path) -> None:
    board = load_board(name)
    made = create_project(tiny(tmp_path / "tiny"), board, tmp_path / "p", platform="arduino")
    fqbn = str(board.settings["arduino"]["fqbn"])
    assert f"--fqbn {fqbn} " in (made.folder / "README.md").read_text()
    assert complaints(made.folder / "libraries" / "tiny", [made.folder / "tiny_server"]) == []
    config = (made.folder / "libraries" / "tiny" / "src" / "mtvm_config.h").read_text()
    found = re.search(r"MTVM_WINDOW_BYTES (\d+)", config)
    assert found is not None
    assert int(found[1]) * 2 <= int(board.settings["arduino"].get("receive_ring", 64))


def _defaults() -> dict[str, str | int]:
    return {option.name: option.default for option in Arduino().options}


def _library(folder: Path) -> Library:
    return read_library(tiny(folder / "library"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "platform.arduino.fqbn is missing"),
        ({"fqbn": "mega"}, "platform.arduino.fqbn is 'mega'"),
        ({"fqbn": "a:b:c", "ring": 64}, "platform.arduino.ring is not a key known here"),
        ({"fqbn": "a:b:c", "receive_ring": 16}, "platform.arduino.receive_ring is 16"),
    ],
)
def test_wrong_settings_are_named(
    settings: dict[str, str | int], message: str, tmp_path: Path, mega: Board
) -> None:
    board = dataclasses.replace(mega, settings={"arduino": settings})
    with pytest.raises(BoardError, match=message):
        create_project(tiny(tmp_path / "tiny"), board, tmp_path / "p")
    assert not (tmp_path / "p").exists()


def test_model_that_does_not_fit_is_told_before_anything_is_built(
    tmp_path: Path, mega: Board
) -> None:
    library = tiny(tmp_path / "tiny")
    file = library / "metadata.json"
    file.write_text(re.sub(r'"arena_bytes": \d+', '"arena_bytes": 9000', file.read_text()))
    with pytest.raises(FitError, match="its memory ram has 8,192 bytes, at least 1,"):
        create_project(library, mega, tmp_path / "p")


# ---- the tools ----


def fake_tool(folder: Path, name: str, script: str, patch: pytest.MonkeyPatch) -> None:
    """A program of that name, alone on the PATH."""
    file = folder / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    patch.setenv("PATH", str(folder))


def test_missing_tools_are_named(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match="needs arduino-cli or arduino-builder") as caught:
        build_project(project)
    assert "apt-get install arduino-builder" in caught.value.hint


def test_missing_simavr_is_named(mega: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("microtvm.attach.build_simavr", lambda: PluginBuild(None, "no header"))
    with pytest.raises(ToolError, match="needs libsimavr: no header") as caught:
        require_simavr(mega)
    assert "libsimavr-dev" in caught.value.hint


def test_arduino_cli_is_preferred(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = 'printf "%s\\n" "$@" > "$PWD/argv"; : > build/tiny_server.ino.elf'
    fake_tool(tmp_path, "arduino-cli", script, monkeypatch)
    built = build_project(project, strict=True, jobs=3)
    assert built.elf == project.folder / "build" / "tiny_server.ino.elf"
    fqbn = "arduino:avr:mega:cpu=atmega2560"
    expected = cli_argv(fqbn, "tiny_server", strict=True, jobs=3)
    assert (project.folder / "argv").read_text().splitlines() == expected[1:]
    assert expected[:4] == ["arduino-cli", "compile", "--fqbn", fqbn]


@pytest.mark.parametrize(
    ("said", "error", "message"),
    [
        (
            "Error during build: Platform 'arduino:avr' not found: platform not installed",
            ToolError,
            "the Arduino core arduino:avr is not installed",
        ),
        (
            "Error resolving FQBN: board arduino:avr:mega not found",
            ToolError,
            "core arduino:avr has no board arduino:avr:mega:cpu=atmega2560",
        ),
        (
            "Sketch uses 300000 bytes (118%) of program storage space. Maximum is 253952 bytes.\n"
            "text section exceeds available space in board",
            FitError,
            "does not fit board arduino-mega2560: Sketch uses 300000 bytes",
        ),
        (
            "Global variables use 9000 bytes (109%) of dynamic memory\nNot enough memory; see",
            FitError,
            "does not fit board arduino-mega2560: Global variables use 9000 bytes",
        ),
        (
            "ld: region `data' overflowed by 4 bytes",
            FitError,
            "its memory data is 4 bytes too small",
        ),
        ("tiny.c:3: error: expected ';'", ToolError, "tiny.c:3: error: expected ';'"),
    ],
)
def test_what_the_tools_say_is_explained(
    project: Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    said: str,
    error: type[Exception],
    message: str,
) -> None:
    (tmp_path / "said").write_text(said)
    fake_tool(tmp_path, "arduino-cli", f"/bin/cat {tmp_path / 'said'}; exit 1", monkeypatch)
    with pytest.raises(error, match=message):
        build_project(project)


def test_builder_without_the_core_says_which(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_tool(tmp_path, "arduino-builder", "exit 1", monkeypatch)
    monkeypatch.setattr(arduino, "CORES", tmp_path)
    with pytest.raises(ToolError, match="needs the Arduino core arduino:avr") as caught:
        build_project(project)
    assert "arduino-cli core install arduino:avr" in caught.value.hint


# ---- for real ----


def require_builder() -> None:
    for program in ("arduino-builder", "avr-gcc"):
        require_tool(program)


def without_cli(patch: pytest.MonkeyPatch) -> None:
    """As on a machine that only has a distribution's packages."""
    patch.setattr(arduino, "CLI", "arduino-cli-that-nobody-has")


def test_builder_builds_without_a_warning(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_builder()
    without_cli(monkeypatch)
    built = build_project(project, strict=True)
    ours = [line for line in built.log.read_text().splitlines() if "libraries/tiny" in line]
    assert [line for line in ours if "warning:" in line] == []
    footprint = measure(built.elf, project.library)
    assert footprint.ram.arena == project.library.arena_bytes
    assert footprint.ram.total < 2000


def test_readmes_command_builds_it_elsewhere_without_microtvm(
    project: Project, tmp_path: Path
) -> None:
    require_builder()
    moved = tmp_path / "taken away"
    shutil.move(project.folder, moved)
    text = (moved / "README.md").read_text()
    (command,) = re.findall(r"^- `(mkdir -p build && arduino-builder .*)`$", text, re.MULTILINE)
    done = subprocess.run(
        command,
        shell=True,
        cwd=moved,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (moved / "build" / "tiny_server.ino.elf").is_file()


def test_builder_does_not_know_a_board(
    tmp_path: Path, mega: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_builder()
    without_cli(monkeypatch)
    file = HERE.parent.parent / "boards" / f"{MEGA}.toml"
    own = tmp_path / "own.toml"
    own.write_text(file.read_text().replace("avr:mega:cpu=atmega2560", "avr:giga"))
    made = create_project(tiny(tmp_path / "tiny"), load_board(str(own)), tmp_path / "p")
    with pytest.raises(ToolError, match="the Arduino core arduino:avr has no board"):
        build_project(made)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ("volatile uint8_t ballast[9000];", r"its memory ram is 1,\d\d\d bytes too small"),
        (
            "\n".join(f"const uint8_t ballast{i}[32000] PROGMEM = {{1}};" for i in range(9)),
            r"its memory text is \d\d,\d\d\d bytes too small",
        ),
    ],
)
def test_sketch_that_is_too_big_is_told(
    project: Project, monkeypatch: pytest.MonkeyPatch, arrays: str, message: str
) -> None:
    require_builder()
    without_cli(monkeypatch)
    names = re.findall(r"ballast\d*", arrays)
    read = "pgm_read_byte(&{}[0]);" if "PROGMEM" in arrays else "{}[0];"
    uses = "".join(f"  {read.format(name)}\n" for name in names)
    sketch = project.folder / "tiny_server" / "tiny_server.ino"
    text = sketch.read_text().replace("void setup() {\n", f"{arrays}\nvoid setup() {{\n{uses}")
    sketch.write_text(text)
    with pytest.raises(FitError, match=message):
        build_project(project)


def test_builders_command_is_what_the_readme_says() -> None:
    argv = builder_argv("a:b:c", "s", "/build")
    assert argv[0] == "arduino-builder"
    assert argv[argv.index("-fqbn") + 1] == "a:b:c"
    assert argv[argv.index("-build-path") + 1] == "/build"
    assert argv[-1] == "s/s.ino"


def test_lines_of_crashes_cost_short_calls(tmp_path: Path, mega: Board) -> None:
    made = create_project(tiny(tmp_path / "tiny"), mega, tmp_path / "p", options={"watchdog_s": 2})
    readme = (made.folder / "README.md").read_text()
    flag = "compiler.c.elf.extra_flags=-Wl,--no-relax"
    assert f"arduino-cli compile --fqbn {made.board.settings['arduino']['fqbn']} " in readme
    assert f" --build-property {flag} " in readme
    assert f" -prefs {flag} " in readme
    assert flag not in cli_argv("a:b:c", "s")
    assert flag not in builder_argv("a:b:c", "s", "/build")
