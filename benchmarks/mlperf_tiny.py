"""The MLPerf Tiny models on emulated machines, beside TensorFlow Lite Micro with CMSIS-NN.

    python benchmarks/mlperf_tiny.py [--model NAME]... [--board NAME]...
        [--json FILE] [--picture FILE.svg|.png] [--update-readme]

For each model and machine: instructions of one inference (exact, under QEMU), estimated cycles,
flash and RAM by kind, the peer's figures and the ratio, and the time from model file to C. The
peer's figures and how they came about are in tflm_baselines.json, what was published of boards in
published.json. A picture needs matplotlib, the extra `bench`.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

# As a script it does not find the folder that it is in as a package.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.boards import first_choice_boards
from benchmarks.measure import (
    CORTEX_M4,
    MODELS,
    Measurement,
    Target,
    default_models,
    measure,
    targets,
)
from benchmarks.picture import draw, require_matplotlib
from benchmarks.readme import IN_README, PICTURE, update_readme
from microtvm.errors import FitError, MicrotvmError


def whole(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def rate(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def ratio(theirs: int | None, ours: int | None) -> str:
    """How many times as much the peer takes."""
    return f"{theirs / ours:.2f}" if theirs and ours else ""


def _table(title: str, columns: tuple[str, ...]) -> Table:
    table = Table(title=title, title_justify="left", box=None)
    table.add_column("model")
    for name in columns:
        table.add_column(name, justify="right")
    return table


def print_board(console: Console, board: str, rows: list[Measurement]) -> None:
    """Two tables for one machine: speed, memory."""
    speed = _table(
        f"{board}: speed (ratio: TFLM / ours, above 1 is better)",
        (
            *("MACs", "instructions", "a MAC", "TFLM", "ratio"),
            *("cycles, estimated", "a MAC", "best on a board", "compile s"),
        ),
    )
    memory = _table(
        f"{board}: bytes",
        (
            *("code", "constants", "weights", "flash", "TFLM", "ratio"),
            *("tensors", "scratch", "static", "stack", "RAM", "TFLM", "ratio"),
        ),
    )
    for m in rows:
        speed.add_row(
            m.model,
            whole(m.macs),
            whole(m.instructions),
            rate(m.instructions_a_mac),
            whole(m.peer.instructions),
            ratio(m.peer.instructions, m.instructions),
            whole(m.cycles),
            rate(m.cycles_a_mac),
            whole(m.published_cycles),
            f"{m.compile_s:.1f}",
        )
        memory.add_row(
            m.model,
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
        )
    console.print(speed)
    console.print(f"cycles: {rows[0].cycles_note}", style="dim", markup=False)
    console.print(memory)


def print_targets(console: Console, checked: list[Target]) -> None:
    """The misses, and for each target how many met it."""
    table = Table(title="targets", title_justify="left", box=None)
    for name in ("target", "met", "missed by"):
        table.add_column(name)
    for name in dict.fromkeys(t.name for t in checked):
        mine = [t for t in checked if t.name == name]
        missed = [
            f"{t.model} on {t.board}: {t.found:,.8g} for {t.limit:,.8g}" for t in mine if not t.met
        ]
        table.add_row(name, f"{len(mine) - len(missed)} of {len(mine)}", "\n".join(missed))
    console.print(table)


def run(folder: Path, models: tuple[str, ...], board: str, log: Console) -> list[Measurement]:
    """All models that fit, on one machine."""
    rows = []
    for model in models:
        log.print(f"{model} on {board}", style="dim")
        try:
            rows.append(measure(folder / f"{model}.tflite", board))
        except FitError as error:
            log.print(error.message, markup=False)
        except MicrotvmError as error:
            hint = f" ({error.hint})" if error.hint else ""
            raise click.ClickException(f"{model} on {board}: {error.message}{hint}") from None
    return rows


def write_json(file: Path, found: list[Measurement], checked: list[Target]) -> None:
    """Everything that was found."""
    content = {
        "measurements": [m.as_json() for m in found],
        "targets": [{**dataclasses.asdict(t), "met": t.met} for t in checked],
    }
    file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


@click.command()
@click.option("--model", "chosen", multiple=True, help="Name of a model; may be repeated.")
@click.option("--board", "boards", multiple=True, help="Name of a board; may be repeated.")
@click.option("--models", type=click.Path(path_type=Path), help="Folder of the .tflite files.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write all to a file.")
@click.option(
    "--picture",
    type=click.Path(path_type=Path),
    help="Draw .svg or .png; with several boards each has a file, with its name in the file's.",
)
@click.option(
    "--update-readme",
    is_flag=True,
    help="Measure what the README's tables and picture show, and write them anew.",
)
def main(
    chosen: tuple[str, ...],
    boards: tuple[str, ...],
    models: Path | None,
    json_file: Path | None,
    picture: Path | None,
    update_readme: bool,
) -> None:
    """Measure the MLPerf Tiny models; by default all, on all emulated machines."""
    if update_readme and (chosen or boards):
        raise click.UsageError("--update-readme chooses models and boards itself")
    if update_readme or picture is not None:
        require_matplotlib(picture)
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=200)
    log = Console(stderr=True, highlight=False)
    folder = default_models() if models is None else models
    found: dict[str, list[Measurement]] = {}
    wanted = dict.fromkeys(boards or first_choice_boards(), chosen or MODELS)
    for board, names in (IN_README if update_readme else wanted).items():
        rows = run(folder, names, board, log)
        if rows:
            print_board(console, board, rows)
            found[board] = rows
    everything = [m for rows in found.values() for m in rows]
    checked = targets(everything)
    print_targets(console, checked)
    if json_file is not None:
        write_json(json_file, everything, checked)
    for board, rows in found.items():
        if picture is not None:
            named = picture.with_stem(f"{picture.stem}-{board}") if len(found) > 1 else picture
            draw(rows, named)
        if update_readme and board == CORTEX_M4:
            draw(rows, PICTURE)
    if update_readme:
        _update_readme(everything)


_update_readme = update_readme


if __name__ == "__main__":
    main()
