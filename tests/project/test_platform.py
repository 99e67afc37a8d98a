"""Platforms: ours, a third party's found by entry point, and what is said of a broken one."""

from __future__ import annotations

import dataclasses
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from microtvm.errors import BoardError, ToolError, UserError
from microtvm.project import (
    Option,
    Platform,
    build_project,
    create_project,
    find_platform,
    list_platforms,
    load_project,
    registry,
)
from microtvm.project.make import MakePlatform
from microtvm.target import Board, FlashTool, Uart, data_folder, list_boards, load_board
from tests.project.image import TINY, require_board_tools


class Own(MakePlatform):
    """The host's template under another name, with options."""

    name = "own"
    options = (
        Option("greeting", "hello", "What to say."),
        Option("jobs", 2, "How many at once.", method="build"),
    )

    @property
    def template_folder(self) -> Path:
        return data_folder("project_templates") / "host"


class Unfinished(Platform):
    """What `build` does is missing."""

    name = "unfinished"


class Liar(Own):
    name = "liar"


@pytest.fixture
def foreign(monkeypatch: pytest.MonkeyPatch) -> None:
    """Entry points as installed packages would have them."""
    found = [
        EntryPoint("own", f"{__name__}:Own", registry.ENTRY_POINTS),
        EntryPoint("absent", "no_such_package:Platform", registry.ENTRY_POINTS),
        EntryPoint("function", f"{__name__}:foreign", registry.ENTRY_POINTS),
        EntryPoint("unfinished", f"{__name__}:Unfinished", registry.ENTRY_POINTS),
        EntryPoint("other", f"{__name__}:Liar", registry.ENTRY_POINTS),
        EntryPoint("host", f"{__name__}:Own", registry.ENTRY_POINTS),
    ]

    def entry_points(**params: Any) -> list[EntryPoint]:
        assert params == {"group": registry.ENTRY_POINTS}
        return found

    monkeypatch.setattr(registry, "entry_points", entry_points)


@pytest.mark.usefixtures("foreign")
def test_third_partys_platform_builds_a_project(tmp_path: Path) -> None:
    assert {"baremetal", "host", "own"} <= set(list_platforms())
    board = dataclasses.replace(load_board("host"), platforms=("own",))
    require_board_tools(board)
    project = create_project(TINY, board, tmp_path / "p", options={"greeting": "good day"})
    assert project.options == {"greeting": "good day"}
    assert load_project(tmp_path / "p").options == project.options
    assert build_project(project).elf.is_file()
    with pytest.raises(UserError, match="platform own has no option 'jobs'"):
        create_project(TINY, board, tmp_path / "q", options={"jobs": 3})


@pytest.mark.usefixtures("foreign")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent", "the platform 'absent' of no_such_package:Platform can't be loaded"),
        ("function", "the platform 'function', is no subclass of Platform"),
        (
            "unfinished",
            "platform 'unfinished' of .* can't be made: Can't instantiate",
        ),
        ("other", "is installed as the platform 'other', but calls itself 'liar'"),
        ("hots", "there is no platform 'hots'"),
    ],
)
def test_broken_platform_is_named(name: str, message: str) -> None:
    with pytest.raises(ToolError, match=message):
        find_platform(name)


@pytest.mark.usefixtures("foreign")
def test_ours_are_not_replaced() -> None:
    assert find_platform("host").name == "host"


@pytest.mark.parametrize("name", list_boards())
def test_boards_name_platforms_that_exist(name: str) -> None:
    board = load_board(name)
    assert set(board.platforms) <= set(list_platforms())
    assert set(board.settings) <= set(board.platforms)


@pytest.mark.parametrize("uart", [None, Uart(name="uart0")])
def test_bare_metal_needs_a_driver_of_the_uart(tmp_path: Path, uart: Uart | None) -> None:
    board: Board = dataclasses.replace(load_board("qemu-mps2-an386"), uart=uart)
    with pytest.raises(
        BoardError, match=r"\[uart\] is missing, which the platform baremetal needs"
    ):
        create_project(TINY, board, tmp_path / "p")
    assert not (tmp_path / "p").exists()


def test_tools_of_other_platforms_do_not_flash(tmp_path: Path) -> None:
    """West knows nothing of a folder that make builds; a platform's own tool comes first."""
    board = dataclasses.replace(
        load_board("host"),
        flash_tools=tuple(
            FlashTool(name, (name, "{elf}")) for name in ("pyocd", "west", "arduino-cli", "x")
        ),
    )
    project = dataclasses.replace(create_project(TINY, load_board("host"), tmp_path), board=board)
    assert [tool.name for tool in project.platform.flash_tools(project)] == ["pyocd", "x"]

    class Zephyr(Own):
        name = "zephyr"

    assert [tool.name for tool in Zephyr().flash_tools(project)] == ["west", "pyocd", "x"]
    assert project.platform.build_folder(project) == tmp_path / "build"
