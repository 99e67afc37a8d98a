"""What tools really print when they fail becomes one error that says what to do, with the exact
arguments that the board's data ask for."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from microtvm.device import plan_flash, run_plan
from microtvm.errors import ToolError
from microtvm.target import list_boards, list_programmers, load_board, load_programmer
from tests.flash.bench import board_with, image_of, link_image, on_path, plug_in, stand_in

CASES: list[dict[str, Any]] = tomllib.loads(
    (Path(__file__).parent / "failures.toml").read_text(encoding="utf-8")
)["case"]


@pytest.fixture(scope="module")
def elf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return link_image(tmp_path_factory.mktemp("image"))


@pytest.mark.parametrize("case", CASES, ids=[case["recorded"] for case in CASES])
def test_failure_is_told(
    case: dict[str, Any], elf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = str(tmp_path / "ttyACM0")
    Path(port).touch()
    plug_in(monkeypatch, (port, "0483:374b", ""))
    monkeypatch.setattr("microtvm.device.flash_run.touch", lambda _board, port, **_: port)
    image = image_of(elf, tmp_path)
    values = {
        "{elf}": str(elf),
        "{hex}": str(image.file("{hex}")),
        "{bin}": str(image.file("{bin}")),
        "{uf2}": str(image.file("{uf2}")),
        "{port}": port,
        "{build}": str(image.build),
        "{folder}": str(image.folder),
    }

    def filled(text: str) -> str:
        for placeholder, value in values.items():
            text = text.replace(placeholder, value)
        return text

    board = board_with({case["tool"]: case["argv"]})
    seen = stand_in(
        tmp_path / "bin",
        case["argv"][0],
        [filled(word) for word in case["expected"]],
        text=filled(case["text"]),
        status=case.get("status", 0),
        waits=case.get("waits", False),
    )
    on_path(monkeypatch, tmp_path / "bin")
    plan = plan_flash(board, board.flash_tools, image, serial_number=case.get("serial_number", ""))
    printed: list[str] = []
    with pytest.raises(ToolError) as caught:
        run_plan(plan, line=printed.append, patience_s=0.5)
    message = caught.value.message
    assert message == f"flashing board with {case['tool']} failed: {filled(case['problem'])}"
    assert case["hint"] in caught.value.hint
    assert str(plan.log) in caught.value.hint
    assert filled(case["text"]) in plan.log.read_text()
    assert "a line of progress" in printed
    assert seen.read_text() == str(tmp_path)
    for placeholder in ("{hex}", "{bin}", "{uf2}"):
        used = any(placeholder in word for word in case["argv"])
        assert image.file(placeholder).is_file() == used


def test_every_tool_has_a_case() -> None:
    silent = {"uf2"}
    assert {case["tool"] for case in CASES} | silent == set(list_programmers())


def test_every_tool_flashes_some_board() -> None:
    """What no board names is of no use."""
    used = {
        load_programmer(Path(tool.argv[0]).name).name
        for name in list_boards()
        for tool in load_board(name).flash_tools
    }
    assert used == set(list_programmers())


@pytest.mark.parametrize("name", list_programmers())
def test_tools_data_are_complete(name: str) -> None:
    tool = load_programmer(name)
    assert tool.name == name
    assert tool.url.startswith("https://")
    if tool.programs:
        assert tool.install
        assert tool.failures
    for failure in tool.failures:
        assert failure.problem[0].islower() or failure.problem.startswith("Windows")
        assert not failure.problem.endswith(".")
        assert not failure.hint.endswith(".")
