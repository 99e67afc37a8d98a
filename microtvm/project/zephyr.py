"""Zephyr: an application with a module in it, built by west, or by CMake outside of workspaces."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from microtvm.errors import BoardError, UserError
from microtvm.project.fit import arena_pool, demand_of
from microtvm.project.library import Library
from microtvm.project.make import run_build
from microtvm.project.option import Option, Value
from microtvm.project.platform import Built, Platform, Project
from microtvm.project.zephyr_tools import HINTS, build_commands, environment
from microtvm.project.zephyr_tree import Tree, find_tree
from microtvm.target import Board, Memory, Setting, list_boards, load_board
from microtvm.target.document import near

_KEYS = ("arena", "board", "modules", "old", "region", "renamed", "serial", "uart", "weights")
_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NAME = re.compile(r"[A-Za-z0-9_]+(/[A-Za-z0-9_]*)*")
_WINDOW = range(40, 32768)


@dataclass(frozen=True)
class ZephyrBoard:
    """What Zephyr has to know of a board: its table `[platform.zephyr]`."""

    board: str
    """Zephyr's name of it, e.g. `mps2/an521/cpu0`."""
    old: str
    """The name before Zephyr 3.7, e.g. `mps2_an521`."""
    renamed: str
    """The name in later trees, where it was changed after 3.7, e.g. `arduino_uno_r4@wifi`; empty
    where it wasn't."""
    uart: str
    """Devicetree label of a second UART, for the link beside the console; empty without one."""
    serial: int
    """Which of the emulator's serial ports that UART is, from 0."""
    arena: str
    """Devicetree label of the memory region for the arena; empty for the RAM of all variables."""
    weights: str
    """Devicetree label of the memory region for the weights; empty for that of the code."""
    region: str
    """The name to give that region, for trees where the memory is an `mmio-sram` and no region yet;
    empty where it is one in all of them. No name of Zephyr's own, such as RAM, SRAM or FLASH."""
    modules: tuple[str, ...]
    """Zephyr's modules that the board needs, beside what its processor does."""

    @property
    def file(self) -> str:
        """How the board's files in an application's `boards/` are called. The part that names the
        SoC may be left out, and two files of one board are an error: where the short name is the
        old one, it serves all versions. Empty where the board was renamed: what is then right for
        one version may be an error in another."""
        if self.renamed:
            return ""
        board, _, qualifiers = self.board.partition("/")
        short = _stem(f"{board}/{qualifiers.partition('/')[2]}").rstrip("_")
        return short if short == _stem(self.old) else _stem(self.board)

    def name(self, tree: Tree) -> str:
        """The board's name in the tree; BoardError if it has no such board."""
        if tree.version < (3, 7, 0):
            tree.require_board(self.old)
            return self.old
        if self.renamed and tree.has_board(self.renamed):
            return self.renamed
        tree.require_board(self.board)
        return self.board


class Zephyr(Platform):
    """Zephyr 3.0 and later."""

    name = "zephyr"
    building = "building with west or CMake, which takes a minute or two"
    options = (
        Option("console", False, "Keep the console, and have the link on the board's second UART."),
        Option("window_bytes", 256, "How many bytes the host may have on their way."),
        Option("arena", "", "Devicetree label of the arena's memory region; else the board's."),
        Option("weights", "", "Devicetree label of the weights' memory region; else the board's."),
    )

    def model_folder(self, prefix: str) -> str:
        return "module/model"

    def check(self, board: Board, options: Mapping[str, Value]) -> None:
        found = zephyr_board(board)
        if options["console"] and not found.uart:
            raise UserError(
                f"board {board.name} has no second UART for a link beside the console",
                hint="leave out the option console: the link takes the console's UART; "
                f"or add uart = LABEL to [platform.zephyr] in {board.own_file}",
            )
        if options["window_bytes"] not in _WINDOW:
            raise UserError(
                f"option window_bytes of platform zephyr must be {_WINDOW.start} to "
                f"{_WINDOW.stop - 1}, found {options['window_bytes']}"
            )
        for name in ("arena", "weights"):
            if options[name] and not _LABEL.fullmatch(str(options[name])):
                raise UserError(
                    f"option {name} of platform zephyr must be a devicetree label, "
                    f"found {options[name]!r}"
                )

    def context(
        self, board: Board, library: Library, options: Mapping[str, Value]
    ) -> dict[str, object]:
        found = zephyr_board(board)
        source = (library.folder / library.sources[1]).read_text(encoding="utf-8")
        return {
            "zephyr": {
                "board": found.board,
                "old": found.old,
                "file": found.file,
                "old_file": _stem(found.old) if found.file else "",
                "renamed": found.renamed,
                "uart": found.uart if options["console"] else "",
                "arena": options["arena"] or found.arena or self._pool(board, library),
                "weights": options["weights"] or found.weights,
                "memory": found.weights,
                "region": found.region,
            },
            "needs_libm": "#include <math.h>" in source,
        }

    def arena_pools(self, board: Board) -> tuple[Memory, ...]:
        """Those that a devicetree's region stands for, and that of the variables."""
        data = board.memory("data") if board.memories else None
        return tuple(pool for pool in board.arena_pools if pool.label or pool == data)

    def _pool(self, board: Board, library: Library) -> str:
        """The label of the region that holds the arena; empty for the RAM of all variables."""
        pools = self.arena_pools(board)
        if not pools:
            return ""
        pool = arena_pool(board, demand_of(library, board.stack_bytes), pools)
        return "" if "data" in pool.roles else pool.label

    def build(self, project: Project, *, strict: bool = False, jobs: int = 2) -> Built:
        board = zephyr_board(project.board)
        if re.search(r"[\s;]", str(project.folder.resolve())):
            raise UserError(
                f"Zephyr can't build in {project.folder.resolve()}: the path has a blank",
                hint="move the project to a folder without one",
            )
        tree = find_tree(project.folder)
        name = board.name(tree)
        family = project.board.cpu.family
        variables = environment(tree, project.board)
        commands = build_commands(
            tree,
            folder=project.folder.resolve(),
            board=name,
            modules=(*tree.modules_of(family), *board.modules),
            strict=strict,
            jobs=jobs,
        )
        log = project.folder / "build" / "build.log"
        for argv in commands:
            run_build(project, argv, log, folder=tree.folder, environment=variables, hints=HINTS)
        return Built(project, self.elf(project), self.map_file(project), log)

    def elf(self, project: Project) -> Path:
        folder = project.folder / "build" / "zephyr"
        return folder / ("zephyr.exe" if project.board.cpu.family == "native" else "zephyr.elf")

    def map_file(self, project: Project) -> Path:
        return project.folder / "build" / "zephyr" / "zephyr.map"

    def emulator_argv(self, project: Project, serial: str) -> list[str]:
        argv = super().emulator_argv(project, serial)
        before = zephyr_board(project.board).serial if project.options["console"] else 0
        position = next((i for i, word in enumerate(argv) if word == "-serial"), None)
        if before and position is not None:
            console = f"file:{project.folder / 'build' / 'console.log'}"
            others = ["-serial", console] + ["-serial", "null"] * (before - 1)
            argv[position:position] = others
        return argv


def zephyr_board(board: Board) -> ZephyrBoard:
    """The board's table `[platform.zephyr]`; BoardError if it lacks a name or has unknown keys."""
    where = f"{board.file}: platform.zephyr"
    table = board.settings.get("zephyr", {})
    for key in table:
        if key not in _KEYS:
            raise BoardError(f"{where}.{key} is unknown", hint=near(key, list(_KEYS)))
    name = _text(where, table, "board")
    if not _NAME.fullmatch(name):
        raise BoardError(f"{where}.board must be a name such as mps2/an385, found {name!r}")
    serial = table.get("serial", 0)
    if isinstance(serial, bool) or not isinstance(serial, int) or not 0 <= serial < 16:
        raise BoardError(f"{where}.serial must be 0 to 15, found {serial!r}")
    labels = {key: _text(where, table, key, "") for key in ("arena", "region", "uart", "weights")}
    for key, label in labels.items():
        if label and not _LABEL.fullmatch(label):
            raise BoardError(f"{where}.{key} must be a devicetree label, found {label!r}")
    if labels["region"] and not labels["weights"]:
        raise BoardError(f"{where}.region names the memory of {where}.weights, which is missing")
    return ZephyrBoard(
        board=name,
        old=_text(where, table, "old", _stem(name)),
        renamed=_text(where, table, "renamed", ""),
        serial=serial,
        modules=tuple(_text(where, table, "modules", "").split()),
        **labels,
    )


def find_board(name: str) -> str:
    """The name of the board that is called so here or by Zephyr, now or before 3.7.

    BoardError if there is none, or if several are.
    """
    if name.endswith(".toml") or name in list_boards():
        return name
    known = {
        board.name: zephyr_board(board)
        for board in map(load_board, list_boards())
        if "zephyr" in board.platforms
    }
    found = [
        own for own, zephyr in known.items() if name in (zephyr.board, zephyr.old, zephyr.renamed)
    ]
    if len(found) == 1:
        return found[0]
    if found:
        raise BoardError(
            f"several boards are {name!r} for Zephyr", hint="choose one: " + ", ".join(found)
        )
    names = [*known, *(zephyr.board for zephyr in known.values())]
    raise BoardError(f"there is no board {name!r}", hint=near(name, names))


def _text(where: str, table: Mapping[str, Setting], key: str, default: str | None = None) -> str:
    value = table.get(key, default)
    if not isinstance(value, str) or (not value and default is None):
        raise BoardError(f"{where}.{key} must be a string, found {value!r}")
    return value


def _stem(name: str) -> str:
    """A board's name in names of files, and what boards were called before Zephyr 3.7."""
    return name.replace("/", "_")
