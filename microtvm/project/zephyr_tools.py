"""What builds a Zephyr application: west or CMake, the modules, the toolchain."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from microtvm.doctor import install_line
from microtvm.errors import ToolError
from microtvm.project.zephyr_tree import Tree
from microtvm.target import Board

_SDK_FOLDERS = (
    Path("~"),
    Path("~/.local"),
    Path("~/.local/opt"),
    Path("~/bin"),
    Path("/opt"),
    Path("/usr/local"),
)
"""Where Zephyr itself looks for its SDK."""

_NO_REGION = (
    "this Zephyr's devicetree does not make that memory a region: create the project again with "
    "--option {}=LABEL of one that it does, or give the node in the project's overlay the property "
    'zephyr,memory-region = "NAME" and a compatible "zephyr,memory-region"'
)

HINTS: Mapping[str, str] = {
    "Retargetable locking must be enabled": "this model needs functions of math.h, and Debian's "
    "newlib is built without the locks that Zephyr asks for: take Zephyr's SDK or Arm's own "
    "toolchain",
    "No module named": "install what Zephyr's scripts need beside west: "
    "pip install -r $ZEPHYR_BASE/scripts/requirements-base.txt",
    "fatal error: bits/": "the host's compiler has no 32-bit libraries, which this board takes: "
    "apt-get install gcc-multilib, or choose the board native-sim, of 64 bits",
    "fatal error: ": "a header that is missing is mostly a module's: west update, or, where the "
    "manifest filters it out, west config manifest.project-filter -- +MODULE",
    "microtvm,weights overlap": "this Zephyr can't have both in one memory region: create the "
    "project again with --option arena=LABEL of another one",
    "microtvm,weights is ": _NO_REGION.format("weights"),
    "microtvm,arena must be ": _NO_REGION.format("arena"),
    "Can't link to libgcc": "the compiler has no libraries for this processor: take Zephyr's SDK",
}
"""Advice by what a failed build has printed."""


def build_commands(
    tree: Tree,
    *,
    folder: Path,
    board: str,
    modules: Sequence[str],
    strict: bool,
    jobs: int,
) -> list[list[str]]:
    """The commands that build the application `folder`: one of west in a workspace, else two of
    CMake.

    ToolError if a program or one of `modules` is missing.
    """
    _require("cmake", "ninja")
    build = str(folder / "build")
    options = [_strict(tree)] if strict else []
    if tree.workspace is None:
        _require_listed(tree, modules)
        return [
            ["cmake", "-GNinja", "-B", build, "-S", str(folder), f"-DBOARD={board}", *options],
            ["cmake", "--build", build, "--parallel", str(jobs)],
        ]
    west = find_west(tree.workspace)
    _require_active(west, tree, modules)
    argv = [west, "build", "--pristine=auto", f"--board={board}", f"--build-dir={build}"]
    if not (folder / "build" / "build.ninja").is_file():
        # Where a configuration failed before, its cache is there, and west takes it for done.
        argv.append("--cmake")
    argv += [f"--build-opt=-j{jobs}", str(folder)]
    return [[*argv, "--", *options] if options else argv]


def _strict(tree: Tree) -> str:
    """What makes warnings errors; older trees have no option for it."""
    option = "COMPILER_WARNINGS_AS_ERRORS"
    known = f"config {option}" in (tree.folder / "Kconfig.zephyr").read_text(encoding="utf-8")
    return f"-DCONFIG_{option}=y" if known else "-DEXTRA_CFLAGS=-Werror"


def find_west(workspace: Path) -> str:
    """The program west: on the PATH, or beside this Python; ToolError if it is neither."""
    beside = Path(sys.executable).parent / "west"
    found = shutil.which("west") or (str(beside) if beside.is_file() else None)
    if found is None:
        raise ToolError(
            f"building in the workspace {workspace} needs west, which is not on the PATH",
            hint="things to try: pip install west",
        )
    return found


def environment(tree: Tree, board: Board) -> dict[str, str]:
    """The variables of the build: the tree, and the toolchain where the user has chosen none.

    ToolError if the toolchain that is chosen isn't there, or if there is none.
    """
    variables = {"ZEPHYR_BASE": str(tree.folder)}
    variant = os.environ.get("ZEPHYR_TOOLCHAIN_VARIANT", "")
    native = board.cpu.family == "native"
    if native:
        _require_compiler(board, "cc")
        # Zephyr takes the host's compiler for such a board, whatever the variant.
        return variables if variant or find_sdk() else variables | _HOST
    if variant == "gnuarmemb":
        _require_folder("GNUARMEMB_TOOLCHAIN_PATH", variant, "bin/arm-none-eabi-gcc")
    elif variant == "cross-compile":
        prefix = os.environ.get("CROSS_COMPILE", "")
        if shutil.which(f"{prefix}gcc") is None:
            raise ToolError(
                f"CROSS_COMPILE is {prefix!r}, but there is no {prefix}gcc",
                hint="it is the path of the compiler, without gcc at its end",
            )
    elif variant == "zephyr" or not variant:
        return variables | _default_toolchain(board, required=bool(variant))
    return variables


_HOST = {"ZEPHYR_TOOLCHAIN_VARIANT": "host"}


def _default_toolchain(board: Board, *, required: bool) -> dict[str, str]:
    """Zephyr's SDK, or else Arm's compiler from the PATH unless the SDK is required."""
    if find_sdk():
        return {}
    compiler = shutil.which("arm-none-eabi-gcc")
    if compiler and board.cpu.family == "cortex-m" and not required:
        folder = Path(compiler).resolve().parent.parent
        return {
            "ZEPHYR_TOOLCHAIN_VARIANT": "gnuarmemb",
            "GNUARMEMB_TOOLCHAIN_PATH": str(folder),
        }
    advice = "west sdk install, or set ZEPHYR_SDK_INSTALL_DIR to where Zephyr's SDK is"
    if board.cpu.family == "cortex-m" and not required:
        advice += f"; {install_line('arm-none-eabi-gcc')}"
    else:
        advice += "; ZEPHYR_TOOLCHAIN_VARIANT=cross-compile and CROSS_COMPILE=PATH/PREFIX-"
    raise ToolError(
        f"building for {board.name} needs a toolchain, and Zephyr's SDK is not installed",
        hint=f"things to try: {advice}",
    )


def find_sdk() -> Path | None:
    """Zephyr's SDK, or the note that it has left for CMake; None if it isn't installed."""
    named = os.environ.get("ZEPHYR_SDK_INSTALL_DIR")
    if named:
        return Path(named) if (Path(named) / "sdk_version").is_file() else None
    noted = (Path("~").expanduser() / ".cmake" / "packages" / "Zephyr-sdk").glob("*")
    installed = (
        sdk
        for folder in _SDK_FOLDERS
        for sdk in folder.expanduser().glob("zephyr-sdk*")
        if (sdk / "sdk_version").is_file()
    )
    return next(iter((*noted, *installed)), None)


def _require_folder(variable: str, variant: str, program: str) -> None:
    named = os.environ.get(variable, "")
    if not named or not (Path(named) / program).is_file():
        found = f"is {named!r}" if named else "is not set"
        raise ToolError(
            f"ZEPHYR_TOOLCHAIN_VARIANT is {variant}, but {variable} {found}: "
            f"there must be {program} in it",
            hint=f"things to try: export {variable}=/usr where Debian's compiler is installed",
        )


def _require_compiler(board: Board, program: str) -> None:
    if shutil.which(program) is None:
        raise ToolError(
            f"building for {board.name} needs {program}, which is not on the PATH",
            hint=f"things to try: {install_line(program)}",
        )


def _require(*programs: str) -> None:
    for program in programs:
        if shutil.which(program) is None:
            raise ToolError(
                f"building for Zephyr needs {program}, which is not on the PATH",
                hint=f"things to try: {install_line(program)}; microtvm doctor lists all tools",
            )


def _require_active(west: str, tree: Tree, modules: Sequence[str]) -> None:
    """What the workspace's manifest must have, and what must have been fetched."""
    if not modules:
        return
    done = subprocess.run(
        [west, "list", "--format", "{name}\t{abspath}"],
        cwd=tree.folder,
        env={**os.environ, "ZEPHYR_BASE": str(tree.folder)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        said = "\n".join((done.stderr or done.stdout).splitlines()[-12:])
        raise ToolError(f"west can't list the projects of {tree.workspace}:\n{said}")
    active = dict(line.split("\t", 1) for line in done.stdout.splitlines() if "\t" in line)
    for module in modules:
        if module not in active:
            raise _missing(module, f"west config manifest.project-filter -- +{module}; ")
        if not Path(active[module]).is_dir():
            raise _missing(module, "")


def _missing(module: str, before: str) -> ToolError:
    return ToolError(
        f"the build needs Zephyr's module {module}, which the workspace doesn't have",
        hint=f"things to try: {before}west update {module}",
    )


def _require_listed(tree: Tree, modules: Sequence[str]) -> None:
    """Without a workspace, modules are folders that ZEPHYR_MODULES lists."""
    listed = ";".join(
        os.environ.get(name, "")
        for name in ("ZEPHYR_MODULES", "EXTRA_ZEPHYR_MODULES", "ZEPHYR_EXTRA_MODULES")
    )
    present = {Path(word).name for word in listed.split(";") if word and Path(word).is_dir()}
    for module in modules:
        if module not in present:
            raise ToolError(
                f"the build needs Zephyr's module {module}; {tree.folder} is in no west workspace, "
                "and ZEPHYR_MODULES does not list it",
                hint="things to try: west init -l "
                f"{tree.folder}; west config manifest.project-filter -- +{module}; west update; "
                "or export ZEPHYR_MODULES=FOLDER;FOLDER with the module's folder",
            )
