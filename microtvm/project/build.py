"""Runs a project's own `make`, and turns what goes wrong into one readable message."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from microtvm.doctor import install_line
from microtvm.errors import FitError, ToolError
from microtvm.project.project import Project

_LOG = "make.log"
_SHOWN_LINES = 12
_OVERFLOW = re.compile(r"region [`'](?P<memory>\w+)' overflowed by (?P<bytes>\d+) bytes?")
_TELLING = re.compile(r"error: |undefined reference|multiple definition|\*\*\*|No such file")

# Of an enclosing make, whose job server this one must not join.
_MAKE_VARIABLES = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKEOVERRIDES")


@dataclass(frozen=True)
class Built:
    """A project whose image exists."""

    project: Project
    elf: Path
    map_file: Path
    log: Path
    """What make and the compiler said."""


def build_project(project: Project, *, strict: bool = False, jobs: int = 2) -> Built:
    """Builds the image; `strict` makes every warning an error.

    ToolError if make or the compiler is missing or fails (the message has the compiler's first
    errors), FitError if the linker finds a memory too small.
    """
    for program in ("make", project.board.cpu.cc):
        if shutil.which(program) is None:
            raise ToolError(
                f"building for {project.board.name} needs {program}, which is not on the PATH",
                hint=f"things to try: {install_line(program)}; microtvm doctor lists all tools",
            )
    argv = ["make", "-C", str(project.folder), f"-j{jobs}"]
    if strict:
        argv.append("WERROR=-Werror")
    environment = {k: v for k, v in os.environ.items() if k not in _MAKE_VARIABLES}
    environment["LC_ALL"] = "C"
    done = subprocess.run(
        argv,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    log = project.elf.parent / _LOG
    log.parent.mkdir(exist_ok=True)
    log.write_text(f"{' '.join(argv)}\n{done.stdout}", encoding="utf-8")
    if done.returncode != 0:
        raise _failure(project, done.stdout, log)
    return Built(project=project, elf=project.elf, map_file=project.map_file, log=log)


def _failure(project: Project, output: str, log: Path) -> FitError | ToolError:
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
    lines = output.splitlines()
    telling = [line for line in lines if _TELLING.search(line)] or lines[-_SHOWN_LINES:]
    shown = "\n".join(telling[:_SHOWN_LINES])
    return ToolError(
        f"building {project.folder} for {project.board.name} failed:\n{shown}",
        hint=f"the whole output is in {log}; of `microtvm run MODEL` it is kept with --keep FOLDER",
    )
