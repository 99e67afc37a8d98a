"""Platforms whose projects `make` builds, and what is said when a build fails."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from microtvm.doctor import install_line
from microtvm.errors import BoardError, FitError, MicrotvmError, MissingProgramError, ToolError
from microtvm.project.option import Value
from microtvm.project.platform import Built, Platform, Project
from microtvm.project.watchdog import WATCHDOG, check_watchdog
from microtvm.target import Board

_SHOWN_LINES = 12
_OVERFLOW = re.compile(r"region [`'](?P<memory>\w+)' overflowed by (?P<bytes>\d+) bytes?")
_TELLING = re.compile(r"error: |undefined reference|multiple definition|\*\*\*|No such file")

# What is wrong is said by the lines behind the first of these.
_BLOCK = re.compile(r"^(CMake Error|devicetree error|Traceback|ERROR: )", re.MULTILINE)
# What is wrong was said by the warnings before.
_WARNED = "Aborting due to Kconfig warnings"

# Of an enclosing make, whose job server this one must not join.
_MAKE_VARIABLES = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKEOVERRIDES")


STACK_GUARD_BYTES = 256
"""As `src/platform.h` of bare-metal projects has it."""


class MakePlatform(Platform):
    """A folder with a Makefile."""

    def build(self, project: Project, *, strict: bool = False, jobs: int = 2) -> Built:
        require_programs(project.board, "make", project.board.cpu.cc)
        argv = ["make", "-C", str(project.folder), f"-j{jobs}"]
        if strict:
            argv.append("WERROR=-Werror")
        log = self.elf(project).parent / "make.log"
        run_build(project, argv, log)
        return Built(project, self.elf(project), self.map_file(project), log)


class Baremetal(MakePlatform):
    """No operating system."""

    name = "baremetal"
    options = (WATCHDOG,)

    def check(self, board: Board, options: Mapping[str, Value]) -> None:
        if board.uart is None or not board.uart.driver:
            raise BoardError(
                f"{board.file}: [uart] is missing, which the platform {self.name} needs",
                hint="add the driver and the address of its registers",
            )
        check_watchdog(board, int(options[WATCHDOG.name]), self.name)

    def run_function(self, project: Project) -> str:
        name = super().run_function(project)
        watched = f"{project.library.prefix}_watched_run"
        return watched if project.options[WATCHDOG.name] else name

    def stack_guard_bytes(self, board: Board) -> int | None:
        return STACK_GUARD_BYTES


class Host(MakePlatform):
    """A process of this machine."""

    name = "host"


def require_programs(board: Board, *programs: str) -> None:
    """ToolError if a program that the build needs is not on the PATH."""
    for program in programs:
        if shutil.which(program) is None:
            raise MissingProgramError(
                f"building for {board.name} needs {program}, which is not on the PATH",
                hint=f"things to try: {install_line(program)}; microtvm doctor lists all tools",
                program=program,
            )


def run_build(
    project: Project,
    argv: Sequence[str],
    log: Path,
    *,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    explain: Callable[[Project, str], MicrotvmError | None] = lambda project, output: None,
    hints: Mapping[str, str] | None = None,
) -> None:
    """Runs a build's command in `folder`, with `environment` over this process's own; what it
    printed goes to `log`. If it fails, raises what `explain` makes of what it printed, or ToolError
    or FitError, with the hint of the first text of `hints` that was printed."""
    inherited = {k: v for k, v in os.environ.items() if k not in _MAKE_VARIABLES}
    done = subprocess.run(
        argv,
        cwd=folder,
        env={**inherited, "LC_ALL": "C", **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text(f"{' '.join(argv)}\n{done.stdout}", encoding="utf-8")
    if done.returncode != 0:
        raise explain(project, done.stdout) or _failure(project, done.stdout, log, hints or {})


def _failure(
    project: Project, output: str, log: Path, hints: Mapping[str, str]
) -> FitError | ToolError:
    overflows = dict(_OVERFLOW.findall(output))
    if overflows:
        found = "; ".join(
            f"its memory {memory} is {int(size):,} bytes too small"
            for memory, size in overflows.items()
        )
        return FitError(
            f"the image does not fit board {project.board.name}: {found}",
            hint="choose a board with more memory, or a smaller model",
        )
    advice = [hint for text, hint in hints.items() if text in output][:1]
    advice.append(
        f"the whole output is in {log}; of `microtvm run MODEL` it is kept with --keep FOLDER"
    )
    shown = "\n".join(_telling(output)[:_SHOWN_LINES])
    return ToolError(
        f"building {project.folder} for {project.board.name} failed:\n{shown}",
        hint="; ".join(advice),
    )


def _telling(output: str) -> list[str]:
    """The lines that say what is wrong: the compiler's, else a block of CMake's or Python's, else
    the last ones."""
    lines = [line for line in output.splitlines() if line.strip()]
    if _WARNED in output:
        return [line for line in lines if "warning: " in line]
    telling = [line for line in lines if _TELLING.search(line)]
    block = _BLOCK.search(output)
    if not telling and block:
        return [line for line in output[block.start() :].splitlines() if line.strip()]
    return telling or lines[-_SHOWN_LINES:]
