"""`microtvm create` and `microtvm build`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import click

from microtvm.cli.console import emit_json, emit_table, emit_text, progress
from microtvm.cli.footprint import footprint_json, footprint_rows
from microtvm.cli.option import compile_options
from microtvm.inference import prefix_of
from microtvm.pipeline import compile_model
from microtvm.project import (
    build_project,
    create_project,
    load_project,
    measure,
    split_options,
)
from microtvm.target import load_board


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--board", "board_name", required=True, help="`microtvm boards` lists them.")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="Folder.")
@click.option("--platform", default="", help="Out of the board's; by default its first.")
@click.option(
    "--option",
    "words",
    multiple=True,
    metavar="NAME=VALUE",
    help="Of the platform; `microtvm platforms` lists them.",
)
@click.option("--stack-bytes", type=int, default=0, help="Stack; by default what the board has.")
@compile_options
@click.option("-f", "--force", is_flag=True, help="Replace an earlier project there.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def create(
    model: Path,
    board_name: str,
    output: Path,
    platform: str,
    words: tuple[str, ...],
    stack_bytes: int,
    force: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Create a project that serves MODEL on a board; MODEL may be a compiled library's folder."""
    board = load_board(board_name)
    with tempfile.TemporaryDirectory(prefix="microtvm-") as temporary, progress(as_json) as report:
        library = model
        if not model.is_dir():
            report("compiling", 0, 1)
            compiled = compile_model(
                model,
                board.cpu,
                prefix=prefix_of(model),
                **options,
            )
            library = Path(temporary)
            compiled.library.write(library)
        project = create_project(
            library,
            board,
            output,
            platform=platform,
            options=split_options(words),
            stack_bytes=stack_bytes,
            force=force,
        )
    if as_json:
        emit_json({"folder": str(output), "board": board.name, "platform": project.platform.name})
    else:
        emit_text(
            f"created {output}; build it with `microtvm build {output}`, or with its own tools"
        )


@click.command()
@click.argument("folder", metavar="PROJECT", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def build(folder: Path, as_json: bool) -> None:
    """Build a project with its own tools."""
    with progress(as_json) as report:
        report("building", 0, 1)
        built = build_project(load_project(folder))
    footprint = measure(built.elf, built.project.library)
    if as_json:
        emit_json(
            {
                "elf": str(built.elf),
                "memory": footprint_json(footprint, stack_measured=False),
                "stack_reserved_bytes": footprint.ram.stack,
            }
        )
    else:
        emit_table((str(built.elf), ""), footprint_rows(footprint, stack_measured=False))
