"""`microtvm diff`: the first operator and element that a device computes otherwise."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import click

from microtvm.attach import Place
from microtvm.cli.console import emit_json, emit_text, progress
from microtvm.cli.option import compile_options, place_options, platform_options
from microtvm.cli.printed import printed
from microtvm.cli.run import Wanted, built_project, inputs_for
from microtvm.diff import DEFAULT_TOLERANCE, Report, diff_project
from microtvm.pipeline import CompileOptions
from microtvm.project import Value, load_project


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--board",
    "board_name",
    metavar="BOARD",
    help="Board to run it on; `microtvm boards` lists them.",
)
@click.option("--project", "folder", type=click.Path(path_type=Path), help="One made of MODEL.")
@click.option("--input", "input_file", type=click.Path(path_type=Path), help="Arrays, .npz.")
@click.option(
    "--tolerance",
    type=click.FloatRange(min=0),
    default=DEFAULT_TOLERANCE,
    show_default=True,
    help="Of floats, absolute or relative; integers must be equal.",
)
@click.option("--every", is_flag=True, help="Look at each operator, not only where outputs differ.")
@place_options
@platform_options
@compile_options
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@click.pass_context
def diff(
    context: click.Context,
    /,
    model: Path,
    board_name: str | None,
    folder: Path | None,
    input_file: Path | None,
    tolerance: float,
    every: bool,
    place: Place,
    options: dict[str, Value],
    compiling: CompileOptions,
    as_json: bool,
) -> None:
    """Compare MODEL on a board with the reference, operator by operator.

    Exits with 1 if they differ, after naming the first operator whose inputs are right and whose
    output is not.
    """
    if folder is not None:
        load_project(folder)  # Else it would be taken for the model of a board.
    with tempfile.TemporaryDirectory(prefix="microtvm-") as temporary, progress(as_json) as report:
        wanted = Wanted(board_name, "", options, place)
        # How a project was compiled must be said for the reference's sake.
        building = compiling if folder is None else _without_graph(compiling)
        target = folder or model
        inputs = inputs_for(target, input_file, compiling)
        project, steps = built_project(target, wanted, Path(temporary), report, building)
        with printed() as text:
            found = diff_project(
                project,
                model,
                inputs,
                tolerance=tolerance,
                every=every,
                strip_edges=compiling.strip_edges,
                fold_channels=compiling.fold_channels,
                progress=report,
                place=place,
                options=steps["open"],
                on_log=text.heard,
            )
    if as_json:
        emit_json(found.as_json() | {"log": text.lines})
    else:
        _print(found)
    context.exit(0 if found.finding is None else 1)


def _without_graph(options: CompileOptions) -> CompileOptions:
    """Those that don't say which graph a model becomes."""
    return replace(options, strip_edges=False, fold_channels=True)


def _print(found: Report) -> None:
    runs = f"{found.runs} inference{'s' if found.runs != 1 else ''}"
    tensors = f"{found.compared} tensor{'s' if found.compared != 1 else ''}"
    if found.finding is None:
        emit_text(
            f"{found.model} on {found.board} equals the reference: {runs}, {tensors} compared"
        )
        return
    finding = found.finding
    if finding.operator:
        ops = " + ".join(finding.ops)
        emit_text(
            f"operator {finding.operator} ({ops}, {finding.kernel}) is the first that differs: its "
            "inputs equal the reference's, its output does not"
        )
    else:
        emit_text("every operator does as it should, but the model's graph was changed wrongly")
    emit_text(f"run {finding.run}: {finding.difference}")
