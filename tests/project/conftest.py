"""The image of the model `tiny` for every board, built once; a machine without Zephyr."""

from __future__ import annotations

from pathlib import Path

import pytest

from microtvm.project import Built
from tests.project.image import EMULATED, build_tiny
from tests.zephyr.fake import program

CHOSEN = (
    "BOARD_ROOT",
    "CROSS_COMPILE",
    "GNUARMEMB_TOOLCHAIN_PATH",
    "ZEPHYR_BASE",
    "ZEPHYR_EXTRA_MODULES",
    "ZEPHYR_MODULES",
    "ZEPHYR_SDK_INSTALL_DIR",
    "ZEPHYR_TOOLCHAIN_VARIANT",
)


@pytest.fixture(scope="session", params=["host", *EMULATED])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """An image with the server; nobody changes it."""
    return build_tiny(str(request.param), tmp_path_factory.mktemp("served") / "p")


@pytest.fixture
def nothing_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No tree, no toolchain, no SDK of this machine; the working directory is in no workspace."""
    for name in CHOSEN:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr("microtvm.project.zephyr_tools._SDK_FOLDERS", (Path("~"),))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH that has stand-ins for what builds, and nothing else."""
    folder = tmp_path / "bin"
    for name in ("cmake", "ninja", "arm-none-eabi-gcc", "cc"):
        program(folder, name, "exit 0")
    monkeypatch.setenv("PATH", str(folder))
    return folder
