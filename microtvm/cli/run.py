"""`microtvm run`: a model file or a project to outputs and measurements."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from microtvm.attach import (
    ANYWHERE,
    Place,
    flash_project,
    is_real,
    plan_project,
    require_emulator,
)
from microtvm.cli.console import emit_json, emit_table, emit_text, progress, warn
from microtvm.cli.footprint import footprint_json, footprint_rows, stack_json, stack_rows
from microtvm.cli.option import compile_options, place_options, platform_options, run_options
from microtvm.cli.printed import printed
from microtvm.device import find_port, load_metadata
from microtvm.errors import UserError
from microtvm.inference import RunResult, described_inputs, prepare, run_project
from microtvm.npz import Inputs, check_writable, load_inputs, save_outputs
from microtvm.pipeline import CompileOptions
from microtvm.project import (
    Project,
    Value,
    build_project,
    by_step,
    check_stack,
    choose_platform,
    load_project,
    watchdog_warning,
)
from microtvm.target import Board, load_board
from microtvm.util import Array


@click.command()
@run_options
@click.option("--output", "output_file", type=click.Path(path_type=Path), help="Outputs, .npz.")
@place_options
@click.option("--flash", "flashing", is_flag=True, help="Put the image into the board before.")
@platform_options
@compile_options
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def run(
    target: Path,
    board_name: str | None,
    platform: str,
    input_file: Path | None,
    output_file: Path | None,
    keep: Path | None,
    place: Place,
    flashing: bool,
    options: dict[str, Value],
    compiling: CompileOptions,
    as_json: bool,
) -> None:
    """Run MODEL on a board, or a PROJECT made by `microtvm create`.

    A board that has an emulator is emulated, unless --port or --serial-number names a real one; on
    a real one the image must be in its flash, where --flash puts it.

    The inputs come from an .npz file: an array for each input, matched by name if all names match,
    else by order; arrays with one more leading dimension are a batch. Without --input they are made
    up, the same every time.
    """
    if output_file is not None:
        check_writable(output_file)
    with tempfile.TemporaryDirectory(prefix="microtvm-") as temporary, progress(as_json) as report:
        folder = Path(temporary) if keep is None else keep
        wanted = Wanted(board_name, platform, options, place, flashing)
        inputs = inputs_for(target, input_file, compiling)
        project, steps = built_project(target, wanted, folder, report, compiling)
        if flashing:
            report("flashing", 0, 1)
            flash_project(project, place, options=steps["flash"])
        with printed() as text:
            result = run_project(
                project,
                inputs,
                progress=report,
                place=place,
                options=steps["open"],
                on_log=text.heard,
            )
    if output_file is not None:
        save_outputs(output_file, result.outputs)
    if as_json:
        emit_json(result_json(result, project) | {"log": text.lines})
    else:
        _print(result, project)


@dataclass(frozen=True)
class Wanted:
    """What a model or project is to run on, and how."""

    board: str | None
    platform: str
    options: Mapping[str, Value]
    """Of the platform, for any step."""
    place: Place = ANYWHERE
    flashing: bool = False


def inputs_for(target: Path, file: Path | None, compiling: CompileOptions) -> Inputs | None:
    """The arrays for a model or project, which are looked at before anything is compiled or built;
    None without a file."""
    if file is None:
        return None
    if target.is_dir():
        return load_inputs(file, load_metadata(load_project(target).library.metadata))
    return load_inputs(file, described_inputs(target, strip_edges=compiling.strip_edges))


Steps = Mapping[str, Mapping[str, Value]]
"""Options of a platform by the step that they are meant for."""


def built_project(
    target: Path,
    wanted: Wanted,
    folder: Path,
    report: Callable[[str, int, int], None],
    compiling: CompileOptions,
) -> tuple[Project, Steps]:
    """The built project that `target` is, or that it becomes in `folder` with the options of
    `compile_options`; and the options of the steps that are left. What the board lacks to run it is
    said before."""
    if target.is_dir():
        project = load_project(target)
        compiling.refuse(f"{target} is compiled already")
        if wanted.board is not None or wanted.platform:
            raise UserError(
                f"the project {target} has its board and platform already",
                hint="leave out --board and --platform, or give a model file",
            )
        steps = project.by_step(wanted.options)
        require_way(project.board, wanted.place, project.platform.name, flashing=wanted.flashing)
        if wanted.flashing:
            plan_project(project, wanted.place, options=steps["flash"])
        # What has been flashed is not what would be built by now.
        flashed = is_real(project.board, wanted.place) and not wanted.flashing
        if not flashed or steps["build"] or not project.elf.is_file():
            report(project.platform.building, 0, 1)
            build_project(project, options=steps["build"])
        warn(watchdog_warning(project))
        check_stack(project)
        return project, steps
    if wanted.board is None:
        raise UserError(
            f"which board is {target} to run on?",
            hint="add --board host, or one that `microtvm boards` lists",
        )
    board = load_board(wanted.board)
    if is_real(board, wanted.place) and not wanted.flashing:
        raise UserError(
            f"{target} is not in the flash of board {board.name}",
            hint="create a project, flash it, and run that; `microtvm run --flash` does all of it",
        )
    chosen = choose_platform(board, wanted.platform).name
    require_way(board, wanted.place, chosen, flashing=wanted.flashing)
    project = prepare(
        target,
        board,
        folder,
        platform=wanted.platform,
        platform_options=wanted.options,
        progress=report,
        options=compiling,
    )
    warn(watchdog_warning(project))
    return project, by_step(project.platform.name, project.platform.options, wanted.options)


def require_way(board: Board, place: Place, platform: str, *, flashing: bool = False) -> None:
    """The board's emulator must be installed, or its port there; a drive's folder is one for
    flashing only."""
    if not is_real(board, place):
        require_emulator(board)
    elif place.port and Path(place.port).is_dir():
        if not flashing:
            raise UserError(
                f"{place.port} is a folder, no serial port",
                hint="`microtvm ports` lists ports; a UF2 drive's folder is for `microtvm flash`",
            )
    else:
        find_port(board, port=place.port, serial_number=place.serial_number, platform=platform)


def result_json(result: RunResult, project: Project) -> dict[str, Any]:
    """What --json prints."""
    counts = result.counts
    return {
        "board": result.board,
        "model": project.library.name,
        "outputs": [
            {
                "name": name,
                "shape": list(a.shape),
                "dtype": a.dtype.name,
                "values": _values(a),
            }
            for name, a in result.outputs.items()
        ],
        "instructions": None if counts is None else counts.instructions,
        "instructions_resolution": None if counts is None else counts.resolution,
        "instructions_note": "" if counts is None else counts.note,
        "cycles": result.cycles,
        "cycles_note": result.cycles_note,
        "seconds": result.seconds,
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
        "stack": stack_json(result.stack),
    }


def _values(array: Array) -> Any:
    """Nested lists; JSON has no infinities and no NaN: null is what stands for them."""
    values = array.astype(object)
    values[~np.isfinite(array)] = None
    return values.tolist()


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
    if result.seconds is not None:
        rows.append(("time", f"{1000 * result.seconds:,.3f} ms by the board's counter"))
    rows += footprint_rows(result.footprint, stack_measured=result.stack_measured)
    rows += stack_rows(result.stack)
    emit_table((f"on {result.board}", ""), rows)
