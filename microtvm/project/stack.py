"""Whether the stack that a project reserves is enough, known from its image before that runs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from microtvm.errors import FitError
from microtvm.project.platform import Project
from microtvm.stack import StackBound, StackError, stack_bound


@dataclass(frozen=True)
class StackReport:
    """What is known of a built project's stack."""

    bound: StackBound | None
    """None where none is known."""
    usable_bytes: int
    """Of the reserve, without what guards its end."""
    note: str
    """Why there is no bound."""


def stack_report(project: Project) -> StackReport:
    """The bound of a project's image, which must be built; what has no bound has a note instead."""
    guard = project.platform.stack_guard_bytes(project.board)
    if guard is None:
        note = f"the platform {project.platform.name} has its own stacks on {project.board.name}"
        return StackReport(None, 0, note)
    usable = project.stack_bytes - guard
    floats = project.board.cpu.has("fpu-single")
    try:
        state = project.elf.stat()
        bound = _bound(project.elf, state.st_mtime_ns, state.st_size, floats)
    except StackError as error:
        return StackReport(None, usable, str(error))
    return StackReport(bound, usable, "")


def check_stack(project: Project) -> None:
    """FitError if the image may need more stack than the project reserves."""
    report = stack_report(project)
    if report.bound is None or report.bound.total <= report.usable_bytes:
        return
    guard = project.stack_bytes - report.usable_bytes
    needed = report.bound.total + guard
    less = f" ({project.stack_bytes:,} less {guard:,} that guard its end)" if guard else ""
    raise FitError(
        f"the stack of {project.stack_bytes:,} bytes is too small: the image may use "
        f"{report.bound.total:,} of {report.usable_bytes:,}{less}: {report.bound}",
        hint=f"create the project with --stack-bytes {needed + -needed % 16}, or raise stack_bytes "
        f"in {project.board.own_file}",
    )


@lru_cache(maxsize=8)
def _bound(elf: Path, changed: int, size: int, floats: bool) -> StackBound:
    """Of a file as it is now."""
    return stack_bound(elf, floats=floats)
