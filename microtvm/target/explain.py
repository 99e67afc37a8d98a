"""Where every value of a board comes from: the file that set it, and the second source."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from microtvm.target.board import Board
from microtvm.target.data import data_folder
from microtvm.target.document import Leaf, leaves, load_table
from microtvm.target.second import Checked, figures, load_record


@dataclass(frozen=True)
class Explained:
    """One value of a board's data."""

    key: str
    """The key chain; what the CPU's files say begins with `cpu/`."""
    value: object
    """A scalar, or a list of scalars."""
    file: Path
    """That last set it, in the order of inheritance."""
    second: Checked | None
    """None for what is a choice of ours, for emulated machines, and for what has changed since the
    comparison, or was never compared."""


def explain_board(board: Board) -> list[Explained]:
    """All values of a board and of its CPU, in the order of the files."""
    root = data_folder("boards")
    record = load_record()
    checked = dict(record.boards.get(board.name, {}))
    current = figures(board)
    found = [
        Explained(
            key,
            _plain(leaf),
            leaf.origin,
            checked[key] if key in checked and checked[key].value == current.get(key) else None,
        )
        for key, leaf in leaves(load_table(root, board.file))
    ]
    cpu = dict(record.cpus.get(board.cpu.name, {}))
    found += [
        Explained(f"cpu/{key}", _plain(leaf), leaf.origin, cpu.get(key))
        for key, leaf in leaves(load_table(root, root / "cpu" / f"{board.cpu.name}.toml"))
    ]
    return found


def link_text(board: Board, platform: str) -> str:
    """Where the link of a platform's projects leaves the board, in words."""
    if not board.url:
        return "the emulator's"
    uart = str(board.uart) if board.uart is not None and board.uart.name else "the UART"
    ids = ", ".join(map(str, board.link_usb(platform)))
    if platform in board.platform_usb:
        return f"the chip's own USB: {ids}"
    if ids:
        return f"{uart}, by the board's debug probe or USB bridge: {ids}"
    if board.on_pins(platform):
        return f"{uart}, no USB socket leads to it: connect a serial adapter, and give --port"
    return f"{uart}, no USB id known: give --port"


def shown_file(file: Path) -> str:
    """A file of the boards' folder by its path in it, any other as it is."""
    root = data_folder("boards")
    return f"boards/{file.relative_to(root).as_posix()}" if file.is_relative_to(root) else str(file)


def _plain(leaf: Leaf) -> object:
    return list(_items(leaf.value)) if isinstance(leaf.value, tuple) else leaf.value


def _items(values: tuple[Leaf, ...]) -> Iterator[object]:
    for each in values:
        yield _plain(each)
