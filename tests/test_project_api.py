"""The Project API on every kind of link: a process, an emulator, and a real board's serial port."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from microtvm import project_api
from microtvm.device import Timing
from microtvm.errors import BoardError, LinkError, UserError
from microtvm.project import Project, registry
from microtvm.project.make import MakePlatform
from microtvm.project.option import Option
from microtvm.project_api import (
    build,
    flash,
    generate_project,
    list_options,
    list_platforms,
    load_project,
    open_session,
    open_transport,
)
from microtvm.target import FlashTool, data_folder, load_board
from tests.conftest import ROOT, require_tool
from tests.flash.bench import on_path, plug_in, stand_in
from tests.flash.serial_board import SerialBoard

DIGITS = ROOT / "examples" / "digits" / "digits_int8.tflite"
IMAGES = ROOT / "examples" / "digits" / "digits_test.npz"


def digit() -> np.ndarray[Any, Any]:
    with np.load(IMAGES) as data:
        image = data["images"][0].astype(np.float32)
    return np.round(image / 16 * 255 - 128).astype(np.int8).reshape(1, 8, 8, 1)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Built for the host; nobody changes it."""
    require_tool("cc")
    require_tool("make")
    made = generate_project(DIGITS, "host", tmp_path_factory.mktemp("api") / "project")
    assert build(made, strict=True).elf.is_file()
    return made


@pytest.fixture(scope="module")
def scores(project: Project) -> np.ndarray[Any, Any]:
    with open_session(project) as session:
        return session.run({"image": digit()})["scores"]


def test_example_runs() -> None:
    require_tool("cc")
    script = ROOT / "examples" / "project_api.py"
    done = subprocess.run(
        [sys.executable, str(script)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    with np.load(IMAGES) as data:
        assert done.stdout == f"this is a {data['labels'][0]}\n"


def test_options_of_platforms() -> None:
    assert {"baremetal", "host"} <= set(list_platforms())
    for platform in list_platforms():
        for option in list_options(platform):
            assert option in list_options(platform, option.method)


def test_library_instead_of_a_model(project: Project, tmp_path: Path) -> None:
    """A compiled library's folder serves as well, and a board given as data."""
    again = generate_project(project.library.folder, load_board("host"), tmp_path / "p")
    assert again.library.metadata == project.library.metadata
    with pytest.raises(UserError, match="there is a project in"):
        generate_project(project.library.folder, "host", tmp_path / "p")
    generate_project(project.library.folder, "host", tmp_path / "p", force=True)
    assert load_project(tmp_path / "p").board.name == "host"


def test_transport_to_a_process(project: Project) -> None:
    with open_transport(project) as transport:
        assert transport.name.startswith("exec:")


@pytest.mark.qemu
def test_transport_and_session_to_an_emulator(tmp_path: Path, scores: Any) -> None:
    require_tool("qemu-system-arm")
    require_tool("arm-none-eabi-gcc")
    project = generate_project(DIGITS, "qemu-mps2-an386", tmp_path / "p")
    build(project)
    with open_transport(project) as transport:
        assert transport.name == "qemu-system-arm"
    with open_session(project) as session:
        np.testing.assert_array_equal(session.run({"image": digit()})["scores"], scores)


def real_board(project: Project, tools: tuple[FlashTool, ...] = ()) -> Project:
    """The same project, of a board that has no emulator."""
    board = dataclasses.replace(project.board, emulator=None, flash_tools=tools)
    return dataclasses.replace(project, board=board)


def test_flash_and_session_with_a_serial_board(
    project: Project, scores: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The board runs what the flash tool has put into it, behind a terminal that is found by its
    USB id."""
    with SerialBoard(tmp_path / "board") as board:
        plug_in(monkeypatch, (board.port, "0483:374b", "77"))
        elf = str(project.elf.resolve())
        stand_in(tmp_path / "bin", "flasher", ["-s", "77", elf], then=board.copy_command(elf))
        on_path(monkeypatch, tmp_path / "bin")
        tool = FlashTool("flasher", ("flasher", "-s", "{serial_number}", "{elf}"))
        real = real_board(project, (tool,))
        data = dataclasses.replace(real.board, usb=(board.usb,))
        real = dataclasses.replace(real, board=data)
        plan = flash(real)
        assert plan.tool.name == "flasher"
        with open_session(real) as session:
            np.testing.assert_array_equal(session.run({"image": digit()})["scores"], scores)


def test_board_that_is_silent(project: Project, tmp_path: Path) -> None:
    with SerialBoard(tmp_path / "board") as board:
        with pytest.raises(LinkError, match="no answer to the first request") as caught:
            open_session(
                real_board(project), port=board.port, timing=Timing(hello_s=0.4, retry_s=0.1)
            )
        assert f"microtvm flash {project.folder} --port {board.port}" in caught.value.hint
        assert "press reset" in caught.value.hint


def test_emulator_that_is_silent_is_not_to_be_flashed(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MakePlatform, "emulator_argv", lambda *_: ["cat"])
    with pytest.raises(LinkError) as caught:
        open_session(project, timing=Timing(hello_s=0.2, retry_s=0.1))
    assert "flash" not in caught.value.hint


def test_board_that_cannot_be_flashed(project: Project) -> None:
    with pytest.raises(BoardError, match="board host has no flash tool"):
        flash(project)


class Optional(MakePlatform):
    """The host's template, with an option for every step, and a flash tool of its own."""

    name = "optional"
    options = (
        Option("greeting", "hello", "What to say."),
        Option("level", 2, "How hard to try.", method="build"),
        Option("runner", "fast", "What flashes.", method="flash", choices=("fast", "slow")),
        Option("speed", 9600, "In baud.", method="open"),
    )

    @property
    def template_folder(self) -> Path:
        return data_folder("project_templates") / "host"

    def build(self, project: Project, *, strict: bool = False, jobs: int = 2) -> Any:
        assert project.options["level"] == 3
        return super().build(project, strict=strict, jobs=jobs)

    def flash_tools(self, project: Project) -> tuple[FlashTool, ...]:
        runner = str(project.options["runner"])
        return (FlashTool("meta", ("meta", "flash", "-r", runner, "-d", "{build}")),)

    def baud(self, project: Project) -> int:
        return int(project.options["speed"])


def test_options_reach_the_platforms_steps(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = EntryPoint("optional", f"{__name__}:Optional", registry.ENTRY_POINTS)
    monkeypatch.setattr(registry, "entry_points", lambda **_: [entry])
    board = dataclasses.replace(load_board("host"), platforms=("optional",))
    assert [o.name for o in list_options("optional", "flash")] == ["runner"]
    made = generate_project(
        project.library.folder, board, tmp_path / "p", options={"greeting": "hi"}
    )
    assert made.options == {"greeting": "hi"}
    built = build(made, options={"level": "3"})
    assert built.project.options["level"] == 3
    folder = str(built.elf.resolve().parent)
    stand_in(tmp_path / "bin", "meta", ["flash", "-r", "slow", "-d", folder])
    on_path(monkeypatch, tmp_path / "bin")
    flash(made, options={"runner": "slow"})
    opened = []

    def open_url(url: str) -> Any:
        opened.append(url)
        raise LinkError("closed")

    monkeypatch.setattr(project_api.attach, "open_transport", open_url)
    for given in ({}, {"speed": 19200}):
        with pytest.raises(LinkError, match="closed"):
            open_transport(made, port=os.devnull, options=given)
    assert opened == ["serial:/dev/null?baud=9600", "serial:/dev/null?baud=19200"]
    with pytest.raises(UserError, match="option runner of platform optional is 'slwo'"):
        flash(made, options={"runner": "slwo"})
    with pytest.raises(UserError, match="platform optional has no option 'runner'"):
        build(made, options={"runner": "slow"})
