"""The bound on the stack beside the painted stack: `python -m benchmarks.stack [MODEL]`.

On every bare-metal board that QEMU emulates and the model fits. The server's deepest answer is
that to a run which is cancelled, so one is.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.boards import PLATFORM, emulated_boards
from benchmarks.readme import README
from microtvm.device.result import OverdueError
from microtvm.errors import FitError
from microtvm.inference import boot, prepare
from microtvm.npz import random_inputs
from microtvm.project import stack_report
from microtvm.target import load_board

DIGITS = README.parent / "examples/digits/digits_int8.tflite"

MOST_RATIO = 1.5
"""What a bound may be beside what is measured."""

CANCELLATIONS = 20
"""Tries: a run may be over before its cancellation arrives."""


@dataclass(frozen=True)
class Stack:
    """Of one board's image, bytes."""

    board: str
    bound: int
    measured: int
    path: str


def measure(name: str, model: Path) -> Stack:
    """Builds and runs the model; FitError where it does not fit."""
    with tempfile.TemporaryDirectory() as folder:
        project = prepare(model, load_board(name), Path(folder) / "p", platform=PLATFORM)
        report = stack_report(project)
        if report.bound is None:
            raise RuntimeError(f"{name}: {report.note}")
        with boot(project, Path(folder)).session as session:
            inputs = random_inputs(session.model).runs[0]
            session.run(inputs, whole=True)
            for _ in range(CANCELLATIONS):
                try:
                    session.run(inputs, timeout_s=0)
                except OverdueError:
                    break
            return Stack(name, report.bound.total, session.stack_peak(), str(report.bound))


def measure_all(model: Path = DIGITS) -> list[Stack]:
    """Of every board that the model fits."""
    found = []
    for name in emulated_boards():
        with suppress(FitError):
            found.append(measure(name, model))
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Prints a table; 1 if a stack was deeper than its bound, or the bound is far off."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", type=Path, default=DIGITS)
    found = measure_all(parser.parse_args(argv).model)
    print("| board | bound | measured | ratio | path |")
    print("|---|--:|--:|--:|---|")
    for s in found:
        print(f"| {s.board} | {s.bound} | {s.measured} | {s.bound / s.measured:.2f} | {s.path} |")
    return int(any(not s.measured <= s.bound <= MOST_RATIO * s.measured for s in found))


if __name__ == "__main__":
    sys.exit(main())
