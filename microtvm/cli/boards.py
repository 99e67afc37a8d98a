"""`microtvm boards`: what models can run on, listed, filtered and explained."""

from __future__ import annotations

import re
from typing import Any

import click

from microtvm.cli.console import emit_json, emit_table, emit_text
from microtvm.errors import UserError
from microtvm.target import FEATURES, Board, list_boards, list_cpus, load_board
from microtvm.target.document import near
from microtvm.target.explain import Explained, explain_board, link_text, shown_file

_TIMING = "cpu/timing."
"""The table of cycles: for who asks where an estimate comes from."""

_DIGITS = re.compile(r"[0-9]{1,12}")
_SUFFIXES = {"": 1, "K": 1024, "M": 1024**2}


class Size(click.ParamType[int]):
    """A number of bytes: 4096, 64K, 1M."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """UsageError for anything else."""
        if isinstance(value, int):
            return value
        digits = value.upper().rstrip("BKM")
        suffix = value.upper().removeprefix(digits).removesuffix("B")
        if not _DIGITS.fullmatch(digits) or suffix not in _SUFFIXES:
            self.fail(f"{value!r} is no number of bytes such as 4096, 64K or 1M", param, ctx)
        return int(digits) * _SUFFIXES[suffix]


@click.group(invoke_without_command=True)
@click.option("--cpu", help="Only boards with this CPU.")
@click.option("--platform", help="Only boards that this platform supports.")
@click.option("--feature", "features", multiple=True, help="Only boards whose CPU has it.")
@click.option("--min-ram", type=Size(), help="Only boards with so much RAM for the arena: 64K.")
@click.option("--search", metavar="TEXT", help="Only boards that have it in name or description.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@click.pass_context
def boards(
    context: click.Context,
    cpu: str | None,
    platform: str | None,
    features: tuple[str, ...],
    min_ram: int | None,
    search: str | None,
    as_json: bool,
) -> None:
    """List the boards that models can be run on; the options narrow the list."""
    if context.invoked_subcommand is not None:
        return
    _known("CPU", (cpu,) if cpu else (), list_cpus())
    _known("feature", features, sorted(FEATURES))
    every = [load_board(name) for name in list_boards()]
    _known(
        "platform", (platform,) if platform else (), sorted({p for b in every for p in b.platforms})
    )
    found = [
        board
        for board in every
        if (cpu is None or board.cpu.name == cpu)
        and (platform is None or platform in board.platforms)
        and board.cpu.has(*features)
        and (min_ram is None or (_ram(board) or 0) >= min_ram)
        and (search is None or _matches(board, search))
    ]
    if as_json:
        emit_json({"boards": [_as_json(board) for board in found]})
        return
    if not found:
        emit_text("no board is like that")
        return
    emit_table(
        ("board", "cpu", "MHz", "flash", "RAM", "platforms", "description"),
        [
            (
                board.name,
                board.cpu.name,
                f"{board.hz / 1e6:g}" if board.hz else "",
                _size(_flash(board)),
                _size(_ram(board)),
                ", ".join(board.platforms),
                board.description,
            )
            for board in found
        ],
    )


@boards.command()
@click.argument("board_name", metavar="BOARD")
@click.option("--explain", is_flag=True, help="Say which file each value is from, and what agrees.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def show(board_name: str, explain: bool, as_json: bool) -> None:
    """Show all that is known of BOARD, a name or a file.

    With --explain also the file that each value comes from, and the second source that it was
    compared with: a devicetree, another project's board file, a chip's description.
    """
    board = load_board(board_name)
    rows = explain_board(board)
    if as_json:
        values = {"values": [_explained(row) for row in rows]} if explain else {}
        emit_json(_as_json(board) | values)
        return
    if not explain:
        emit_table(
            (board.name, ""),
            [(row.key, _text(row)) for row in rows if not row.key.startswith(_TIMING)]
            + ([] if board.hz or board.emulator else [("hz", "unknown: no second source has it")])
            + [(f"link, {name}", link_text(board, name)) for name in board.platforms],
        )
        return
    emit_table(
        (board.name, "value", "from", "second source"),
        [
            (row.key, _text(row), shown_file(row.file), str(row.second) if row.second else "")
            for row in rows
        ],
    )


def _known(what: str, given: tuple[str, ...], known: list[str]) -> None:
    for name in given:
        if name not in known:
            raise UserError(f"there is no {what} {name!r}", hint=near(name, known))


def _matches(board: Board, text: str) -> bool:
    names = (board.name, board.description, board.cpu.name, *board.names.values())
    return any(text.lower() in name.lower() for name in names)


def _flash(board: Board) -> int | None:
    """Bytes of the memory for code; None for the host, which has as much as it has."""
    return board.memory("code").size_bytes if board.memories else None


def _ram(board: Board) -> int | None:
    """Bytes of the largest memory for an arena, likewise."""
    return max((pool.size_bytes for pool in board.arena_pools), default=None)


def _size(size: int | None) -> str:
    if size is None:
        return ""
    for suffix, scale in (("M", 1024**2), ("K", 1024)):
        if size % scale == 0:
            return f"{size // scale}{suffix}"
    return f"{size / 1024:.1f}K"


def _as_json(board: Board) -> dict[str, object]:
    return {
        "name": board.name,
        "description": board.description,
        "cpu": board.cpu.name,
        "features": sorted(board.cpu.features),
        "hz": board.hz or None,
        "platforms": list(board.platforms),
        "memories": [
            {
                "name": m.name,
                "start": m.start,
                "size_bytes": m.size_bytes,
                "roles": list(m.roles),
                "wait_states": m.wait_states,
                "kind": m.kind,
                "label": m.label,
            }
            for m in board.memories
        ],
        "url": board.url,
        "usb": [str(device) for device in board.usb],
        "uart": None
        if board.uart is None
        else {key: getattr(board.uart, key) for key in ("name", "tx", "rx", "baud", "via")},
        "links": {
            name: {
                "usb": [str(usb) for usb in board.link_usb(name)],
                "text": link_text(board, name),
            }
            for name in board.platforms
        },
        "flash_tools": [{"name": t.name, "argv": list(t.argv)} for t in board.flash_tools],
        "settings": {name: dict(table) for name, table in board.settings.items()},
        "names": dict(board.names),
    }


def _explained(row: Explained) -> dict[str, object]:
    second = row.second
    return {
        "key": row.key,
        "value": row.value,
        "file": shown_file(row.file),
        "second": None
        if second is None
        else {"source": second.source, "file": second.file, "says": second.says},
    }


def _text(row: Explained) -> str:
    """A value as a file would have it: addresses and sizes in hexadecimal."""
    value = row.value
    if isinstance(value, list):
        return " ".join(map(str, value))
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and row.key.startswith("memory.") and value >= 16:
        return f"{value:#x}"
    return f"{value:,}" if isinstance(value, int) else str(value)
