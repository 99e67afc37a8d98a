"""`microtvm profile`: what each operator of a model takes."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from microtvm.cli.console import emit_json, emit_table, emit_text, progress
from microtvm.cli.option import compile_options, platform_options, run_options
from microtvm.cli.printed import printed
from microtvm.cli.run import Wanted, built_project, inputs_for
from microtvm.pipeline import CompileOptions
from microtvm.profile import Profile, Row, profile_project, require_counts
from microtvm.project import Value, load_project
from microtvm.target import load_board


@click.command()
@run_options
@platform_options
@compile_options
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def profile(
    target: Path,
    board_name: str | None,
    platform: str,
    options: dict[str, Value],
    input_file: Path | None,
    keep: Path | None,
    compiling: CompileOptions,
    as_json: bool,
) -> None:
    """Count what each operator of MODEL takes on an emulated board, or of a PROJECT.

    Instructions, loads and stores are exact; cycles are an estimate by the core's table of
    timings, without wait states and caches. The rows add up to the total.
    """
    if target.is_dir():
        require_counts(load_project(target).board)
    elif board_name is not None:
        require_counts(load_board(board_name))
    with tempfile.TemporaryDirectory(prefix="microtvm-") as temporary, progress(as_json) as report:
        folder = Path(temporary) if keep is None else keep
        wanted = Wanted(board_name, platform, options)
        inputs = inputs_for(target, input_file, compiling)
        project, steps = built_project(target, wanted, folder, report, compiling)
        with printed() as text:
            found = profile_project(
                project, inputs, progress=report, options=steps["open"], on_log=text.heard
            )
    if as_json:
        emit_json(found.as_json() | {"log": text.lines})
    else:
        _print(found)


def _print(found: Profile) -> None:
    rows = [*found.operators, found.outside, found.total]
    emit_table(
        (
            *("operator", "MACs", "instructions", "a MAC", "loads", "stores"),
            *("cycles", "a MAC", "share"),
        ),
        [_cells(row) for row in rows],
        title=f"{found.model} on {found.board}",
    )
    emit_text(f"cycles: {found.cycles_note}")


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.name,
        f"{row.macs:,}" if row.macs else "",
        f"{row.instructions:,}",
        _rate(row.instructions_a_mac),
        f"{row.loads:,}",
        f"{row.stores:,}",
        "" if row.cycles is None else f"{row.cycles:,}",
        _rate(row.cycles_a_mac),
        f"{row.share:.1%}",
    )


def _rate(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
