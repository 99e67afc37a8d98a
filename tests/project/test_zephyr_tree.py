"""Which Zephyr tree is taken: its version, its boards."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from microtvm.cli import main
from microtvm.errors import BoardError, MicrotvmWarning, ToolError, UserError
from microtvm.project import build_project
from microtvm.project.zephyr import zephyr_board
from microtvm.project.zephyr_tree import find_tree, versions
from microtvm.target import load_board
from tests.zephyr.fake import fake_west, tree, workspace, write, zephyr_project

pytestmark = pytest.mark.usefixtures("nothing_chosen")


@pytest.mark.parametrize(
    ("version", "board", "module"),
    [
        ("3.0.0", "mps2_an521", "cmsis"),
        ("3.6.1", "mps2_an385", "cmsis"),
        ("3.7.1", "mps2/an521/cpu0", "cmsis"),
        ("4.1.0", "native_sim/native/64", "cmsis"),
        ("4.2.0", "mps2/an385", "cmsis_6"),
    ],
)
def test_versions(
    version: str, board: str, module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZEPHYR_BASE", str(tree(tmp_path / "zephyr", version)))
    found = find_tree(tmp_path)
    assert found.version_text == version
    found.require_board(board)
    assert found.modules_of("cortex-m") == (module,)
    assert found.modules_of("riscv") == ()


@pytest.mark.parametrize(
    ("version", "name", "board"),
    [
        ("3.6.1", "qemu-mps2-an521", "mps2_an521"),
        ("3.7.1", "qemu-mps2-an521", "mps2/an521/cpu0"),
        ("3.7.1", "qemu-mps3-an547", "mps3/an547"),
        ("4.0.0", "qemu-mps3-an547", "mps3/corstone300/an547"),
        ("4.2.0", "native-sim", "native_sim/native/64"),
    ],
)
def test_boards_have_the_trees_names(
    version: str, name: str, board: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZEPHYR_BASE", str(tree(tmp_path / "zephyr", version)))
    assert zephyr_board(load_board(name)).name(find_tree(tmp_path)) == board


@pytest.mark.parametrize(
    ("version", "board", "message", "near"),
    [
        ("3.6.1", "mps2/an385", "has no board 'mps2/an385'", ""),
        ("3.6.1", "mps2_an386", r"Zephyr 3\.6\.1 in .* has no board 'mps2_an386'", "mps2_an385"),
        ("3.7.1", "mps4/an999", "has no board 'mps4/an999'", "mps3"),
        ("4.2.0", "mps2/an386", "has the board 'mps2', but not with 'an386'", "an385"),
    ],
)
def test_missing_boards(
    version: str,
    board: str,
    message: str,
    near: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ZEPHYR_BASE", str(tree(tmp_path / "zephyr", version)))
    with pytest.raises(BoardError, match=message) as caught:
        find_tree(tmp_path).require_board(board)
    assert near in caught.value.hint
    monkeypatch.setenv("BOARD_ROOT", str(tmp_path))
    find_tree(tmp_path).require_board(board)


def test_descriptions_of_boards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An SoC is no board, however often it is named; what extends a board is part of it."""
    folder = workspace(tmp_path, "4.2.0")
    maker = folder / "boards" / "maker"
    for name in ("one", "two"):
        write(maker / name / "board.yml", f"board:\n  name: {name}\n  socs:\n  - name: chip\n")
    write(maker / "more" / "board.yml", "board:\n  extend: one\n  variants:\n  - name: large\n")
    write(
        maker / "list" / "board.yml",
        "boards:\n\n  - name: three\n    socs:\n      - name: chip\n"
        "  - name: four\n    socs:\n    - name: four\n",
    )
    monkeypatch.setenv("ZEPHYR_BASE", str(folder))
    found = find_tree(tmp_path)
    for name in ("one/chip", "two/chip", "one/large", "three/chip", "four/four", "four@B/four"):
        found.require_board(name)
    for name in ("chip", "large", "chip/chip", "other@B"):
        with pytest.raises(BoardError, match=f"has no board '{name}'"):
            found.require_board(name)
    with pytest.raises(BoardError, match="the board 'three', but not with 'other'"):
        found.require_board("three/other")


def test_no_tree(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="there is no Zephyr tree: ZEPHYR_BASE is not set") as e:
        build_project(zephyr_project(tmp_path))
    assert "export ZEPHYR_BASE=FOLDER" in e.value.hint
    assert "west init" in e.value.hint
    assert "pip install 'microtvm[zephyr]'" in e.value.hint


def test_what_is_no_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZEPHYR_BASE", str(tmp_path))
    with pytest.raises(ToolError, match=r"ZEPHYR_BASE says .* which is no Zephyr tree"):
        find_tree(tmp_path)
    (tmp_path / "VERSION").write_text("1.2.3\n")
    with pytest.raises(ToolError, match="it has no VERSION that can be read"):
        find_tree(tmp_path)


def test_blanks_in_the_projects_path(tmp_path: Path) -> None:
    """Zephyr's CMake splits lists of files at them."""
    (tmp_path / "a folder").mkdir()
    with pytest.raises(UserError, match=r"can't build in .*a folder/p: the path has a blank"):
        build_project(zephyr_project(tmp_path / "a folder"))


def test_too_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZEPHYR_BASE", str(tree(tmp_path / "zephyr", "2.7.4")))
    with pytest.raises(ToolError, match=r"is Zephyr 2\.7\.4; 3\.0 to 4\.2 are supported"):
        build_project(zephyr_project(tmp_path))


def test_unknown_major_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZEPHYR_BASE", str(tree(tmp_path / "zephyr", "5.0.0")))
    with pytest.raises(ToolError, match=r"is Zephyr 5\.0\.0; 3\.0 to 4\.2 are supported") as e:
        build_project(zephyr_project(tmp_path))
    assert "a newer microtvm" in e.value.hint


def test_version_that_nobody_tried(
    tmp_path: Path,
    programs: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It is said, and built: by the command as one line, without a place in the source."""
    found = workspace(tmp_path / "w", "4.3.0")
    monkeypatch.setenv("ZEPHYR_BASE", str(found))
    fake_west(programs, "exit 1")
    folder = zephyr_project(tmp_path).folder
    with pytest.warns(
        MicrotvmWarning, match=r"is Zephyr 4\.3\.0; projects were tried with 3\.0 to"
    ):
        find_tree(tmp_path)
    with pytest.raises(SystemExit):
        main(["build", str(folder)])
    said = capsys.readouterr().err
    assert said.startswith(f"warning: {found} is Zephyr 4.3.0; projects were tried with 3.0 to 4.2")
    assert ".py" not in said
    tree(found, "4.2.99")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert find_tree(tmp_path).version == versions()[1]


def test_workspace_around_the_project(tmp_path: Path) -> None:
    found = workspace(tmp_path / "w", "3.7.0")
    (tmp_path / "w" / "apps" / "p").mkdir(parents=True)
    assert find_tree(tmp_path / "w" / "apps" / "p").folder == found
    assert find_tree(tmp_path / "w" / "apps" / "p").workspace == tmp_path / "w"
    config = tmp_path / "w" / ".west" / "config"
    config.write_text("[manifest]\npath = own\n[zephyr]\nbase = elsewhere\n")
    with pytest.raises(ToolError, match=r"the workspace .*w says that Zephyr is in .*elsewhere"):
        find_tree(tmp_path / "w" / "apps" / "p")


def test_workspace_around_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = workspace(tmp_path / "w", "3.7.0")
    monkeypatch.chdir(found)
    assert find_tree(tmp_path / "p").folder == found
