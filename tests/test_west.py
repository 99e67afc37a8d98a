"""`west microtvm` under the real west, in workspaces that have it by a project or by a file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from microtvm.project import create_project
from microtvm.target import load_board
from tests.conftest import ROOT
from tests.project.image import TINY
from tests.zephyr.fake import write

BY_PROJECT = """\
manifest:
  projects:
    - name: microtvm
      url: https://example.com/microtvm
      path: tools/microtvm
      west-commands: west-commands.yml
  self:
    path: manifest
"""

BY_FILE = """\
manifest:
  self:
    path: manifest
    west-commands: scripts/west-commands.yml
"""

COMMANDS = """\
west-commands:
  - file: scripts/west_microtvm.py
    commands:
      - name: microtvm
        class: Microtvm
        help: compile, build and run a trained model
"""


def west(folder: Path, *words: object, **variables: str) -> subprocess.CompletedProcess[str]:
    """west in that folder, without a tree of this machine."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("ZEPHYR", "WEST"))}
    return subprocess.run(
        [sys.executable, "-m", "west", *map(str, words)],
        cwd=folder,
        env={**inherited, "PYTHONPATH": str(ROOT), "COLUMNS": "200", **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def workspace(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A workspace whose west has the command; by a project unless the test says otherwise."""
    write(tmp_path / "manifest" / "west.yml", getattr(request, "param", BY_PROJECT))
    write(tmp_path / "manifest" / "scripts" / "west-commands.yml", COMMANDS)
    write(
        tmp_path / "manifest" / "scripts" / "west_microtvm.py",
        "from microtvm.west_commands import Microtvm\n",
    )
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "microtvm").symlink_to(ROOT)
    done = west(tmp_path, "init", "-l", "manifest")
    assert done.returncode == 0, done.stderr
    return tmp_path


def test_west_knows_the_command(workspace: Path) -> None:
    done = west(workspace, "microtvm", "-h")
    assert done.returncode == 0, done.stderr
    for command in ("create", "build", "run", "profile"):
        assert f"west microtvm {command}" in done.stdout
    assert "microtvm:" in west(workspace, "help").stdout


@pytest.mark.parametrize("workspace", [BY_PROJECT, BY_FILE], indirect=True, ids=["project", "file"])
def test_application_for_a_board_by_zephyrs_name(workspace: Path) -> None:
    done = west(workspace, "microtvm", "create", TINY, "-b", "mps2/an521/cpu0", "-o", "app")
    assert done.returncode == 0, done.stderr
    note = json.loads((workspace / "app" / "project.json").read_text())
    assert (note["board"], note["platform"]) == ("qemu-mps2-an521", "zephyr")


def test_board_that_the_workspace_is_set_to(workspace: Path) -> None:
    west(workspace, "config", "build.board", "qemu_cortex_m3")
    done = west(workspace, "microtvm", "create", TINY, "-o", "app", "--option", "console=1")
    assert done.returncode == 0, done.stderr
    note = json.loads((workspace / "app" / "project.json").read_text())
    assert (note["board"], note["options"]["console"]) == ("qemu-cortex-m3", True)


def test_mistakes_are_told_as_microtvm_does(workspace: Path) -> None:
    done = west(workspace, "microtvm", "create", TINY, "-b", "mps2/an368", "-o", "app")
    assert done.returncode == 2
    assert done.stderr.startswith("error: there is no board 'mps2/an368'\nhint: did you mean")
    create_project(TINY, load_board("qemu-cortex-m3"), workspace / "app")
    done = west(workspace, "microtvm", "build", "app")
    assert done.returncode == 1
    assert "no Zephyr tree" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_microtvm_needs_is_missing(workspace: Path, tmp_path: Path) -> None:
    write(tmp_path / "poison" / "click.py", "raise ImportError(\"No module named 'click'\")\n")
    paths = f"{tmp_path / 'poison'}{os.pathsep}{ROOT}"
    done = west(workspace, "microtvm", "build", PYTHONPATH=paths)
    assert done.returncode == 1
    assert "No module named 'click'; things to try:" in done.stderr
    assert "-m pip install 'microtvm[zephyr]'" in done.stderr


def test_loading_the_command_loads_nothing_else() -> None:
    """west does it before every command."""
    script = (
        "import runpy, sys; runpy.run_path(sys.argv[1]); "
        "assert not {'click', 'microtvm', 'numpy'} & set(sys.modules)"
    )
    file = ROOT / "microtvm" / "west_commands.py"
    subprocess.run([sys.executable, "-c", script, file], check=True)
