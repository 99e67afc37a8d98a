"""`microtvm run`: a model file or a project to outputs and measurements."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np

from microtvm.cli.console import emit_json, emit_table, emit_text, progress
from microtvm.cli.footprint import footprint_json, footprint_rows
from microtvm.cli.option import compile_options, run_options
from microtvm.device import load_metadata
from microtvm.errors import UserError
from microtvm.inference import RunResult, prepare, require_emulator, run_project
from microtvm.npz import check_writable, load_inputs, save_outputs
from microtvm.project import Project, build_project, load_project
from microtvm.target import load_board


@click.command()
@run_options
@click.option("--output", "output_file", type=click.Path(path_type=Path), help="Outputs, .npz.")
@compile_options
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def run(
    target: Path,
    board_name: str | None,
    input_file: Path | None,
    output_file: Path | None,
    keep: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Run MODEL on a board, or a PROJECT made by `microtvm create`.

    The inputs come from an .npz file: an array for each input, matched by name if all names match,
    else by order; arrays with one more leading dimension are a batch. Without --input they are made
    up, the same every time.
    """
    if output_file is not None:
        check_writable(output_file)
    with tempfile.TemporaryDirectory(prefix="microtvm-") as temporary, progress(as_json) as report:
        folder = Path(temporary) if keep is None else keep
        project = built_project(target, board_name, folder, report, **options)
        model = load_metadata(project.library.metadata)
        inputs = None if input_file is None else load_inputs(input_file, model)
        result = run_project(project, inputs, progress=report)
    if output_file is not None:
        save_outputs(output_file, result.outputs)
    if as_json:
        emit_json(result_json(result, project))
    else:
        _print(result, project)


def built_project(
    target: Path,
    board_name: str | None,
    folder: Path,
    report: Callable[[str, int, int], None],
    **options: Any,
) -> Project:
    """The built project that `target` is, or that it becomes in `folder` with the options of
    `compile_options`."""
    if target.is_dir():
        project = load_project(target)
        if board_name is not None:
            raise UserError(
                f"the project {target} has its board already",
                hint="leave out --board, or give a model file",
            )
        require_emulator(project.board)
        report("building", 0, 1)
        build_project(project)
        return project
    if board_name is None:
        raise UserError(
            f"which board is {target} to run on?",
            hint="add --board host, or one that `microtvm boards` lists",
        )
    board = load_board(board_name)
    require_emulator(board)
    return prepare(target, board, folder, progress=report, **options)


def result_json(result: RunResult, project: Project) -> dict[str, Any]:
    """What --json prints."""
    counts = result.counts
    return {
        "board": result.board,
        "model": project.library.name,
        "outputs": [
            {"name": name, "shape": list(a.shape), "dtype": a.dtype.name}
            for name, a in result.outputs.items()
        ],
        "instructions": None if counts is None else counts.instructions,
        "instructions_resolution": None if counts is None else counts.resolution,
        "instructions_note": "" if counts is None else counts.note,
        "cycles": result.cycles,
        "cycles_note": result.cycles_note,
        # A model has no state to prepare: its tables are constants.
        "init_instructions": 0,
        "macs": _macs(project),
        "operators": []
        if counts is None
        else [
            {
                "name": o.name,
                "instructions": o.instructions,
                "loads": o.loads,
                "stores": o.stores,
                "cycles": o.cycles,
            }
            for o in counts.operators
        ],
        "memory": footprint_json(result.footprint, stack_measured=result.stack_measured),
    }


def _macs(project: Project) -> int:
    return sum(o.get("macs", 0) for o in project.library.metadata["operators"])


def _print(result: RunResult, project: Project) -> None:
    for name, array in result.outputs.items():
        shown = np.array2string(array, threshold=20)
        emit_text(f"{name} {array.dtype}{list(array.shape)} = {shown}")
    rows = []
    if result.counts is not None:
        counts, macs = result.counts, _macs(project)
        certainty = "exact" if counts.exact else f"± {counts.resolution:.0f}: {counts.note}"
        rate = f", {counts.instructions / macs:.2f} a MAC" if macs else ""
        rows.append(("instructions", f"{counts.instructions:,} ({certainty}{rate})"))
        known = "" if result.cycles is None else f"{result.cycles:,} "
        rows.append(("cycles", f"{known}({result.cycles_note})"))
    rows += footprint_rows(result.footprint, stack_measured=result.stack_measured)
    emit_table((f"on {result.board}", ""), rows)
