"""What an application on bare metal prints comes to the host beside the answers, and costs nothing
where nothing is printed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from microtvm.attach import open_project
from microtvm.cli.printed import printed
from microtvm.pipeline import compile_model
from microtvm.project import Built, build_project, create_project
from microtvm.target import load_board
from tests.cli.conftest import CommandLine
from tests.project.image import TINY, build_tiny, require_board_tools
from tests.qemu.sine import sine_model

BOARDS = ["qemu-mps2-an386", "qemu-riscv32"]
PRINT, FORMAT, LONG = 100, 101, 102
"""What the first element of the input asks the last operator to do."""

LONG_BYTES = 300
LOCAL = "static void squash(uint8_t *arena)\n{\n"
PRINTS = f"""\
    const int8_t *x = (const int8_t *)arena;

    if (x[0] == {PRINT}) {{
        print_text("caf\\xc3\\xa9\\x1b\\n", 7);
    }}
    if (x[0] == {FORMAT}) {{
        puts("plain");
        printf("%d of %s\\n", (int)x[1], "tiny");
    }}
    if (x[0] == {LONG}) {{
        for (int i = 0; i < {LONG_BYTES} - 1; i++) {{
            print_text("m", 1);
        }}
        print_text("\\n", 1);
    }}
"""
POLL = "        mtvm_server_poll(&server);\n"
TELL = """\
        static uint8_t known;

        if (known != server.base) {
            known = server.base;
            print_text("answered\\n", 9);
        }
"""


def patch(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert text.count(old) == 1
    file.write_text(text.replace(old, new))


@pytest.fixture(scope="module", params=BOARDS)
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The hand-written model; main() prints after requests, the last operator as it is told to."""
    board = load_board(request.param)
    require_board_tools(board)
    folder = tmp_path_factory.mktemp("print")
    library = shutil.copytree(TINY, folder / "library")
    patch(library / "tiny.c", LOCAL, LOCAL + PRINTS)
    includes = '#include "platform.h"\n\n#include <math.h>\n#include <stdio.h>\n'
    patch(library / "tiny.c", "#include <math.h>\n", includes)
    # Operators are counted by what a compiled model has.
    patch(library / "tiny.c", "static void run(", "static void tiny_run(")
    patch(library / "tiny.c", ".run = run,", ".run = tiny_run,")
    metadata = library / "metadata.json"
    metadata.write_text(metadata.read_text().replace('"macs"', '"ops": [], "macs"'))
    project = create_project(library, board, folder / "p")
    patch(project.folder / "src" / "main.c", POLL, TELL + POLL)
    return build_project(project, strict=True)


@pytest.mark.qemu
def test_prints_come_beside_the_answers(built: Built) -> None:
    lines = {
        PRINT: ["café\x1b\n"],
        FORMAT: ["plain\n", "7 of tiny\n"],
        LONG: ["m" * 128, "m" * 128, "m" * (LONG_BYTES - 257) + "\n"],
    }
    x = np.zeros((1, 16), np.int8)
    x[0, 1] = 7
    heard: list[str] = []
    with open_project(built.project) as session:
        silent = {}
        for first in lines:
            x[0, 0] = first
            silent[first] = session.run({"x": x})["y"]
        session.on_log(heard.append)
        for first, expected in lines.items():
            for whole in (True, False):
                heard.clear()
                x[0, 0] = first
                np.testing.assert_array_equal(
                    session.run({"x": x}, whole=whole)["y"], silent[first]
                )
                assert [line for line in heard if line != "answered\n"] == expected
                assert len(heard) > len(expected)
        assert session.retransmissions == 0


@pytest.mark.qemu
def test_commands_show_what_is_printed(
    built: Built, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    x = np.zeros((1, 16), np.int8)
    x[0, 0] = PRINT
    np.savez(tmp_path / "in.npz", x=x)
    command = "run" if built.project.board.name == BOARDS[0] else "profile"
    words = [command, built.project.folder, "--input", tmp_path / "in.npz", "--json"]
    ended = CommandLine(capsys)(*words)
    assert ended.status == 0
    # Its other line comes after requests; the single input is run twice.
    assert ended.json["log"].count("café?") == 2
    assert set(ended.json["log"]) == {"café?", "answered"}
    assert ended.err.splitlines() == [f"device: {line}" for line in ended.json["log"]]


@pytest.mark.qemu
def test_diff_shows_what_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    board = load_board(BOARDS[0])
    require_board_tools(board)
    model = tmp_path / "sine.tflite"
    model.write_bytes(sine_model())
    compile_model(model, board.cpu, prefix="sine").library.write(tmp_path / "library")
    project = create_project(tmp_path / "library", board, tmp_path / "p")
    patch(project.folder / "src" / "main.c", POLL, TELL + POLL)
    ended = CommandLine(capsys)("diff", model, "--project", project.folder, "--json")
    assert (ended.status, set(ended.json["log"])) == (0, {"answered"})
    assert ended.err == "device: answered\n" * len(ended.json["log"])


def test_lines_are_told_apart_bounded_and_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    with printed() as text:
        for piece in ("one\r\ntw", "o\n\n[bold]\t:smile:\x07\u202e", "\n" + "m" * 2500, "\nend"):
            text.heard(piece)
        assert text.lines[-1] == "end"
    expected = ["one", "two", "", "[bold] :smile:??", "m" * 1000, "m" * 1000, "m" * 500, "end"]
    assert text.lines == expected
    assert capsys.readouterr().err == "".join(f"device: {line}\n" for line in expected)


@pytest.mark.parametrize("name", BOARDS)
def test_nothing_of_it_is_there_where_nothing_is_printed(name: str, tmp_path: Path) -> None:
    found = build_tiny(name, tmp_path / "p")
    argv = [f"{load_board(name).cpu.prefix}nm", found.elf]
    symbols = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()
    assert "mtvm_server_poll" in symbols
    assert not {"mtvm_server_log", "link_log", "print_text", "link_stream"} & set(symbols)
