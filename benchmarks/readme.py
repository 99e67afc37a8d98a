"""The README's figures: what a run of the benchmark writes between two markers, and reads back."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable

from benchmarks.measure import HERE, Measurement
from microtvm.target import Board, load_board

README = HERE.parent / "README.md"
PICTURE = HERE / "mlperf_tiny.svg"
BEGIN = "<!-- What follows is written by benchmarks/mlperf_tiny.py --update-readme. -->"
END = "<!-- Until here. -->"
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
    inside = text[text.index(BEGIN) : text.index(END)]
    found: dict[str, dict[str, list[str]]] = {}
    for board, rest in re.findall(r"\(`([\w-]+)`\)(.*?)(?=\(`|\Z)", inside, re.DOTALL):
        rows = re.findall(r"^\| (\w+_(?:int8|fp32)) \|(.*)\|$", rest, re.MULTILINE)
        found[board] = {name: [c.strip() for c in line.split("|")] for name, line in rows}
    return found


def section(found: Iterable[Measurement]) -> str:
    """What stands between the markers."""
    boards: dict[str, list[Measurement]] = {}
    for m in found:
        boards.setdefault(m.board, []).append(m)
    parts = [BEGIN, f"\n![Instructions of one inference]({PICTURE.relative_to(README.parent)})"]
    for name, rows in boards.items():
        lines = [[m.model, *cells(m)] for m in rows]
        filled = [i for i in range(len(COLUMNS)) if any(line[i] for line in lines)]
        board = load_board(name)
        slow = [m.cycles / m.instructions for m in rows if m.cycles and m.instructions]
        core = board.cpu.description.split(":")[0]
        parts += [
            f"\n{core} (`{name}`), compiled by {compiler_of(board)}; "
            f"cycles are {min(slow):.2f} to {max(slow):.2f} an instruction:\n",
            "| " + " | ".join(COLUMNS[i] for i in filled) + " |",
            "|---" + "|--:" * (len(filled) - 1) + "|",
            *("| " + " | ".join(line[i] for i in filled) + " |" for line in lines),
        ]
    return "\n".join([*parts, "", END])


def update_readme(found: Iterable[Measurement]) -> None:
    """Put the figures of a run in the place of those that the README has."""
    text = README.read_text(encoding="utf-8")
    head, rest = text.split(BEGIN)
    _, tail = rest.split(END)
    README.write_text(head + section(found) + tail, encoding="utf-8")
