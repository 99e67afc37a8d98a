"""The README's table of how reliable the link is: `python -m benchmarks.reliability`.

With `--update-readme` it writes the table. Every row names the command that prints more of it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.coverage import Coverage, measure
from benchmarks.fuzz import CORPUS, HARNESSES, Figures, build, fuzz
from benchmarks.link import line_use
from benchmarks.link_echo import EchoFigures
from benchmarks.link_echo import measure as measure_echo
from benchmarks.lossy_link import (
    FRACTIONS,
    INFERENCES,
    Outcome,
    compile_server,
    infer_over,
    settings,
    shares,
)
from benchmarks.model import BROKEN, Search, search
from benchmarks.readme import README
from benchmarks.size import SMALLEST, Sizes, compiler_of, sizes
from benchmarks.stack import Stack, measure_all

BEGIN = "<!-- What follows is written by benchmarks/reliability.py --update-readme. -->"
END = "<!-- Until here. Written by benchmarks/reliability.py. -->"
FUZZ_SECONDS = 60

LABELS = {
    "lossy": "inferences over bad lines, the share of bytes that are damaged",
    "fuzz": "fuzzing of framing and server, with sanitizers",
    "model": "states of the protocol that spin searches",
    "coverage": "the runtime's code that tests on the host execute",
    "size": "framing, CRC and server on a Cortex-M0",
    "stack": "the stack's bound, from the image, beside the painted stack",
    "line": "a line of 115,200 baud that carries tensors",
    "echo": "beside a bare echo, in QEMU",
}
"""What each row is of."""

COMMANDS = {
    "lossy": "lossy_link",
    "fuzz": "fuzz",
    "model": "model",
    "coverage": "coverage",
    "size": "size",
    "stack": "stack",
    "line": "link",
    "echo": "link --emulator",
}
"""Modules of `benchmarks`."""


def lossy_cell(outcomes: dict[str, Outcome]) -> str:
    """What became of all inferences, by rate; `outcomes` is by the names of `settings()`."""
    parts = []
    for fraction in FRACTIONS:
        found = [o for name, o in outcomes.items() if name.endswith(f"{fraction:.1%}")]
        right = sum(o.right for o in found)
        total = right + sum(sum(o.errors.values()) for o in found)
        parts.append(f"{fraction:.1%}: {right:,} of {total:,} right")
    wrong = sum(o.wrong + o.hung + o.executed_twice for o in outcomes.values())
    return f"{'; '.join(parts)}; else a clear error; {wrong} wrong, hung or run twice"


def fuzz_cell(found: Sequence[Figures], seconds: int) -> str:
    """Of all harnesses together."""
    executions = sum(f.executions for f in found)
    edges = sum(f.edges for f in found)
    failed = sum(f.failure != "" for f in found)
    return f"{executions:,} executions in {seconds} s, {edges} edges, {failed} failures"


def model_cell(found: Search, caught: int) -> str:
    """`caught` rules were left out, one at a time, and missed."""
    return (
        f"{found.states:,} states, {found.depth:,} deep, {found.errors} errors; "
        f"{caught} of {len(BROKEN)} seeded faults found"
    )


def coverage_cell(found: Coverage) -> str:
    """By gcov."""
    return (
        f"{found.lines_hit / found.lines:.1%} of {found.lines} lines, "
        f"{found.branches_hit / found.branches:.1%} of {found.branches} branches ({gcc_version()})"
    )


def gcc_version() -> str:
    """The host's compiler and its version."""
    done = subprocess.run(["gcc", "-dumpfullversion"], capture_output=True, text=True, check=True)
    return f"gcc {done.stdout.strip()}"


def size_cell(found: Sizes) -> str:
    """Of the smallest core."""
    return (
        f"{found.code_bytes:,} bytes of flash, {found.state_bytes} of RAM with a frame's buffer "
        f"({compiler_of(SMALLEST)})"
    )


def stack_cell(found: Sequence[Stack]) -> str:
    """The smallest and the largest bound with what was measured there, and the worst ratio."""
    low, high = min(found, key=lambda s: s.bound), max(found, key=lambda s: s.bound)
    ratios = [s.bound / s.measured for s in found]
    return (
        f"from {low.bound} bytes, measured {low.measured}, to {high.bound}, measured "
        f"{high.measured}; at most {max(ratios):.2f} times, at least {min(ratios):.2f} times what "
        f"is measured on {len(found)} emulated boards"
    )


def line_cell(write: float, read: float) -> str:
    """Fractions."""
    return f"{write:.1%} to the device, {read:.1%} from it"


def echo_cell(found: EchoFigures) -> str:
    """Ratios."""
    return (
        f"{found.write:.2f} of its bytes a second to the device, {found.read:.2f} from it; "
        f"an empty call takes {found.call:.2f} of its time"
    )


def in_readme(row: str) -> str:
    """The figure of a row as the README has it."""
    text = README.read_text("utf-8")
    for line in text[text.index(BEGIN) : text.index(END)].splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0] == LABELS[row]:
            return cells[1]
    raise KeyError(f"no row {LABELS[row]!r} in {README}")


def gather(fuzz_seconds: int, inferences: int) -> dict[str, str]:
    """All figures, by row."""
    cells: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = compile_server(folder)
        share = shares(inferences)
        cells["lossy"] = lossy_cell(
            {
                line: infer_over(server, rates, share[line], 1000 * position)
                for position, (line, rates) in enumerate(settings().items())
            }
        )
        cells["fuzz"] = fuzz_cell([_fuzz(h, folder, fuzz_seconds) for h in HARNESSES], fuzz_seconds)
        found = search(folder)
        cells["model"] = model_cell(found, sum(search(folder, rule).errors > 0 for rule in BROKEN))
        cells["line"] = line_cell(line_use(server, "write"), line_use(server, "read"))
    for row, cell in (
        ("coverage", lambda folder: coverage_cell(measure(folder))),
        ("size", lambda folder: size_cell(sizes(SMALLEST, folder))),
    ):
        with tempfile.TemporaryDirectory() as name:
            cells[row] = cell(Path(name))
    cells["stack"] = stack_cell(measure_all())
    cells["echo"] = echo_cell(measure_echo())
    return cells


def _fuzz(harness: str, folder: Path, seconds: int) -> Figures:
    own = folder / harness
    own.mkdir()
    return fuzz(build(harness, own), CORPUS / harness, own, max(seconds // len(HARNESSES), 1))


def table(cells: dict[str, str]) -> str:
    """The README's section."""
    rows = [f"| {label} | {cells[row]} | `{COMMANDS[row]}` |" for row, label in LABELS.items()]
    return "\n".join(
        [BEGIN, "", "| | | `python -m benchmarks.` |", "|---|---|---|", *rows, "", END]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the table, or writes it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--update-readme", action="store_true", help="write it into the README")
    parser.add_argument("--fuzz-seconds", type=int, default=FUZZ_SECONDS)
    parser.add_argument("--inferences", type=int, default=INFERENCES)
    options = parser.parse_args(argv)
    section = table(gather(options.fuzz_seconds, options.inferences))
    print(section)
    if options.update_readme:
        text = README.read_text("utf-8")
        start, end = text.index(BEGIN), text.index(END) + len(END)
        README.write_text(text[:start] + section + text[end:], "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
