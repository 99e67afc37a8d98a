"""A Zephyr tree: where it is, its version, which boards and modules it knows."""

from __future__ import annotations

import configparser
import os
import re
import tomllib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from microtvm.errors import BoardError, MicrotvmWarning, ToolError
from microtvm.target import data_folder
from microtvm.target.document import near

_FIELD = re.compile(r"^(VERSION_MAJOR|VERSION_MINOR|PATCHLEVEL)\s*=\s*(\d+)", re.MULTILINE)
_NAMES = re.compile(r"^\s*(?:-\s+)?name:\s*['\"]?([\w.-]+)", re.MULTILINE)
_EXTENDED = re.compile(r"^\s+extend:\s*['\"]?([\w.-]+)", re.MULTILINE)
_LIST = re.compile(r"^boards:[^\S\n]*\n(?:\s*(?:#.*)?\n)*(?P<indent> *)- ", re.MULTILINE)
"""A description of several boards; those of their SoCs and revisions are lists as well."""
_GET_ONE = (
    "things to try: export ZEPHYR_BASE=FOLDER; or work inside a workspace, which "
    "`west init WORKSPACE && cd WORKSPACE && west update` makes; "
    "west comes with pip install 'microtvm[zephyr]'"
)


@dataclass(frozen=True)
class Tree:
    """A Zephyr source tree of a supported version."""

    folder: Path
    version: tuple[int, int, int]
    workspace: Path | None
    """The west workspace that it is the tree of; None for a tree without one."""

    @property
    def version_text(self) -> str:
        """As Zephyr writes it, e.g. `3.7.1`."""
        return ".".join(map(str, self.version))

    def has_board(self, name: str) -> bool:
        """Whether `require_board` has nothing to say."""
        try:
            self.require_board(name)
        except BoardError:
            return False
        return True

    def require_board(self, name: str) -> None:
        """BoardError if the tree has no board of that name, whichever revision follows its `@`.
        Boards of other roots, which BOARD_ROOT names, are not looked for."""
        if os.environ.get("BOARD_ROOT"):
            return
        known = set(self._boards())
        stem, *qualifiers = name.split("/")
        stem = stem.partition("@")[0]
        if stem not in known:
            raise BoardError(
                f"Zephyr {self.version_text} in {self.folder} has no board {name!r}",
                hint=near(stem, sorted(known)),
            )
        if self.version < (3, 7, 0) or not qualifiers:
            return
        # Several files describe a board that others extend.
        socs = {n for board, names in self._described() if board == stem for n in names}
        if qualifiers[0] and qualifiers[0] not in socs:
            raise BoardError(
                f"Zephyr {self.version_text} in {self.folder} has the board {stem!r}, "
                f"but not with {qualifiers[0]!r}",
                hint=near(qualifiers[0], sorted(socs)),
            )

    def modules_of(self, family: str) -> tuple[str, ...]:
        """The modules that a processor's architecture needs. Zephyr 4.2 split Cortex-M's off."""
        if family != "cortex-m":
            return ()
        kconfig = self.folder / "modules" / "cmsis_6" / "Kconfig"
        split = kconfig.is_file() and "HAS_CMSIS_CORE_M" in kconfig.read_text(encoding="utf-8")
        return ("cmsis_6",) if split else ("cmsis",)

    def _boards(self) -> Iterator[str]:
        if self.version >= (3, 7, 0):
            yield from (board for board, _ in self._described())
        else:
            for file in self.folder.glob("boards/*/*/*_defconfig"):
                yield file.name.removesuffix("_defconfig")

    def _described(self) -> Iterator[tuple[str, set[str]]]:
        """Each board with the names that its description has beside its own."""
        for file in sorted(self.folder.glob("boards/**/board.yml")):
            text = file.read_text(encoding="utf-8")
            several = _LIST.search(text)
            start = f"{several['indent']}- " if several else "board:"
            for part in re.split(f"^(?={start})", text, flags=re.MULTILINE):
                names = _NAMES.findall(part)
                extended = _EXTENDED.search(part)
                if extended:
                    yield extended[1], set(names)
                elif names:
                    yield names[0], set(names[1:])


def find_tree(start: Path) -> Tree:
    """The tree that ZEPHYR_BASE names, or that of the west workspace around `start` or around the
    working directory.

    ToolError if there is none, if what is named is no Zephyr tree, or if it is too old, or of a
    major version that nobody knows; MicrotvmWarning if it is newer than what was tried.
    """
    named = os.environ.get("ZEPHYR_BASE")
    if named:
        return _tree(Path(named).expanduser(), "ZEPHYR_BASE")
    for place in (start.resolve(), Path.cwd()):
        workspace = workspace_of(place)
        if workspace is not None:
            return _tree(_of_workspace(workspace), f"the workspace {workspace}")
    raise ToolError("there is no Zephyr tree: ZEPHYR_BASE is not set", hint=_GET_ONE)


def workspace_of(place: Path) -> Path | None:
    """The west workspace that a folder is in."""
    for folder in (place, *place.parents):
        if (folder / ".west" / "config").is_file():
            return folder
    return None


def _of_workspace(workspace: Path) -> Path:
    config = configparser.ConfigParser(interpolation=None)
    config.read(workspace / ".west" / "config", encoding="utf-8")
    return workspace / config.get("zephyr", "base", fallback="zephyr")


def _tree(folder: Path, source: str) -> Tree:
    version_file = folder / "VERSION"
    try:
        found = dict(_FIELD.findall(version_file.read_text(encoding="utf-8")))
        version = (
            int(found["VERSION_MAJOR"]),
            int(found["VERSION_MINOR"]),
            int(found["PATCHLEVEL"]),
        )
    except (OSError, UnicodeDecodeError, KeyError):
        raise ToolError(
            f"{source} says that Zephyr is in {folder}, which is no Zephyr tree: "
            "it has no VERSION that can be read",
            hint=_GET_ONE,
        ) from None
    tree = Tree(folder.resolve(), version, workspace_of(folder.resolve()))
    oldest, newest = versions()
    supported = f"{oldest[0]}.{oldest[1]} to {newest[0]}.{newest[1]}"
    if version < oldest:
        raise ToolError(
            f"{tree.folder} is Zephyr {tree.version_text}; {supported} are supported",
            hint="take a newer one, such as the long-term support release 3.7",
        )
    if version[0] > newest[0]:
        raise ToolError(
            f"{tree.folder} is Zephyr {tree.version_text}; {supported} are supported, and major "
            "versions are where boards and interfaces change",
            hint="take an older one, a newer microtvm, or try it with west build, without microtvm",
        )
    if version > newest:
        warnings.warn(
            f"{tree.folder} is Zephyr {tree.version_text}; projects were tried with {supported}, "
            "so that what this build or image does wrong may be due to what changed since",
            MicrotvmWarning,
            stacklevel=2,
        )
    return tree


@cache
def versions() -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """The oldest version that projects are for, and the newest that they were tried with."""
    file = data_folder("project_templates") / "zephyr" / "versions.toml"
    table = tomllib.loads(file.read_text(encoding="utf-8"))
    return _version(table["oldest"]), _version(table["newest"])


def _version(text: str) -> tuple[int, int, int]:
    major, minor, patch = map(int, text.split("."))
    return major, minor, patch
