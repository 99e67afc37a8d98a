"""`microtvm create` and `microtvm build`."""

from __future__ import annotations

from pathlib import Path

import click

from microtvm.cli.console import emit_json, emit_table, emit_text, progress, warn
from microtvm.cli.footprint import footprint_json, footprint_rows, stack_json, stack_rows
from microtvm.cli.option import INTEGER, compile_options, platform_options
from microtvm.cli.output import check_folder
from microtvm.pipeline import CompileOptions
from microtvm.project import (
    Value,
    build_project,
    check_stack,
    load_project,
    measure,
    stack_report,
    watchdog_warning,
)
from microtvm.project_api import generate_project


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--board", "board_name", metavar="BOARD", required=True, help="`microtvm boards` lists them."
)
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="Folder.")
@click.option("--platform", default="", help="Out of the board's; by default its first.")
@platform_options
@click.option(
    "--stack-bytes", type=INTEGER, default=0, help="Stack; by default what the board has."
)
@compile_options
@click.option("-f", "--force", is_flag=True, help="Replace an earlier project there.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def create(
    model: Path,
    board_name: str,
    output: Path,
    platform: str,
    options: dict[str, Value],
    stack_bytes: int,
    force: bool,
    compiling: CompileOptions,
    as_json: bool,
) -> None:
    """Create a project that serves MODEL on a board; MODEL may be a compiled library's folder."""
    check_folder(output)
    with progress(as_json) as report:
        report("creating", 0, 1)
        project = generate_project(
            model,
            board_name,
            output,
            platform=platform,
            options=options,
            stack_bytes=stack_bytes,
            force=force,
            compiling=compiling,
        )
    warn(watchdog_warning(project))
    if as_json:
        emit_json(
            {"folder": str(output), "board": project.board.name, "platform": project.platform.name}
        )
    else:
        emit_text(
            f"wrote {output}, for {project.board.name} on {project.platform.name}; next: "
            f"`microtvm build {output}`, or its own tools as {output / 'README.md'} says"
        )


@click.command()
@click.argument("folder", metavar="PROJECT", type=click.Path(path_type=Path))
@platform_options
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def build(folder: Path, options: dict[str, Value], as_json: bool) -> None:
    """Build a project with its own tools."""
    with progress(as_json) as report:
        project = load_project(folder)
        report(project.platform.building, 0, 1)
        built = build_project(project, options=options)
    check_stack(built.project)
    report_of_stack = stack_report(built.project)
    footprint = measure(built.elf, built.project.library)
    if as_json:
        emit_json(
            {
                "elf": str(built.elf),
                "memory": footprint_json(footprint, stack_measured=False),
                "stack_reserved_bytes": footprint.ram.stack,
                "stack": stack_json(report_of_stack),
            }
        )
    else:
        rows = footprint_rows(footprint, stack_measured=False) + stack_rows(report_of_stack)
        emit_table((str(built.elf), ""), rows)
