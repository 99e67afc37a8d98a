"""The tools that are found are those on the PATH; every missing one comes with a way to get it."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path

import pytest

from microtvm.cli import setup
from microtvm.cli.setup import check_setup
from microtvm.doctor import TOOLS, check_tools, install_line
from microtvm.target import list_boards, list_programmers, load_board, load_programmer
from tests.conftest import ROOT


def fake(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_real_tools_have_paths_and_versions() -> None:
    for status in check_tools():
        assert status.found == (status.path is not None)
        if not status.tool.file:
            assert status.path == (
                Path(found) if (found := shutil.which(status.tool.program)) else None
            )
            # simavr's program does not tell.
            if status.found and status.tool.program != "simavr":
                assert status.version[0].isdigit()


def test_every_board_has_its_tools_in_the_list() -> None:
    known = {tool.program for tool in TOOLS}
    for board in map(load_board, list_boards()):
        if board.emulator is not None:
            assert board.cpu.cc in known
            assert board.emulator.argv[0] in known | {"{elf}"}


def test_nothing_is_found_on_an_empty_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for status in check_tools():
        assert not status.found
        assert status.version == ""
        assert status.tool.install.startswith(("apt-get install ", "see https://"))


def test_compiler_without_its_library_is_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GCC prints the bare name of a file that it doesn't have."""
    monkeypatch.setenv("PATH", str(tmp_path))
    script = 'case "$1" in --version) echo "gcc (Packager 9.9) 12.2.1 2022";; *) echo libm.a;; esac'
    fake(tmp_path, "arm-none-eabi-gcc", script)
    found = {status.tool.name: status for status in check_tools()}
    assert found["arm-none-eabi-gcc"].version == "12.2.1"
    assert not found["newlib for Cortex-M"].found


def test_tool_that_does_not_run_has_no_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "make").write_bytes(b"\x7fELF")
    (tmp_path / "make").chmod(0o755)
    status = next(status for status in check_tools() if status.tool.name == "make")
    assert status.found
    assert status.version == ""


def test_every_flash_tool_and_what_zephyr_needs_are_in_the_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    monkeypatch.setenv("ZEPHYR_BASE", str(tmp_path))
    monkeypatch.setenv("ZEPHYR_SDK_INSTALL_DIR", str(tmp_path))
    monkeypatch.delenv("ZEPHYR_TOOLCHAIN_VARIANT", raising=False)
    found = {status.tool.name: status for status in check_setup()}
    for name in list_programmers():
        if load_programmer(name).programs:
            assert not found[name].found or name == "west"
            assert found[name].tool.install
    for name in ("ZEPHYR_BASE", "ZEPHYR_SDK_INSTALL_DIR"):
        assert not found[name].found
        assert "west " in found[name].tool.install
    assert found["west"].tool.install
    fake(tmp_path, "openocd", "")
    (tmp_path / "sdk_version").write_text("0.17.0")
    (tmp_path / "VERSION").write_text("VERSION_MAJOR = 3\nVERSION_MINOR = 7\nPATCHLEVEL = 0\n")
    found = {status.tool.name: status for status in check_setup()}
    assert found["openocd"].found
    assert found["ZEPHYR_SDK_INSTALL_DIR"].path == tmp_path
    assert found["ZEPHYR_BASE"].version == "3.7.0"
    monkeypatch.setenv("ZEPHYR_TOOLCHAIN_VARIANT", "gnuarmemb")
    found = {status.tool.name: status for status in check_setup()}
    assert found["ZEPHYR_SDK_INSTALL_DIR"].tool.purpose.endswith("is gnuarmemb")


def test_the_extra_is_what_the_package_has(monkeypatch: pytest.MonkeyPatch) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extra = project["optional-dependencies"]["zephyr"]
    assert tuple(word.partition(">=")[0] for word in extra) == setup.ZEPHYR_PACKAGES
    monkeypatch.setattr(setup, "ZEPHYR_PACKAGES", ("pip-that-is-not",))
    (status,) = [s for s in check_setup() if s.tool.name == "the extra microtvm[zephyr]"]
    assert not status.found
    assert status.tool.purpose.endswith("; missing: pip-that-is-not")
    assert status.tool.install == "pip install 'microtvm[zephyr]'"


def test_install_line_for_known_and_unknown_programs() -> None:
    assert install_line("qemu-system-arm") == "apt-get install qemu-system-arm"
    assert install_line("frobnicate") == "install frobnicate and put it on the PATH"
