"""A wheel has everything that a checkout has, and works without one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from microtvm.errors import ToolError
from microtvm.target import data_folder
from tests.conftest import ROOT

FOLDERS = ("boards", "project_templates", "runtime_c")
CACHES = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")

# Makes a project from the installed data and says where they were found.
SCRIPT = """
import sys
from pathlib import Path
import microtvm
from microtvm.project import create_project, list_platforms
from microtvm.target import data_folder, list_boards, load_board
assert Path(microtvm.__file__).is_relative_to(sys.argv[1]), microtvm.__file__
for name in list_boards():
    if set(load_board(name).platforms) <= set(list_platforms()):
        create_project(Path(sys.argv[2]), load_board(name), Path(sys.argv[3]) / name)
print(data_folder("boards"))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, because a build leaves files beside its sources."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in"):
        shutil.copyfile(ROOT / name, source / name)
    (source / "README.md").write_text("Its text is not the subject here.\n")
    for name in ("microtvm", *FOLDERS):
        shutil.copytree(ROOT / name, source / name, ignore=CACHES)
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet", "-w", str(folder)]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", str(source), *options],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (found,) = folder.glob("*.whl")
    return found


def files_below(folder: Path) -> set[str]:
    return {
        str(file.relative_to(folder))
        for file in folder.rglob("*")
        if file.is_file() and not any(part.startswith((".", "__py")) for part in file.parts[1:])
    }


@pytest.mark.slow
def test_wheel_has_every_data_file(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for folder in FOLDERS:
        packed = {
            name.removeprefix(f"microtvm/_data/{folder}/")
            for name in names
            if name.startswith(f"microtvm/_data/{folder}/")
        }
        assert packed == files_below(ROOT / folder)


@pytest.mark.slow
def test_wheel_has_the_packages_own_files(wheel: Path) -> None:
    names = {
        name.removeprefix("microtvm/")
        for name in zipfile.ZipFile(wheel).namelist()
        if name.startswith("microtvm/") and not name.startswith("microtvm/_data/")
    }
    documents = {"DESIGN.md"}
    assert names == files_below(ROOT / "microtvm") - documents


@pytest.mark.slow
def test_wheel_makes_projects_without_a_checkout(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    library = shutil.copytree(ROOT / "tests" / "project" / "tiny", tmp_path / "tiny")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(site), str(library), str(tmp_path / "out")],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(site / "microtvm" / "_data" / "boards")
    assert (tmp_path / "out" / "qemu-mps2-an386" / "runtime" / "src" / "mtvm_server.c").is_file()


def test_missing_data_are_named() -> None:
    with pytest.raises(ToolError, match=r"has no folder 'nonsense': looked in .*_data.nonsense"):
        data_folder("nonsense")
