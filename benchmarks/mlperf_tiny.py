"""The MLPerf Tiny models on emulated machines, beside TensorFlow Lite Micro with CMSIS-NN.

    python benchmarks/mlperf_tiny.py [--model NAME]... [--board NAME]... [--json FILE]

For each model and machine: instructions of one inference (exact, under QEMU), flash and RAM by
kind, the peer's figures and the ratio, and the time from model file to C. The peer's figures and
how they came about are in tflm_baselines.json.
"""

from __future__ import annotations

import dataclasses
import json
import os
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from microtvm.errors import FitError, MicrotvmError
from microtvm.inference import prefix_of, require_emulator, run_project
from microtvm.pipeline import compile_model
from microtvm.project import build_project, create_project
from microtvm.target import list_boards, load_board

HERE = Path(__file__).resolve().parent
MODELS = (
    "kws_int8",
    "vww_int8",
    "resnet8_int8",
    "ad01_int8",
    "strww_int8",
    "ad01_fp32",
    "resnet8_fp32",
)
CORTEX_M4 = "qemu-mps2-an386"

MOST_INSTRUCTIONS_A_MAC = 6.0
MOST_CODE_BYTES = 16_384
MOST_TENSOR_BYTES = {
    "kws_int8": 16_000,
    "vww_int8": 55_296,
    "resnet8_int8": 49_152,
    "ad01_int8": 768,
    "strww_int8": 6_656,
    "ad01_fp32": 3_072,
    "resnet8_fp32": 196_608,
}


@dataclass(frozen=True)
class Peer:
    """What TensorFlow Lite Micro takes; None where nobody measured it."""

    instructions: int | None
    flash_bytes: int | None
    ram_bytes: int | None
    """Arena, variables and stack."""


@dataclass(frozen=True)
class Measurement:
    """One model on one board."""

    model: str
    board: str
    compile_s: float
    """From the model file to C files."""
    macs: int
    instructions: int | None
    code_bytes: int
    constant_bytes: int
    weight_bytes: int
    tensor_bytes: int
    scratch_bytes: int
    static_bytes: int
    stack_bytes: int
    peer: Peer

    @property
    def instructions_a_mac(self) -> float | None:
        """None where nothing counted."""
        return None if self.instructions is None else self.instructions / self.macs

    @property
    def flash_bytes(self) -> int:
        """All of it."""
        return self.code_bytes + self.constant_bytes + self.weight_bytes

    @property
    def ram_bytes(self) -> int:
        """All of it."""
        return self.tensor_bytes + self.scratch_bytes + self.static_bytes + self.stack_bytes

    def as_json(self) -> dict[str, Any]:
        """Fields and sums."""
        return {
            **dataclasses.asdict(self),
            "instructions_a_mac": self.instructions_a_mac,
            "flash_bytes": self.flash_bytes,
            "ram_bytes": self.ram_bytes,
        }


def load_peers() -> dict[tuple[str, str], Peer]:
    """By model and board."""
    machines = json.loads((HERE / "tflm_baselines.json").read_text(encoding="utf-8"))["machines"]

    def total(row: dict[str, int], *keys: str) -> int | None:
        return sum(row[key] for key in keys) if all(key in row for key in keys) else None

    return {
        (model, f"qemu-{machine}"): Peer(
            instructions=row.get("instructions"),
            flash_bytes=total(row, "flash_code_bytes", "flash_model_bytes"),
            ram_bytes=total(row, "arena_bytes", "static_ram_bytes", "stack_bytes"),
        )
        for machine, rows in machines.items()
        for model, row in rows.items()
    }


def measure(file: Path, board_name: str, peer: Peer) -> Measurement:
    """Compiles, builds, boots and runs a model; FitError where it does not fit."""
    board = load_board(board_name)
    require_emulator(board)
    with tempfile.TemporaryDirectory(prefix="microtvm-") as temporary:
        folder = Path(temporary)
        start_s = time.perf_counter()
        compiled = compile_model(file, board.cpu, prefix=prefix_of(file))
        compiled.library.write(folder / "library")
        compile_s = time.perf_counter() - start_s
        project = create_project(folder / "library", board, folder / "project")
        build_project(project)
        result = run_project(project)
    flash, ram = result.footprint.flash, result.footprint.ram
    return Measurement(
        model=file.stem,
        board=board_name,
        compile_s=compile_s,
        macs=sum(operator["macs"] for operator in compiled.library.metadata["operators"]),
        instructions=None if result.counts is None else result.counts.instructions,
        code_bytes=flash.code,
        constant_bytes=flash.constants,
        weight_bytes=flash.weights,
        tensor_bytes=ram.arena - ram.scratch,
        scratch_bytes=ram.scratch,
        static_bytes=ram.static,
        stack_bytes=ram.stack,
        peer=peer,
    )


@dataclass(frozen=True)
class Target:
    """A limit, and what was found."""

    name: str
    model: str
    board: str
    found: float
    limit: float
    strict: bool = False
    """The limit itself is too much."""

    @property
    def met(self) -> bool:
        """Whether the limit is kept."""
        return self.found < self.limit if self.strict else self.found <= self.limit


def targets(found: Iterable[Measurement]) -> list[Target]:
    """What is checked of each measurement."""
    result = []
    for m in found:
        place = (m.model, m.board)
        if m.board == CORTEX_M4:
            rate = m.instructions_a_mac
            if rate is not None:
                limit = MOST_INSTRUCTIONS_A_MAC
                result.append(Target("instructions a MAC", *place, rate, limit))
            code = m.code_bytes + m.constant_bytes
            result.append(Target("code + constants", *place, code, MOST_CODE_BYTES, strict=True))
        if m.model in MOST_TENSOR_BYTES:
            limit = MOST_TENSOR_BYTES[m.model]
            result.append(Target("tensors", *place, m.tensor_bytes, limit))
        if m.peer.ram_bytes is not None:
            result.append(Target("RAM", *place, m.ram_bytes, m.peer.ram_bytes, strict=True))
    return result


def whole(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def ratio(theirs: int | None, ours: int | None) -> str:
    """How many times as much the peer takes."""
    return f"{theirs / ours:.2f}" if theirs and ours else ""


def print_board(console: Console, board: str, rows: list[Measurement]) -> None:
    """A table for one machine."""
    table = Table(title=f"{board} (TFLM / ours: above 1 is better)", title_justify="left", box=None)
    table.add_column("model")
    for name in (
        *("instructions", "a MAC", "TFLM", "ratio"),
        *("code", "const", "weights", "flash", "TFLM", "ratio"),
        *("tensors", "scratch", "static", "stack", "RAM", "TFLM", "ratio", "compile s"),
    ):
        table.add_column(name, justify="right")
    for m in rows:
        rate = m.instructions_a_mac
        table.add_row(
            m.model,
            whole(m.instructions),
            "" if rate is None else f"{rate:.2f}",
            whole(m.peer.instructions),
            ratio(m.peer.instructions, m.instructions),
            whole(m.code_bytes),
            whole(m.constant_bytes),
            whole(m.weight_bytes),
            whole(m.flash_bytes),
            whole(m.peer.flash_bytes),
            ratio(m.peer.flash_bytes, m.flash_bytes),
            whole(m.tensor_bytes),
            whole(m.scratch_bytes),
            whole(m.static_bytes),
            whole(m.stack_bytes),
            whole(m.ram_bytes),
            whole(m.peer.ram_bytes),
            ratio(m.peer.ram_bytes, m.ram_bytes),
            f"{m.compile_s:.1f}",
        )
    console.print(table)


def print_targets(console: Console, checked: list[Target]) -> None:
    """The misses, and for each target how many met it."""
    table = Table(title="targets", title_justify="left", box=None)
    for name in ("target", "met", "missed by"):
        table.add_column(name)
    for name in dict.fromkeys(t.name for t in checked):
        mine = [t for t in checked if t.name == name]
        missed = [
            f"{t.model} on {t.board}: {t.found:,.6g} for {t.limit:,.6g}" for t in mine if not t.met
        ]
        table.add_row(name, f"{len(mine) - len(missed)} of {len(mine)}", "\n".join(missed))
    console.print(table)


def default_models() -> Path:
    """MICROTVM_MODELS, or the folder beside the checkout."""
    return Path(os.environ.get("MICROTVM_MODELS", HERE.parent.parent / "shared" / "models"))


@click.command()
@click.option("--model", "chosen", multiple=True, help="Name of a model; may be repeated.")
@click.option("--board", "boards", multiple=True, help="Name of a board; may be repeated.")
@click.option("--models", type=click.Path(path_type=Path), help="Folder of the .tflite files.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write all to a file.")
def main(
    chosen: tuple[str, ...],
    boards: tuple[str, ...],
    models: Path | None,
    json_file: Path | None,
) -> None:
    """Measure the MLPerf Tiny models; by default all, on all emulated machines."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=200)
    log = Console(stderr=True, highlight=False)
    peers = load_peers()
    folder = default_models() if models is None else models
    found: list[Measurement] = []
    for board in boards or [name for name in list_boards() if name != "host"]:
        rows = []
        for model in chosen or MODELS:
            log.print(f"{model} on {board}", style="dim")
            peer = peers.get((model, board), Peer(None, None, None))
            try:
                rows.append(measure(folder / f"{model}.tflite", board, peer))
            except FitError as error:
                log.print(error.message, markup=False)
            except MicrotvmError as error:
                hint = f" ({error.hint})" if error.hint else ""
                raise click.ClickException(f"{model} on {board}: {error.message}{hint}") from None
        if rows:
            print_board(console, board, rows)
        found += rows
    checked = targets(found)
    print_targets(console, checked)
    if json_file is not None:
        content = {
            "measurements": [m.as_json() for m in found],
            "targets": [{**dataclasses.asdict(t), "met": t.met} for t in checked],
        }
        json_file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
