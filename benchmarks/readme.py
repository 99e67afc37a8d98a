"""The README's figures: what a run of the benchmark writes between two markers, and reads back."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence

from benchmarks.measure import CORTEX_M4, CORTEX_M55, HERE, MODELS, SMALL_CORES, Measurement
from microtvm.target import Board, load_board

README = HERE.parent / "README.md"
PICTURE = HERE / "mlperf_tiny.svg"
BEGIN = "<!-- What follows is written by benchmarks/mlperf_tiny.py --update-readme. -->"
END = "<!-- Until here. -->"
IN_README = {CORTEX_M4: MODELS, CORTEX_M55: MODELS} | dict.fromkeys(
    SMALL_CORES, ("kws_int8", "resnet8_int8")
)
"""What the README's tables show: models by machine."""
COLUMNS = (
    *("model", "instructions", "a MAC", "TFLM", "cycles, est."),
    *("best on a board", "flash", "TFLM", "RAM", "TFLM"),
)


def compiler_of(board: Board) -> str:
    """The compiler's program and version, such as `arm-none-eabi-gcc 12.2.1`."""
    program = board.cpu.cc
    version = subprocess.run(
        [program, "-dumpfullversion"], capture_output=True, text=True, check=True
    ).stdout.strip()
    return f"{program} {version}"


def cells(m: Measurement) -> list[str]:
    """A row of the README's table, without the model's name."""
    rate = m.instructions_a_mac
    values = (
        m.instructions,
        None if rate is None else f"{rate:.2f}",
        m.peer.instructions,
        m.cycles,
        m.published_cycles,
        m.flash_bytes,
        m.peer.flash_bytes,
        m.ram_bytes,
        m.peer.ram_bytes,
    )
    return [_cell(value) for value in values]


def _cell(value: int | str | None) -> str:
    return "" if value is None else value if isinstance(value, str) else f"{value:,}"


def tables_in(text: str) -> dict[str, dict[str, list[str]]]:
    """The tables between the markers: by board, by model, the cells."""
    found: dict[str, dict[str, list[str]]] = {}
    boards: dict[str, str] = {}
    for line in text[text.index(BEGIN) : text.index(END)].splitlines():
        named = {} if line.startswith("|") else dict(re.findall(_NAMED, line))
        boards = named or boards
        first, *rest = [c.strip() for c in line.strip("|").split("|")]
        if first in boards and rest:
            model, *values = rest
            found.setdefault(boards[first], {})[model] = values
        elif re.fullmatch(r"\w+_(int8|fp32)", first):
            (board,) = boards.values()
            found.setdefault(board, {})[first] = rest
    return found


_NAMED = r"([\w-]+) \(`([\w-]+)`\), compiled by"
"""A core and the board that it is on, before a table."""


def is_of(text: str, board: Board) -> bool:
    """Whether the figures for a board are of the compiler that is installed: others count other."""
    return f"(`{board.name}`), compiled by {compiler_of(board)};" in text


def section(found: Iterable[Measurement]) -> str:
    """What stands between the markers: small cores have a table together."""
    boards: dict[str, list[Measurement]] = {}
    for m in found:
        boards.setdefault(m.board, []).append(m)
    parts = [BEGIN, f"\n![Instructions of one inference]({PICTURE.relative_to(README.parent)})"]
    for name, rows in boards.items():
        if name in SMALL_CORES:
            continue
        slow = [m.cycles / m.instructions for m in rows if m.cycles and m.instructions]
        parts.append(
            f"\n{_compiled(name)} cycles are {min(slow):.2f} to {max(slow):.2f} an instruction:\n"
        )
        parts += _table(COLUMNS, [[m.model, *cells(m)] for m in rows])
    small = {name: rows for name, rows in boards.items() if name in SMALL_CORES}
    if small:
        parts += small_section(small)
    return "\n".join([*parts, "", END])


def small_section(boards: Mapping[str, Sequence[Measurement]]) -> list[str]:
    """Lines of the table that several boards share."""
    lines = [[_core(name), m.model, *cells(m)] for name, rows in boards.items() for m in rows]
    heads = " ".join(_compiled(name) for name in boards)
    return [f"\n{heads} none has vectors:\n", *_table(("core", *COLUMNS), lines)]


def _core(board: str) -> str:
    return load_board(board).cpu.description.split(":")[0]


def _compiled(board: str) -> str:
    return f"{_core(board)} (`{board}`), compiled by {compiler_of(load_board(board))};"


def _table(columns: Sequence[str], lines: Sequence[Sequence[str]]) -> list[str]:
    """Without columns that are empty."""
    filled = [i for i in range(len(columns)) if any(line[i] for line in lines)]
    words = sum(columns[i] in ("core", "model") for i in filled)
    return [
        "| " + " | ".join(columns[i] for i in filled) + " |",
        "|---" * words + "|--:" * (len(filled) - words) + "|",
        *("| " + " | ".join(line[i] for i in filled) + " |" for line in lines),
    ]


def update_readme(found: Iterable[Measurement]) -> None:
    """Put the figures of a run in the place of those that the README has."""
    text = README.read_text(encoding="utf-8")
    head, rest = text.split(BEGIN)
    _, tail = rest.split(END)
    README.write_text(head + section(found) + tail, encoding="utf-8")
