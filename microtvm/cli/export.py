"""`microtvm export`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import click

from microtvm.cli.console import emit_json, emit_table, emit_text, progress
from microtvm.cli.option import compile_options
from microtvm.errors import UserError
from microtvm.export import (
    Details,
    Format,
    array_package,
    check_output,
    library_package,
    list_formats,
    load_format,
    write_package,
)
from microtvm.inference import prefix_of
from microtvm.lower.choices import refuse_schedules
from microtvm.pipeline import check_prefix, compile_model
from microtvm.project import Library, read_library
from microtvm.target import Cpu, load_board, load_cpu


def _list_formats(context: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        emit_table(
            ("format", "what it is"),
            [(name, load_format(name).description) for name in list_formats()],
        )
        context.exit()


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--list-formats",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_list_formats,
    help="Say what there is, and exit.",
)
@click.option("--format", "format_name", metavar="FORMAT", help="What kind of package.")
@click.option(
    "--c-array",
    "format_name",
    flag_value="c-array",
    help="The model's file as a C array; the same as --format c-array.",
)
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="New folder, or an archive of the kind that the format is distributed as.",
)
@click.option("--cpu", "cpu_name", help="Core to compile for; without it, any that has C99.")
@click.option("--board", "board_name", help="Compile for this board's core.")
@click.option("--prefix", help="Names the package and all C symbols; by default the model's name.")
@click.option("--runtime", is_flag=True, help="Include the RPC server.")
@click.option("--package-version", default=Details.version, show_default=True, help="As in 1.2.3.")
@click.option("--author", default=Details.author, show_default=True, help="For the manifest.")
@click.option("--url", default=Details.url, show_default=True, help="For the manifest.")
@compile_options
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def export(
    model: Path,
    format_name: str | None,
    output: Path,
    cpu_name: str | None,
    board_name: str | None,
    prefix: str | None,
    runtime: bool,
    package_version: str,
    author: str,
    url: str,
    as_json: bool,
    **options: Any,
) -> None:
    """Make MODEL a package for CMake, Zephyr, Arduino and others.

    MODEL may be a compiled library's folder. --list-formats says what there is.
    """
    if format_name is None:
        raise UserError("--format is missing", hint="there are: " + ", ".join(list_formats()))
    form = load_format(format_name)
    details = Details(package_version, author, url)
    check_output(form, output)
    if not model.is_dir():
        prefix = check_prefix(prefix or _name(form, model))
        form.check_name(prefix)
    if form.array and not model.is_dir():
        name = prefix or ""
        files = array_package(form, model, name)
    else:
        cpu = _cpu(cpu_name, board_name)
        with tempfile.TemporaryDirectory(prefix="microtvm-") as temporary:
            if model.is_dir():
                refuse_schedules(model, options.get("schedules"))
                library = _compiled(model, cpu, prefix)
            else:
                folder = Path(temporary)
                with progress(as_json) as report:
                    report("compiling", 0, 1)
                    compiled = compile_model(
                        model,
                        cpu or load_cpu("generic"),
                        prefix=prefix,
                        **options,
                    )
                compiled.library.write(folder)
                library = read_library(folder)
            name = library.prefix
            files = library_package(form, library, details, runtime=runtime)
    write_package(form, name, files, output)
    if as_json:
        emit_json({"output": str(output), "format": form.name, "files": list(files)})
    else:
        emit_text(f"exported {output}, {form.description}")


def _name(form: Format, model: Path) -> str:
    """The model's, made one that a header of its own can have in the ecosystem."""
    name = prefix_of(model)
    return f"m_{name}"[:40] if form.reserved.reason(name) else name


def _cpu(cpu_name: str | None, board_name: str | None) -> Cpu | None:
    """The core that was asked for; None where it doesn't matter."""
    board = load_board(board_name) if board_name else None
    if board is None:
        return load_cpu(cpu_name) if cpu_name else None
    if cpu_name and cpu_name != board.cpu.name:
        raise UserError(
            f"board {board.name} has a {board.cpu.name}, not a {cpu_name}",
            hint="give --board or --cpu",
        )
    return board.cpu


def _compiled(folder: Path, cpu: Cpu | None, prefix: str | None) -> Library:
    """A library that was compiled before; UserError if it was for another core, or name."""
    library = read_library(folder)
    found = library.metadata.get("cpu")
    if cpu is not None and found != cpu.name:
        raise UserError(
            f"the library {folder} was compiled for {found}, not for {cpu.name}",
            hint=f"compile the model again with --cpu {cpu.name}",
        )
    if prefix and prefix != library.prefix:
        raise UserError(
            f"the library {folder} was compiled with the prefix {library.prefix}",
            hint=f"compile the model again with --prefix {prefix}",
        )
    return library
