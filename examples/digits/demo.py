"""Classifies handwritten digits on an emulated board, and says what that took.

    python examples/digits/demo.py [--board BOARD] [--images N]

Compiles the committed network, builds a project for the board, boots it in QEMU, and sends it
images over the RPC link. `train.py` beside this file made the network; it has never seen the
images.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress

from microtvm.device import load_metadata
from microtvm.errors import MicrotvmError
from microtvm.inference import prepare, run_project
from microtvm.npz import Inputs
from microtvm.target import load_board
from microtvm.util import Array

HERE = Path(__file__).resolve().parent
SHADES = " .:-=+*#%@"


def quantised(images: Array, scale: float, zero_point: int) -> Array:
    """Grey levels 0..16, [n, 8, 8], as the network's int8 inputs, [n, 8, 8, 1]."""
    real = images[..., np.newaxis].astype(np.float32) / np.float32(16)
    return np.clip(np.round(real / np.float32(scale)) + zero_point, -128, 127).astype(np.int8)


def drawn(images: Array) -> str:
    """A few images side by side, in characters."""
    rows = []
    for y in range(8):
        cells = ("".join(SHADES[int(v) * 9 // 16] * 2 for v in image[y]) for image in images)
        rows.append("  ".join(cells))
    return "\n".join(rows)


def main() -> None:
    """The demonstration."""
    parser = argparse.ArgumentParser(description="Classify handwritten digits on a board.")
    parser.add_argument("--board", default="qemu-mps2-an386", help="`microtvm boards` lists them")
    parser.add_argument("--images", type=int, default=0, help="how many; by default all 360")
    options = parser.parse_args()
    console = Console(highlight=False)
    with np.load(HERE / "digits_test.npz") as data:
        images, labels = data["images"], data["labels"]
    if options.images:
        images, labels = images[: options.images], labels[: options.images]
    board = load_board(options.board)
    console.print(f"digits_int8.tflite on {board.name} ({board.description})")
    with (
        tempfile.TemporaryDirectory(prefix="microtvm-digits-") as folder,
        Progress(console=console, transient=True, disable=not console.is_terminal) as bar,
    ):
        task = bar.add_task("")

        def report(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total)

        project = prepare(HERE / "digits_int8.tflite", board, Path(folder), progress=report)
        source = load_metadata(project.library.metadata).inputs[0]
        arrays = quantised(images, source.scale, source.zero_point)
        runs = tuple({source.name: image[np.newaxis]} for image in arrays)
        result = run_project(project, Inputs(runs, stacked=True), progress=report)
    (scores,) = result.outputs.values()
    guesses = scores.reshape(len(labels), -1).argmax(axis=1)
    right = int(np.sum(guesses == labels))
    console.print(f"\n{drawn(images[:4])}\n")
    console.print(f"recognised as {', '.join(map(str, guesses[:4]))}")
    console.print(f"right: {right} of {len(labels)} held-out digits, {right / len(labels):.1%}")
    flash, ram = result.footprint.flash, result.footprint.ram
    console.print(
        f"RAM    {ram.total:7,} bytes: arena {ram.arena:,}, variables {ram.static:,}, "
        f"stack {ram.stack:,}"
    )
    console.print(
        f"flash  {flash.total:7,} bytes: code {flash.code:,}, constants {flash.constants:,}, "
        f"weights {flash.weights:,}"
    )
    if result.counts is not None:
        exactly = "exactly" if result.counts.exact else "about"
        console.print(f"an inference takes {exactly} {result.counts.instructions:,} instructions")


if __name__ == "__main__":
    try:
        main()
    except MicrotvmError as error:
        raise SystemExit(f"error: {error.message}\nhint: {error.hint}") from None
