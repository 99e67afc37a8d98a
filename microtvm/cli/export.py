"""`microtvm export`."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import click

from microtvm.cli.console import emit_json, emit_table, emit_text, progress
from microtvm.cli.option import ANY_CPU, compile_options, core_options
from microtvm.cli.output import check_folder
from microtvm.errors import UserError
from microtvm.export import (
    Details,
    Format,
    array_package,
    check_output,
    library_package,
    list_formats,
    load_format,
    ways,
    write_package,
)
from microtvm.inference import prefix_of
from microtvm.pipeline import CompileOptions, check_prefix, compile_model
from microtvm.project import Library, read_library
from microtvm.target import Cpu, load_cpu


def _list_formats(context: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        emit_table(
            ("format", "what it is", "can be written to"),
            [
                (form.name, form.description, ways(form))
                for form in map(load_format, list_formats())
            ],
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
    help="New folder, or a file of the kind that the format is distributed as: --list-formats.",
)
@core_options
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
    cpu: Cpu | None,
    prefix: str | None,
    runtime: bool,
    package_version: str,
    author: str,
    url: str,
    compiling: CompileOptions,
    as_json: bool,
) -> None:
    """Make MODEL a package for CMake, Zephyr, Arduino and others.

    MODEL may be a compiled library's folder. --list-formats says what there is. The package is for
    any core that has C99, unless --cpu or --board says which: then it is faster.
    """
    if format_name is None:
        raise UserError("--format is missing", hint="there are: " + ", ".join(list_formats()))
    form = load_format(format_name)
    details = Details(package_version, author, url)
    check_output(form, output)
    check_folder(output.parent)
    if form.array and not model.is_dir():
        _refuse_compiling(form, compiling, cpu, runtime=runtime)
        name = _checked_name(form, model, prefix)
        files = array_package(form, model, name)
    else:
        with tempfile.TemporaryDirectory(prefix="microtvm-") as temporary:
            if model.is_dir():
                compiling.refuse(f"{model} is compiled already")
                library = _compiled(model, cpu, prefix)
            else:
                name = _checked_name(form, model, prefix)
                with progress(as_json) as report:
                    report("compiling", 0, 1)
                    compiled = compile_model(
                        model, cpu or load_cpu(ANY_CPU), prefix=name, options=compiling
                    )
                compiled.library.write(Path(temporary))
                library = read_library(Path(temporary))
            name = library.prefix
            files = library_package(form, library, details, runtime=runtime)
    written = write_package(form, name, files, output)
    if as_json:
        emit_json({"output": str(output), "format": form.name, "files": written})
    else:
        emit_text(f"wrote {output}, {form.description}; next: {_next(name, written, output)}")


def _next(name: str, written: Sequence[str], output: Path) -> str:
    """How one goes on with a package."""
    if "README.md" in written:
        where = output / "README.md" if output.is_dir() else "README.md in it"
        return f"{where} says how it is used"
    if len(written) == 1:
        return "its first lines say how it is used"
    return f"compile {name}.c with your application, which includes {name}.h"


def _refuse_compiling(
    form: Format, compiling: CompileOptions, cpu: Cpu | None, *, runtime: bool
) -> None:
    """UserError for options that have no effect where nothing is compiled."""
    what = f"a package of the format {form.name} holds the model's file as it is"
    compiling.refuse(what, "leave that out")
    if runtime or cpu is not None:
        given = "--runtime" if runtime else "--cpu or --board"
        raise UserError(f"{what}: {given} would change nothing", hint="leave that out")


def _checked_name(form: Format, model: Path, prefix: str | None) -> str:
    """What the package is called, before anything is compiled; UserError if it can't be."""
    name = check_prefix(prefix or _name(form, model))
    form.check_name(name)
    return name


def _name(form: Format, model: Path) -> str:
    """The model's, made one that a header of its own can have in the ecosystem."""
    name = prefix_of(model)
    return f"m_{name}"[:40] if form.reserved.reason(name) else name


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
