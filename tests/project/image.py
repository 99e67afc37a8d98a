"""Builds images of the hand-written model for a board, strictly: a warning is a failure."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from benchmarks.boards import first_choice_boards
from microtvm.device import Session
from microtvm.errors import MicrotvmError
from microtvm.project import Built, Project, build_project, create_project, stack_report
from microtvm.target import Board, load_board
from microtvm.util import Array
from tests.conftest import require_tool

HERE = Path(__file__).resolve().parent
TINY = HERE / "tiny"
EMULATED = first_choice_boards()
"""Boards whose projects make builds, and which QEMU emulates."""


def require_board_tools(board: Board) -> None:
    """Skips, or fails under CI, where the board's compiler, make or emulator is missing."""
    require_tool("make")
    require_tool(board.cpu.cc)
    if board.emulator is not None and board.emulator.kind == "qemu":
        require_tool(board.emulator.argv[0])


def build_tiny(name: str, folder: Path, *, main: Path | None = None) -> Built:
    """The image of the model `tiny` for a board, or with another main.c instead of the server."""
    board = load_board(name)
    require_board_tools(board)
    project = create_project(TINY, board, folder)
    if main is not None:
        shutil.copyfile(main, project.folder / "src" / "main.c")
    return build_project(project, strict=True)


def check_stack_bound(project: Project, session: Session, inputs: Mapping[str, Array]) -> None:
    """The bound is at least what the painted stack of an emulated board shows, and at most half
    more.

    The server's deepest answer is that to a run which is cancelled: one is, if it is not over
    before.
    """
    with suppress(MicrotvmError):
        session.run(inputs, timeout_s=0)
    report = stack_report(project)
    assert report.bound is not None, report.note
    assert report.bound.total <= report.usable_bytes
    measured = session.stack_peak()
    assert measured <= report.bound.total <= 1.5 * measured, f"{measured}: {report.bound}"


def patch(file: Path, old: str, new: str) -> None:
    """Replaces what stands in the file exactly once."""
    text = file.read_text()
    assert text.count(old) == 1, (file, old)
    file.write_text(text.replace(old, new))


def spoil(source: Path, mischief: str) -> None:
    """Makes the operators of the model `tiny` do as its input says: both call `wait_if_slow`, the
    second also `misbehave`, which `mischief` defines."""
    patch(source, "#include <math.h>\n", f"#include <math.h>\n{mischief}")
    wait = "    wait_if_slow(arena);\n"
    loop = "    for (int o = 0; o < OUTPUTS; o++) {\n        "
    patch(source, f"{loop}int32_t value", f"{wait}{loop}int32_t value")
    patch(source, f"{loop}y[o]", f"{wait}    misbehave(arena);\n{loop}y[o]")
