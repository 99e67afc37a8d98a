"""The tools that are found are those on the PATH; every missing one comes with a way to get it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from microtvm.doctor import TOOLS, check_tools, install_line
from microtvm.target import list_boards, load_board


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


def test_install_line_for_known_and_unknown_programs() -> None:
    assert install_line("qemu-system-arm") == "apt-get install qemu-system-arm"
    assert install_line("frobnicate") == "install frobnicate and put it on the PATH"
